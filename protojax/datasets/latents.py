"""Latent images of a data set, made once by an autoencoder and kept in files.

`python -m protojax prepare latents` writes the folder:

  latents.json       autoencoder, sizes, classes, and the images of each split
  train-00000.npy    float16 [images, 2, h, w, 2c]; and so on, test-00000.npy

For each image and its mirror image, a file holds the mean and the deviation of
the latent values, scaled to a variance of about 1.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int32
import numpy as np

from protojax import parallel, writing
from protojax.data import stream
from protojax.data.resizing import ADM
from protojax.data.source import Source, printable
from protojax.datasets import array_records, folder, latent_files, record_folder
from protojax.datasets import tfds as tfds_lib
from protojax.datasets.latent_files import (
  AGAIN,
  SHARD,
  Encoder,
  Index,
  LatentFiles,
)
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
PREPARES = "latent images of a folder of classes or of TFDS, by --autoencoder"
WRITES = "latents"
TRAINS = "promoe_imagenet"
# `prepare` takes an `Encoder`, too.
ENCODES = True
# Those of Stable Diffusion's autoencoder.
FIELDS = latent_files.fields(4)

_SPLITS = ("train", "test")


def load(data: Any, split: str, seed: int) -> LatentFiles:
  """Opens a split.

  Args:
    data: `root`, the folder that `prepare` wrote; `train` and `test`, the names
      of the splits there; `image_size`, rows and columns of a latent image;
      `augment` must be empty.
    split: "train" or "test".
    seed: ignored.

  Raises:
    UserError: the latents are not there, not complete or damaged, or have
      another size.
  """
  del seed
  if not data.root:
    raise UserError(
      "--config.data.root is empty: give the folder that python -m protojax"
      " prepare latents wrote"
    )
  if augment := data.get("augment", ""):
    raise UserError(
      f"--config.data.augment={augment}: latent images cannot be varied, and"
      " have their mirror images already; leave it empty"
    )
  home, name = Path(data.root), data[split]
  index = latent_files.read(home)
  if not index["complete"]:
    raise UserError(f"{home} is not complete: {AGAIN}, which goes on there")
  if name not in index["splits"]:
    raise UserError(
      f"{home} has no split {name!r}; it has {', '.join(index['splits'])}"
    )
  if data.image_size != index["size"]:
    raise UserError(
      f"--config.data.image_size is {data.image_size}; {home} holds latent"
      f" images of {index['size']} x {index['size']}: set it to"
      f" {index['size']}, or prepare latents of another --image-size"
    )
  return latent_files.opened(home, index, name)


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
  encoder: Encoder,
) -> array_records.Outcome:
  """Writes the latents of a data set, or goes on where it was stopped.

  Args:
    source: a folder of classes as `folder` reads it, with train/ and test/ or
      without; or the folder of one version of a TFDS data set.
    output: the folder to write to; made if it is not there.
    begin: called with the number of images that are still to be encoded.
    advance: called after each image.
    encoder: of the images, which are cropped as ADM does.

  Raises:
    UserError: the source is not as expected, the output cannot be written, or
      it holds other latents.
  """
  sources = _opened(source)
  home, index = Path(output), _index(encoder, sources)
  _require_own(home, index)
  if parallel.is_primary():
    latent_files.write(home, index)
  missing = {
    split: _missing(home, split, len(found)) for split, found in sources.items()
  }
  left = np.concatenate(list(missing.values()))
  if not parallel.same_everywhere(left.tobytes()):
    raise UserError(
      f"processes see different files in {home}: give an --output that all of"
      " them share"
    )
  begin(len(left))
  for split, rows in missing.items():
    _encode(home, split, sources[split], rows, advance, encoder)
  if parallel.is_primary():
    latent_files.write(home, {**index, "complete": True})
  return array_records.Outcome(
    {split: len(sources[split]) for split in sorted(sources)},
    tuple(
      (printable(name), why)
      for found in sources.values()
      for name, why in found.skipped
    ),
  )


def _opened(source: str) -> dict[str, Source]:
  if not Path(source).is_dir():
    raise UserError(
      f"--source={source} is not a folder: unpack it, or write it as records"
      " first, with python -m protojax prepare folder, and give the folder"
      " DIR/prepared/1.0.0 that this makes"
    )
  if not (Path(source) / "features.json").exists():
    return {name: folder.opened(source, name) for name in _SPLITS}
  builder = record_folder.opened(source)
  known = builder.info.splits
  names = [n for n in ("train", "validation", "test") if n in known]
  # The test split of some has no labels; then there is a validation split.
  return {
    ours: tfds_lib.open_split(builder, theirs)
    for ours, theirs in zip(_SPLITS, names, strict=False)
  }


def _index(encoder: Encoder, sources: Mapping[str, Source]) -> Index:
  first = next(iter(sources.values()))
  return {
    "complete": False,
    "autoencoder": encoder.digest,
    "image_size": encoder.image_size,
    "size": encoder.size,
    "channels": encoder.channels,
    "class_names": [printable(name) for name in first.class_names],
    "splits": {
      split: {
        "names": [printable(found.name(i)) for i in range(len(found))],
        "labels": np.asarray(found.labels).tolist(),
      }
      for split, found in sources.items()
    },
  }


def _require_own(home: Path, index: Index) -> None:
  """Refuses a folder with other latents, or with all of these."""
  if not latent_files.is_begun(home):
    if strange := sorted(home.glob("*.npy")):
      raise UserError(
        f"{home} has {strange[0].name}, and no index that says of what: remove"
        " it or take another --output"
      )
    return
  theirs, ours = dict(latent_files.read(home)), dict(index)
  complete = theirs.pop("complete")
  differ = [key for key in theirs if theirs[key] != ours[key]]
  if differ:
    raise UserError(
      f"{home} has other latents ({', '.join(differ)} differ): remove it, take"
      " another --output, or give the same --source, --autoencoder and"
      " --image-size as before"
    )
  counts = {name: len(s["names"]) for name, s in index["splits"].items()}
  if complete and not any(len(_missing(home, *c)) for c in counts.items()):
    raise UserError(
      f"{home} is there already: remove it or take another --output"
    )


def _missing(home: Path, split: str, count: int) -> Int32[np.ndarray, "n"]:
  """Rows of the images whose file is not there."""
  rows = np.arange(count, dtype=np.int32)
  shards = range(-(-count // SHARD))
  absent = [not latent_files.file(home, split, n).exists() for n in shards]
  return rows[np.repeat(absent, SHARD)[:count]] if count else rows


def _encode(
  home: Path,
  split: str,
  source: Source,
  rows: Int32[np.ndarray, "n"],
  advance: Callable[[], Any],
  encoder: Encoder,
) -> None:
  """Writes the files of some rows, whole files in a row."""
  kept: list[np.ndarray] = []
  for row, latents in _latents(source, rows, encoder):
    kept.append(latents)
    if row % SHARD == SHARD - 1 or row == len(source) - 1:
      if parallel.is_primary():
        path = latent_files.file(home, split, row // SHARD)
        with writing.replacing(path, "wb") as file:
          np.save(file, np.stack(kept))
      kept = []
    advance()


def _latents(
  source: Source, rows: Int32[np.ndarray, "n"], encoder: Encoder
) -> Iterator[tuple[int, Float[np.ndarray, "2 h w c"]]]:
  if not len(rows):
    return
  images = stream.ordered(
    source, encoder.image_size, encoder.batch_size, rows=rows, resizing=ADM
  ).once()
  found = parallel.each(encoder.encode, encoder.state, images.batches())
  for batch, made in found:
    for n in np.flatnonzero(batch["valid"]):
      row, latents = int(batch["index"][n]), made["latents"][n]
      if not np.all(np.abs(latents) < np.finfo(np.float16).max):
        raise UserError(
          f"{source.name(row)} becomes latents up to {np.abs(latents).max():g};"
          " expected values of the order of 1: are these the autoencoder's"
          " weights and its scaling_factor?"
        )
      yield row, latents.astype(np.float16)

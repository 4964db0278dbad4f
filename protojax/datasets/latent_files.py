"""The files of latent images: an index, and arrays of 256 images each.

`latents` writes them, and opens a split of them as a source.
"""

from collections.abc import Callable, Mapping
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from jaxtyping import Int32
import numpy as np

from protojax import json_files, writing
from protojax.data.fields import Field, Grid, Label
from protojax.data.source import Source, origin
from protojax.datasets import array_file
from protojax.types import Batch, PyTree, UserError

SHARD = 256  # images in a file
AGAIN = "run python -m protojax prepare latents again"
_INDEX = "latents.json"


class Encoder(NamedTuple):
  """What makes latents of images.

  Attributes:
    digest: of the autoencoder's file.
    state: its variables.
    encode: (state, a batch with "image" uint8 [b H W 3]) -> {"latents": float32
      [b 2 h w 2c]} of the images and their mirror images.
    image_size: H and W.
    size: h and w.
    channels: c.
    batch_size: images of a step.
  """

  digest: str
  state: PyTree
  encode: Callable[[PyTree, Batch], Mapping[str, Any]]
  image_size: int
  size: int
  channels: int
  batch_size: int


class Split(TypedDict):
  """What is known of the images of a split, in the order of the files."""

  names: list[str]
  labels: list[int]


class Index(TypedDict):
  """latents.json.

  Attributes:
    complete: whether all files are there.
    autoencoder: digest of the file of the autoencoder.
    image_size: rows and columns of the images that were encoded.
    size: rows and columns of their latent images.
    channels: of the latent images.
    class_names: index = label.
    splits: by name.
  """

  complete: bool
  autoencoder: str
  image_size: int
  size: int
  channels: int
  class_names: list[str]
  splits: dict[str, Split]


@dataclasses.dataclass(frozen=True, eq=False)
class LatentFiles:
  """A split of a data set's latent images; see `source.Source`.

  Attributes:
    folder: that holds them.
    split: its name.
    autoencoder: digest of the file of the autoencoder that made them.
    size: rows and columns.
    channels: of a latent image.
    names: of the images.
    labels: class of each; -1 is unknown.
    class_names: index = label.
  """

  folder: Path
  split: str
  autoencoder: str
  size: int
  channels: int
  names: tuple[str, ...]
  labels: Int32[np.ndarray, "n"]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...] = ()

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, i: int) -> dict:
    shard, row = divmod(int(i), SHARD)
    # Opened for each image: a large data set has more files than a process may
    # hold open.
    found = array_file.read(file(self.folder, self.split, shard), mapped=True)
    latent, flipped = found[row].astype(np.float32)
    return {
      "latent": latent,
      "flipped": flipped,
      "label": int(self.labels[i]),
      "name": self.name(i),
    }

  @property
  def fields(self) -> Mapping[str, Field]:
    """Mean and deviation of an image and of its mirror image, and the label."""
    return fields(self.channels)

  def name(self, i: int) -> str:
    """As in the data set."""
    return self.names[i]


def fields(channels: int) -> Mapping[str, Field]:
  """The fields of latents with so many channels."""
  grid = Grid(2 * channels)
  return {"latent": grid, "flipped": grid, "label": Label()}


def opened(folder: Path, index: Index, split: str) -> LatentFiles:
  """A split as a source.

  Raises:
    UserError: a file is missing or damaged.
  """
  _require_files(folder, index, split)
  found = index["splits"][split]
  return LatentFiles(
    folder,
    split,
    index["autoencoder"],
    index["size"],
    index["channels"],
    tuple(found["names"]),
    np.array(found["labels"], np.int32),
    tuple(index["class_names"]),
  )


def require_autoencoder(source: Source, digest: str, path: str) -> None:
  """Refuses latents that another autoencoder made than the one that decodes.

  Sources of images pass.

  Args:
    source: of a run.
    digest: of the file of the autoencoder that decodes.
    path: of that file, for the message.

  Raises:
    UserError: the latents are of another one.
  """
  whole, _ = origin(source)
  if not isinstance(whole, LatentFiles) or whole.autoencoder == digest:
    return
  raise UserError(
    f"{whole.folder} holds latents of the autoencoder {whole.autoencoder[:8]},"
    f" and {path} is {digest[:8]}: give the file that they were prepared with,"
    " or prepare them with this one"
  )


def require_channels(source: Source, channels: int, key: str) -> None:
  """Refuses latents of another number of channels than a config says.

  Sources of images pass.

  Args:
    source: of a run.
    channels: of the config.
    key: of the config, for the message.

  Raises:
    UserError: the latents have another number of channels.
  """
  whole, _ = origin(source)
  if isinstance(whole, LatentFiles) and whole.channels != channels:
    raise UserError(
      f"{whole.folder} holds latents of {whole.channels} channels, and {key} is"
      f" {channels}: set {key}={whole.channels}"
    )


def is_begun(folder: Path) -> bool:
  """Whether a folder holds latents, complete or not."""
  return (folder / _INDEX).exists()


def read(folder: Path) -> Index:
  """The index of a folder.

  Raises:
    UserError: there is none, or it is damaged.
  """
  if not is_begun(folder):
    raise UserError(
      f"{folder} holds no latents: give the folder that python -m protojax"
      " prepare latents wrote"
    )
  way_out = f"remove it and {AGAIN}"
  return json_files.read_json(folder / _INDEX, Index, way_out)


def write(folder: Path, index: Index) -> None:
  """Writes the index of a folder, which is made if it is not there.

  Raises:
    UserError: it cannot be written.
  """
  with writing.replacing(folder / _INDEX) as out:
    out.write(writing.json_text(index))


def file(folder: Path, split: str, number: int) -> Path:
  """Where the images from `number * SHARD` on are."""
  return folder / f"{split}-{number:05d}.npy"


def _require_files(folder: Path, index: Index, split: str) -> None:
  count, size = len(index["splits"][split]["names"]), index["size"]
  for number in range(-(-count // SHARD)):
    path = file(folder, split, number)
    rows = min(SHARD, count - number * SHARD)
    expected = (rows, 2, size, size, 2 * index["channels"])
    if not path.exists():
      raise UserError(f"{path} is missing: {AGAIN}")
    found = array_file.read(path, mapped=True)
    if found.shape != expected or found.dtype != np.float16:
      raise UserError(
        f"{path} holds {found.dtype} {found.shape}; expected float16"
        f" {expected}: remove it and {AGAIN}"
      )

"""Compares generated images with real ones, for `evaluate --generated`."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import UInt8
import numpy as np

from protojax import loading, methods, printing
from protojax.console import Console
from protojax.data import stream as stream_lib
from protojax.data.source import Source
from protojax.data.stream import Stream
from protojax.datasets import files
from protojax.engine import log, workdir
from protojax.evaluation import sample_folder
from protojax.evaluation.measure import Figure
from protojax.metrics import generation, generation_features
from protojax.metrics.generation_features import Extractor
from protojax.metrics.generation_manifolds import NEIGHBOURS, precision_recall
from protojax.types import UserError
from protojax.weights import reading

FIGURES = {
  "frechet_distance": Figure("Frechet distance", "lower"),
  "kernel_distance": Figure("kernel distance, x 1000", "lower"),
  "precision": Figure("precision", "higher"),
  "recall": Figure("recall", "higher"),
  "inception_score": Figure("Inception score", "higher"),
}
# Images whose features are computed at a time.
_AT_ONCE = 32
# Kernel distances are told in thousandths.
_THOUSAND = 1000.0


class Features(NamedTuple):
  """Of a set of images.

  Attributes:
    gaussian: mean and covariance.
    rows: of each image; None where only the two are known.
    probabilities: of the classes, for each image; None without a head.
  """

  gaussian: generation.Gaussian
  rows: np.ndarray | None = None
  probabilities: np.ndarray | None = None


def measure(
  generated: str, real: str, run: str, split: str, extractor: Extractor
) -> dict[str, Any]:
  """All figures of generated images.

    Args:
      generated: a folder of images, one that `sample` wrote, or an npz with
        `arr_0`, uint8 [N H W 3].
      real: the same of real images, or an npz with their `mu` and `sigma`; ''
        takes the images of the run's data.
      run: workdir of a run.
      split: of the run's data.
      extractor: of the features.

    Returns:
  "figures": name -> "mean" and "std" over `n` parts of the images; "counts"
      of the images; and what was compared with what.

    Raises:
      UserError: there are no such images, too few, or of different sizes.
  """
  made = _opened(generated)
  known = None if not real else _moments(real)
  theirs = made
  if known is None:
    theirs = _opened(real) if real else _of_run(run, split)
    if theirs.image_size != made.image_size:
      raise UserError(
        f"the generated images have {made.image_size} pixels a side, and the"
        f" real ones {theirs.image_size}: make them as large with --workdir=RUN"
        " in place of --real, which takes the images as the run was trained on"
      )
  own = _features(extractor, made, "generated")
  found = known or _features(extractor, theirs, "real")
  counts = {"generated": len(made)}
  if known is None:
    counts["real"] = len(theirs)
  few, channels = min(counts.values()), len(own.gaussian.mean)
  if few <= channels:
    printing.tell(
      f"note: {few} images are not more than the {channels} features: compare"
      " the Frechet distance only with that of as many images"
    )
  if own.probabilities is None:
    printing.tell(
      f"note: the weights of {extractor.name} have no linear classifier, and so"
      " there is no Inception score"
    )
  else:
    _tell_of_parts(*own.probabilities.shape)
  return {
    "generated": generated,
    "real": real or f"{split} of {run}",
    "features": extractor.name,
    "image_size": extractor.size,
    "counts": counts,
    "figures": _figures(own, found),
  }


def _tell_of_parts(count: int, classes: int) -> None:
  """Says where a score is kept small by the number of images alone."""
  part = count // generation.SPLITS
  if part < classes:
    printing.tell(
      f"note: the Inception score is a mean over parts of {max(part, 1)} of the"
      f" {count} images and cannot be above their number, nor above the"
      f" {classes} classes: give more images"
    )


def _figures(own: Features, real: Features) -> dict[str, dict[str, Any]]:
  """Figures by name, in the order of `FIGURES`."""
  frechet = generation.frechet_distance(real.gaussian, own.gaussian)
  found = {"frechet_distance": _figure(frechet)}
  if real.rows is not None and own.rows is not None:
    kernel = generation.kernel_distance(real.rows, own.rows)
    found["kernel_distance"] = _figure(
      kernel.mean * _THOUSAND, kernel.std * _THOUSAND, kernel.count
    )
    if min(len(real.rows), len(own.rows)) > NEIGHBOURS:
      shares = precision_recall(real.rows, own.rows)
      found["precision"] = _figure(shares.precision)
      found["recall"] = _figure(shares.recall)
  if own.probabilities is not None:
    score = generation.inception_score(own.probabilities)
    found["inception_score"] = _figure(score.mean, score.std, score.count)
  return found


def _figure(mean: float, std: float | None = None, n: int = 1) -> dict:
  return {"mean": mean, "std": std, "n": n}


def _features(extractor: Extractor, stream: Stream, kind: str) -> Features:
  """Features of all images of a stream, in one pass."""
  if len(stream) < 2:
    raise UserError(
      f"{len(stream)} {kind} image cannot be compared: give 2 or more, and some"
      " thousands for figures that mean something"
    )
  moments, rows, shares = generation.Moments(), [], []
  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task(f"{kind} images", total=len(stream), note="")
    for found in generation_features.rows(extractor, stream):
      moments.add(found["features"])
      rows.append(found["features"])
      if "probabilities" in found:
        shares.append(found["probabilities"])
      bar.advance(task, len(found["features"]))
  gaussian = moments.gaussian()
  whole = np.concatenate(shares) if shares else None
  return Features(gaussian, np.concatenate(rows), whole)


def _opened(path: str) -> Stream:
  """The images of a folder or an npz.

  Raises:
    UserError: there are none, or they are not square and of one size.
  """
  if os.path.isdir(path):
    # A folder of `sample` has a grid beside its images.
    inner = Path(path) / sample_folder.IMAGES
    is_ours = (Path(path) / sample_folder.RECIPE).exists()
    source: Source = files.images(str(inner) if is_ours else path)
  else:
    source = _Arrays(path)
  for name, reason in source.skipped:
    printing.tell(f"skipped {name}: {reason}")
  shape = source[0]["image"].shape
  if shape[0] != shape[1]:
    raise UserError(
      f"{source.name(0)} has {shape[0]} x {shape[1]} pixels: images must be"
      " square to be compared; cut them out"
    )
  whole = _OfOneSize(source)
  return stream_lib.ordered(whole, shape[0], _AT_ONCE, cache_bytes=0)


class _OfOneSize:
  """Images of a source, none of which is resized without a word."""

  def __init__(self, source: Source) -> None:
    self._source, self._shape = source, source[0]["image"].shape
    self.class_names, self.labels = source.class_names, source.labels
    self.skipped = source.skipped

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, i: int) -> dict:
    found = self._source[i]
    shape = found["image"].shape
    if shape != self._shape:
      raise UserError(
        f"{self.name(i)} has {shape[0]} x {shape[1]} pixels, and"
        f" {self.name(0)} has {self._shape[0]} x {self._shape[1]}: images that"
        " are compared have one size. Real ones of other sizes are taken as a"
        " run was trained on with --workdir=RUN, without --real"
      )
    return found

  def name(self, i: int) -> str:
    """Of an image."""
    return self._source.name(i)


class _Arrays:
  """Images of an npz, which stay on the disk."""

  class_names = ()
  skipped = ()

  def __init__(self, path: str) -> None:
    self._path = path
    arrays = reading.read(path)
    found: UInt8[np.ndarray, "N H W 3"] | None = arrays.get("arr_0")
    if found is None or found.dtype != np.uint8 or found.shape[3:] != (3,):
      kind = "" if found is None else f"; it has {found.dtype} {found.shape}"
      raise UserError(
        f"{path} has no images: expected an array arr_0, uint8 [N H W 3], as"
        f" `sample` and ADM write{kind}"
      )
    if not len(found):
      raise UserError(f"{path} has no images: its arr_0 is empty")
    self._images = found
    self.labels = np.full(len(found), -1, np.int32)

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, i: int) -> dict:
    image = np.array(self._images[i])
    return {"image": image, "label": -1, "name": self.name(i)}

  def name(self, i: int) -> str:
    """Of an image."""
    return f"image {i} of {self._path}"


def _moments(path: str) -> Features | None:
  """What an npz knows of real images without having them; None if it has them.

  pytorch-fid and ADM write the mean as `mu`, the covariance as `sigma`.
  """
  if os.path.isdir(path):
    return None
  arrays = reading.read(path)
  if "arr_0" in arrays or not {"mu", "sigma"} <= arrays.keys():
    return None
  mean, covariance = (
    np.asarray(arrays[name], np.float64) for name in ("mu", "sigma")
  )
  if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
    raise UserError(
      f"{path} has mu {mean.shape} and sigma {covariance.shape}; expected [d]"
      " and [d d]"
    )
  finite = np.isfinite(mean).all() and np.isfinite(covariance).all()
  if not finite or np.any(np.diagonal(covariance) < 0):
    raise UserError(
      f"{path} has values of mu or sigma that are not finite, or variances"
      " below 0: make it again, or give the real images"
    )
  return Features(generation.Gaussian(mean, covariance))


def _of_run(run: str, split: str) -> Stream:
  """The images of a run's data, as it is trained on."""
  folder = Path(run)
  config = workdir.load_config(folder, methods.later)
  with loading.described_by(folder, config):
    method = methods.load(config, workdir.class_names(folder))
  if split not in method.splits:
    raise UserError(
      f"{run} has no split {split!r}: choose from {', '.join(method.splits)}"
    )
  stream = method.stream(split)
  image = stream.layout().get("image")
  if image is None or image.dtype != np.uint8:
    raise UserError(
      f"the data of {run} hold no images, but {', '.join(stream.layout())}:"
      " name a folder of them with --real"
    )
  return stream.once()

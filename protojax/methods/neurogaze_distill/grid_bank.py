"""The bank: one prototype for each cell of a grid, built once and frozen.

It knows neither EEG nor faces: any features with a pair of numbers each give a
bank, and any image model can be taught with it (section 9).
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Int32
import numpy as np

from protojax import writing
from protojax.datasets import array_file
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.prototypes.bank import Bank
from protojax.types import ArrayLike, UserError

# A prototype of this length or less has no direction.
_NOTHING = 1e-6
# Rows of a file may differ so much from length 1.
_TOLERANCE = 1e-3


class GridBank(NamedTuple):
  """A prototype for each of the p cells of a grid.

  Fields are typed as Any: JAX rebuilds the tuple with shapes.

  Attributes:
    prototypes: float32 [p d], of length 1.
    centers: float32 [p 2], the middle of each cell.
    counts: int32 [p], samples of the cell.
    filled_from: int32 [p], the cell that an empty cell was copied from; -1
      where the cell has samples of its own.
  """

  prototypes: Any
  centers: Any
  counts: Any
  filled_from: Any

  @property
  def filled(self) -> np.ndarray:
    """Which cells have samples of their own, bool [p]."""
    return np.asarray(self.filled_from) < 0

  def digest(self) -> str:
    """SHA-256 over all four arrays, as 64 hexadecimal digits."""
    state = hashlib.sha256()
    for name, array in self._asdict().items():
      array = np.ascontiguousarray(array)
      state.update(f"{name} {array.dtype} {array.shape} ".encode())
      state.update(array.data)
    return state.hexdigest()

  def as_bank(self) -> Bank:
    """The prototypes as those of other methods, each its own group."""
    vectors = jnp.asarray(self.prototypes)[:, None, None]
    count = len(vectors)
    return Bank(vectors, jnp.arange(count), jnp.ones(count, bool))

  def roots(self) -> Int32[np.ndarray, " p"]:
    """The first cell that has the same prototype as each cell."""
    _, first, number = np.unique(
      np.asarray(self.prototypes),
      axis=0,
      return_index=True,
      return_inverse=True,
    )
    return first[number.reshape(-1)].astype(np.int32)


def build(
  features: Float[ArrayLike, "n d"],
  targets: Float[ArrayLike, "n 2"],
  grid: Grid,
  center: bool = True,
) -> GridBank:
  """Averages unit features inside each cell (sections 3 and 5).

  An empty cell copies the nearest cell that is not empty, by the distance of
  the centres; of several, the first. With `center`, the mean of the cells that
  are not empty is subtracted before all rows are brought to length 1: features
  behind a ReLU are nearly parallel otherwise, and the bank has no geometry.

  Args:
    features: of the teacher, one row for each sample.
    targets: the pair of numbers of each sample.
    grid: of the cells.
    center: whether to subtract the mean.

  Raises:
    UserError: there is no sample, a number is not finite, or all prototypes
      are one.
  """
  features = np.asarray(features, np.float64)
  targets = np.asarray(targets, np.float64)
  if not len(features) or len(features) != len(targets):
    raise UserError(
      f"the grid gets {len(features)} features and {len(targets)} targets;"
      " expected as many of both, at least one: check the recordings of"
      " --config.modality.root"
    )
  for name, array in (("features", features), ("targets", targets)):
    if not np.isfinite(array).all():
      raise UserError(
        f"{name} of the grid have numbers that are not finite in"
        f" {int((~np.isfinite(array)).any(axis=1).sum())} of {len(array)} rows;"
        " leave these rows out"
      )
  cells = grid.cells(targets)
  sums = np.zeros((len(grid), features.shape[1]))
  np.add.at(sums, cells, _unit(features))
  counts = np.bincount(cells, minlength=len(grid))
  own = np.flatnonzero(counts)
  source = _nearest(grid, own)
  means = _unit(sums[own] / counts[own, None])
  if center:
    means = means - means.mean(axis=0)
  if np.linalg.norm(means, axis=1).min() <= _NOTHING:
    raise UserError(
      f"the samples lie in {len(own)} of {len(grid)} cells, and a prototype is"
      " the mean of all: set --config.bank.center=False, or give samples of"
      " other targets"
    )
  place = np.searchsorted(own, source)
  return GridBank(
    prototypes=_unit(means)[place].astype(np.float32),
    centers=grid.centers,
    counts=counts.astype(np.int32),
    filled_from=np.where(counts, -1, source).astype(np.int32),
  )


def _unit(rows: np.ndarray) -> np.ndarray:
  length = np.linalg.norm(rows, axis=1, keepdims=True)
  return rows / np.maximum(length, 1e-12)


def _nearest(grid: Grid, own: np.ndarray) -> np.ndarray:
  """The nearest of some cells to each cell; the first of several."""
  centers = grid.centers.astype(np.float64)
  apart = ((centers[:, None] - centers[None, own]) ** 2).sum(-1)
  # Rounded, so that distances that are equal tie.
  return own[np.argmin(np.round(apart, 6), axis=1)]


def shuffled(bank: GridBank, seed: int) -> GridBank:
  """A control: the prototypes permuted among the cells (section 10)."""
  order = np.random.default_rng(seed).permutation(len(bank.counts))
  return bank._replace(
    prototypes=bank.prototypes[order], filled_from=np.full_like(order, -1)
  )


def random(bank: GridBank, seed: int) -> GridBank:
  """A control: random directions in place of the prototypes."""
  rng = np.random.default_rng(seed)
  drawn = _unit(rng.normal(size=np.shape(bank.prototypes)))
  return bank._replace(
    prototypes=drawn.astype(np.float32),
    filled_from=np.full_like(bank.filled_from, -1),
  )


CONTROLS = {"": lambda bank, seed: bank, "shuffled": shuffled, "random": random}


def facts(bank: GridBank) -> dict[str, float]:
  """How much geometry the bank carries (section 8, point 4).

  Returns:
    "empty_cells", the share of cells without a sample; of those with samples
    "mean_cosine" over pairs, and "distance_correlation", between the distances
    of the centres and those of the prototypes (0 for fewer than three cells).
  """
  filled = bank.filled & (np.asarray(bank.counts) > 0)
  rows = np.asarray(bank.prototypes, np.float64)[filled]
  found = {
    "empty_cells": float(1 - filled.mean()),
    "mean_cosine": 1.0,
    "distance_correlation": 0.0,
  }
  pairs = np.triu_indices(len(rows), 1)
  if len(rows) > 1:
    found["mean_cosine"] = float((rows @ rows.T)[pairs].mean())
  if len(rows) > 2:
    apart, near = (
      np.linalg.norm(x[:, None] - x[None], axis=-1)[pairs]
      for x in (np.asarray(bank.centers, np.float64)[filled], rows)
    )
    if apart.std() > 0 and near.std() > 0:
      found["distance_correlation"] = float(np.corrcoef(apart, near)[0, 1])
  return found


def write(path: Path, bank: GridBank) -> None:
  """Writes a bank as .npz, with its digest."""
  arrays: dict[str, Any] = bank._asdict()
  with writing.replacing(path, "wb") as file:
    np.savez(file, **arrays, sha256=np.array(bank.digest()))


def read(path: str, grid: Grid, width: int) -> GridBank:
  """Reads a bank of this or any other source from .npz.

  Args:
    path: of the file, with "prototypes" [p d]; "centers" [p 2], "counts" [p]
      and "filled_from" [p] may be absent.
    grid: of the config.
    width: d of the config.

  Raises:
    UserError: it cannot be read, or is of another grid or width.
  """
  arrays = array_file.read_named(Path(path), "prototypes")
  rows = np.asarray(arrays["prototypes"], np.float32)
  if rows.shape != (len(grid), width):
    raise UserError(
      f"the prototypes of {path} are of shape {rows.shape}; the config has"
      f" {grid.rows} x {grid.columns} cells and --config.bank.channels={width}:"
      " set bank.rows, bank.columns and bank.channels as in the file"
    )
  if not np.all(abs(np.linalg.norm(rows, axis=1) - 1) < _TOLERANCE):
    raise UserError(
      f"prototypes of {path} are not of length 1; divide each by its length"
    )
  centers = np.asarray(arrays.get("centers", grid.centers), np.float32)
  if centers.shape != grid.centers.shape or not np.allclose(
    centers, grid.centers, atol=1e-3
  ):
    raise UserError(
      f"the centers of {path} are not those of the config's grid, from"
      f" {grid.low} to {grid.high}: set --config.bank.low and high"
    )
  none = np.full(len(grid), -1, np.int32)
  bank = GridBank(
    rows,
    grid.centers,
    np.asarray(arrays.get("counts", np.ones(len(grid))), np.int32),
    np.asarray(arrays.get("filled_from", none), np.int32),
  )
  if "sha256" in arrays and str(arrays["sha256"]) != bank.digest():
    raise UserError(
      f"{path} was changed after it was written: its arrays do not have the"
      " digest that stands in it; restore it"
    )
  return bank

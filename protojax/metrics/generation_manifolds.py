"""Precision and recall of generated images (Kynkaanniemi et al., 2019).

The manifold of a set of images is the union of balls around their features,
each as large as the distance to the k-th nearest other image of the set.
Precision is the share of generated images on the manifold of the real ones;
recall is the share of real images on the manifold of the generated ones. All
are compared with all, batch by batch on the devices.
"""

from collections.abc import Iterator, Mapping
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax import parallel
from protojax.types import Array, ArrayLike, Batch, UserError

# k, as in the paper.
NEIGHBOURS = 3
# Images that are compared with all others at a time.
_AT_ONCE = 512


class Manifolds(NamedTuple):
  """Shares of images; both are 1 for two equal sets.

  Attributes:
    precision: of generated images on the manifold of the real ones.
    recall: of real images on the manifold of the generated ones.
  """

  precision: float
  recall: float


def precision_recall(
  real: Float[ArrayLike, "n d"],
  generated: Float[ArrayLike, "m d"],
  neighbours: int = NEIGHBOURS,
) -> Manifolds:
  """Precision and recall of features of generated images.

  Args:
    real: features of real images.
    generated: features of generated ones.
    neighbours: k; each set needs more images.

  Raises:
    UserError: a set has too few images.
  """
  fewest = min(len(real), len(generated))
  if fewest <= neighbours:
    raise UserError(
      f"precision and recall with {neighbours} neighbours need"
      f" {neighbours + 1} images of each kind or more; there are {fewest}"
    )
  # A shift changes no distance; a large mean would cost digits of them.
  shift = np.mean(np.asarray(real, np.float64), axis=0)
  x, y = (
    (np.asarray(a, np.float64) - shift).astype(np.float32)
    for a in (real, generated)
  )
  return Manifolds(
    precision=_share_inside(y, x, neighbours),
    recall=_share_inside(x, y, neighbours),
  )


def _share_inside(
  rows: np.ndarray, manifold: np.ndarray, neighbours: int
) -> float:
  """The share of rows that lie on the manifold of others."""
  nearest = functools.partial(_radii, neighbours)
  radii = _rows(nearest, {"points": manifold}, manifold)
  balls = {"points": manifold, "radii": radii}
  return float(_rows(_inside, balls, rows).mean())


def _rows(function, state: Mapping[str, ArrayLike], rows: np.ndarray):
  """What a function of (state, batch) makes of each row."""
  found = [
    made[batch["valid"]]
    for batch, made in parallel.each(function, state, _batches(rows))
  ]
  return np.concatenate(found)


def _batches(rows: np.ndarray) -> Iterator[Batch]:
  size = parallel.whole_batch(min(_AT_ONCE, len(rows)))
  for start in range(0, len(rows), size):
    index = start + np.arange(size, dtype=np.int32)
    valid = index < len(rows)
    index = np.where(valid, index, 0)
    yield {"rows": rows[index], "index": index, "valid": valid}


def _radii(neighbours: int, state: Mapping[str, Array], batch: Batch) -> Array:
  """Squared distance of each row to the k-th nearest other point [b]."""
  points = state["points"]
  # By its position: a copy of an image is another image, at distance 0.
  own = batch["index"][:, None] == jnp.arange(len(points))[None]
  apart = jnp.where(own, jnp.inf, _squared(batch["rows"], points))
  return -jax.lax.top_k(-apart, neighbours)[0][:, -1]


def _inside(state: Mapping[str, Array], batch: Batch) -> Array:
  """Whether each row lies in a ball [b]."""
  apart = _squared(batch["rows"], state["points"])
  return jnp.any(apart <= state["radii"][None], axis=1)


def _squared(a: Array, b: Array) -> Array:
  """Squared distances [b n]."""
  products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
  squares = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None]
  return jnp.maximum(squares - 2 * products, 0.0)

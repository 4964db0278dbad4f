"""Global importance: weighted means of local scores over a set of images.

`sweep` makes `Sums` of every batch on the device and adds them on the host;
`Scores` are their quotients. `Replicates` are the same sums for bootstrap draws
of the images. All are O(r m p) numbers for any number of images.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.explain.importance import Local
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike

_BOOTSTRAP = 20201103  # seed of the draws
# P(at most n draws of an image), until it is 1 in float32.
_POISSON = np.cumsum(
  [math.exp(-1) / math.factorial(n) for n in range(11)]
).astype(np.float32)
# Bins of the histograms of local scores.
BINS = 2000


@dataclasses.dataclass(frozen=True)
class Scores:
  """Global importance over a set of images.

  All are means with the weights w_kj of image k for prototype j (1, or
  `Similarity.weight` of the similarity g); nan if all weights are 0.

  Attributes:
    importance: phi_global(i, j) = sum_k phi_local(i, k, j) w_kj / sum_k w_kj.
    relative: mean of phi_local / abs(g).
    distance: mean growth of the distance, in the units of the metric.
    similarity: mean of g.
    images: number of images.
    replicates: phi_global of bootstrap draws of the images, float32.
  """

  importance: Float[np.ndarray, "m p"]
  relative: Float[np.ndarray, "m p"]
  distance: Float[np.ndarray, "m p"]
  similarity: Float[np.ndarray, " p"]
  images: int
  replicates: Float[np.ndarray, "r m p"]


class Sums(NamedTuple):
  """Sums over the images of a stream: O(m p) numbers for any length.

  Attributes:
    weighted: sums over images of w phi_local, of w phi_local / abs(g), and of
      w times the growth of the distance, m rows each; w g in the last row.
    weight: sums of w.
    images: number of images.
  """

  weighted: Float[ArrayLike, "n p"]
  weight: Float[ArrayLike, " p"]
  images: Int[ArrayLike, ""] | Float[ArrayLike, ""]

  @classmethod
  def of(
    cls,
    local: Local,
    weight: Float[ArrayLike, "b p"],
    valid: Bool[ArrayLike, " b"],
    similarity: Similarity,
  ) -> "Sums":
    """Sums of one batch; rows where `valid` is False are padding."""
    weight = jnp.where(valid[:, None], weight, 0.0)
    g = local.similarity[:, None]
    relative = local.delta / jnp.where(g == 0, jnp.inf, jnp.abs(g))
    distance = similarity.inverse(g - local.delta) - similarity.inverse(g)
    terms = jnp.concatenate([local.delta, relative, distance, g], axis=1)
    return cls(
      jnp.sum(_products(terms, weight), axis=0),
      jnp.sum(weight, axis=0),
      jnp.sum(valid, dtype=jnp.int32),
    )

  def scores(self, replicates: "Replicates") -> Scores:
    """The weighted means; see `Scores`."""
    means = _quotient(self.weighted, self.weight)
    importance, relative, distance = np.split(means[:-1], 3)
    return Scores(
      importance,
      relative,
      distance,
      means[-1],
      int(self.images),
      replicates.importance(),
    )


class Replicates(NamedTuple):
  """Sums of r bootstrap draws of the images of a stream.

  The Poisson bootstrap (Chamandy et al., 2012): in each replicate every image
  counts Poisson(1) times. So the number of images need not be known.

  Attributes:
    weighted: sums over images of draws w phi_local.
    weight: sums of draws w.
  """

  weighted: Float[ArrayLike, "r m p"]
  weight: Float[ArrayLike, "r p"]

  @classmethod
  def empty(cls, replicates: int, m: int, p: int) -> "Replicates":
    """The sums before the first image."""
    return cls(
      np.zeros((replicates, m, p), np.float32),
      np.zeros((replicates, p), np.float32),
    )

  def add(
    self,
    local: Local,
    weight: Float[ArrayLike, "b p"],
    drawn: Float[ArrayLike, "b r"],
  ) -> "Replicates":
    """Adds a batch; `drawn` is 0 where a row is padding."""
    products = _products(local.delta, weight)
    return Replicates(
      self.weighted + jnp.einsum("br,bmp->rmp", drawn, products),
      self.weight + jnp.einsum("br,bp->rp", drawn, weight),
    )

  def importance(self) -> Float[np.ndarray, "r m p"]:
    """The weighted means of phi_local."""
    return _quotient(self.weighted, self.weight).astype(np.float32)


def draws(
  index: Int[ArrayLike, " b"], valid: Bool[ArrayLike, " b"], replicates: int
) -> Float[jax.Array, "b r"]:
  """How often each image counts in each replicate.

  It depends on the image's position only, so the order of the batches and the
  number of devices do not change an interval.
  """
  key = jax.random.key(_BOOTSTRAP, impl="threefry2x32")

  def one(i):
    uniform = jax.random.uniform(jax.random.fold_in(key, i), (replicates,))
    return jnp.searchsorted(jnp.asarray(_POISSON), uniform, side="right")

  drawn = jax.vmap(one)(jnp.asarray(index))
  return jnp.where(valid[:, None], drawn, 0).astype(jnp.float32)


def edges(span: float) -> Float[np.ndarray, " edges"]:
  """Edges of the bins that local scores are counted in."""
  return np.linspace(-span, span, BINS + 1)


def counts(
  local: Local, counted: Bool[ArrayLike, "b p"], span: float
) -> Int[jax.Array, "m bins"]:
  """How many local scores of a batch lie in each bin of `edges`."""
  place = jnp.floor((local.delta + span) * (BINS / (2 * span)))
  place = jnp.clip(place, 0, BINS - 1).astype(jnp.int32)
  # A score that is not counted goes to an extra bin.
  place = jnp.where(counted[:, None], place, BINS)
  by_row = jnp.moveaxis(place, 1, 0).reshape(place.shape[1], -1)
  found = jax.vmap(lambda row: jnp.bincount(row, length=BINS + 1))(by_row)
  return found[:, :-1].astype(jnp.int32)


def _products(terms, weight):
  """Terms b n p times their weights; 0 where the weight is 0, also for nan."""
  weight = weight[:, None]
  return jnp.where(weight > 0, terms * weight, 0.0)


def _quotient(weighted, weight):
  """Sums ... n p divided by sums ... p; nan where the weight is 0."""
  weight = np.asarray(weight, np.float64)[..., None, :]
  safe = np.where(weight > 0, weight, np.nan)
  return np.asarray(weighted, np.float64) / safe

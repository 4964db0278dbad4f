"""How near generated images are to real ones, from features of both.

Frechet distance (Heusel et al., 2017), Inception score (Salimans et al., 2016)
and kernel distance (Binkowski et al., 2018), in float64 on the host, of plain
arrays. `generation_manifolds` has precision and recall, which compare all
images with all, and `generation_features` makes the features.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from protojax.types import ArrayLike, UserError

# As in torch-fidelity and clean-fid.
SUBSETS, SUBSET_SIZE = 100, 1000
# As in the paper's code.
SPLITS = 10
# Rows that are added at a time: each time passes over a matrix of d x d.
_TOGETHER = 1024


class Gaussian(NamedTuple):
  """Mean and covariance of features.

  Attributes:
    mean: float64 [d].
    covariance: float64 [d d], over n - 1.
  """

  mean: Float[np.ndarray, " d"]
  covariance: Float[np.ndarray, "d d"]


class Moments:
  """Sums for a `Gaussian`, from rows in one pass.

  Some rows at a time are centred by their own mean, and joined with the earlier
  ones by their means (Chan et al., 1983): a large mean costs no digits.
  """

  def __init__(self) -> None:
    self._waiting: list[np.ndarray] = []
    self._count = 0
    self._mean = self._scatter = np.zeros(0)

  def add(self, rows: Float[ArrayLike, "b d"]) -> None:
    """Adds the rows of a batch, which may have none."""
    self._waiting.append(np.asarray(rows, np.float64))
    if sum(map(len, self._waiting)) >= _TOGETHER:
      self._join()

  def _join(self) -> None:
    """Adds the rows that wait to the sums."""
    rows = np.concatenate(self._waiting) if self._waiting else np.zeros((0, 0))
    self._waiting = []
    new = len(rows)
    if not new:
      return
    mean = rows.mean(axis=0)
    centred = rows - mean
    if not self._count:
      self._count, self._mean = new, mean
      self._scatter = centred.T @ centred
      return
    total, apart = self._count + new, mean - self._mean
    self._mean = self._mean + apart * (new / total)
    # One row more, for how far the means are apart.
    further = apart * np.sqrt(self._count * new / total)
    centred = np.concatenate([centred, further[None]])
    self._scatter += centred.T @ centred
    self._count = total

  def gaussian(self) -> Gaussian:
    """Mean and covariance of all rows.

    Raises:
      UserError: there are fewer than two rows, or some are not finite.
    """
    self._join()
    if self._count < 2:
      raise UserError(
        f"{self._count} images have no covariance: give 2 or more, and some"
        " thousands for a figure that means something"
      )
    if not np.isfinite(self._scatter).all():
      raise UserError(
        "the features are not finite: check the weights of their network"
      )
    return Gaussian(self._mean, self._scatter / (self._count - 1))


def gaussian(batches: Iterable[Float[ArrayLike, "b d"]]) -> Gaussian:
  """Mean and covariance of the rows of all batches; see `Moments`."""
  moments = Moments()
  for rows in batches:
    moments.add(rows)
  return moments.gaussian()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
  """The squared Frechet (Wasserstein-2) distance of two Gaussians.

  |m_a - m_b|² + Tr(A) + Tr(B) - 2 Tr((A B)^1/2), equation 6 of Heusel et al.
  The last trace is the sum of the singular values of A^1/2 B^1/2, which are the
  roots of the eigenvalues of A^1/2 B A^1/2. So nothing is complex or infinite
  where covariances are singular, as of fewer images than features.

  Raises:
    UserError: the two have different numbers of features.
  """
  if len(a.mean) != len(b.mean):
    raise UserError(
      f"features of {len(a.mean)} and of {len(b.mean)} channels cannot be"
      " compared: take those of one network for both"
    )
  apart = a.mean - b.mean
  product = _root(a.covariance) @ _root(b.covariance)
  shared = np.linalg.svd(product, compute_uv=False).sum()
  traces = np.trace(a.covariance) + np.trace(b.covariance)
  # Rounding takes the distance of two equal ones below zero.
  return float(max(apart @ apart + traces - 2 * shared, 0.0))


def _root(covariance: np.ndarray) -> np.ndarray:
  """The symmetric root; directions without variance stay without."""
  values, vectors = np.linalg.eigh(covariance)
  noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
  values = np.where(values > noise, values, 0.0)
  return (vectors * np.sqrt(values)) @ vectors.T


class Spread(NamedTuple):
  """A mean over parts of the images, and the deviation of the parts.

  Attributes:
    mean: over the parts.
    std: deviation of the parts, over their number.
    count: number of parts.
  """

  mean: float
  std: float
  count: int


def inception_score(
  probabilities: Float[ArrayLike, "n k"], splits: int = SPLITS, seed: int = 0
) -> Spread:
  """exp of the mean divergence of p(class | image) from p(class), by splits.

  Args:
    probabilities: of the classes, for each generated image.
    splits: parts of the images, drawn at random, that the score is the mean of;
      at most as many as there are images.
    seed: of the draw: images often are sorted by class.

  Raises:
    UserError: there is no image.
  """
  p = np.asarray(probabilities, np.float64)
  if not len(p):
    raise UserError("no image has no Inception score: give some")
  order = np.random.default_rng(seed).permutation(len(p))
  scores = []
  for part in np.array_split(p[order], min(splits, len(p))):
    mean = part.mean(axis=0)
    # A probability of 0 has no information; its logarithm would be infinite.
    seen = part > 0
    ratio = np.where(seen, part, 1.0) / np.where(seen, mean[None], 1.0)
    divergence = np.sum(part * np.log(ratio), axis=1)
    scores.append(np.exp(divergence.mean()))
  return Spread(float(np.mean(scores)), float(np.std(scores)), len(scores))


def kernel_distance(
  real: Float[ArrayLike, "n d"],
  generated: Float[ArrayLike, "m d"],
  subsets: int = SUBSETS,
  size: int = SUBSET_SIZE,
  seed: int = 0,
) -> Spread:
  """The squared maximum mean discrepancy with the kernel (x·y / d + 1)³.

  Unbiased (equation 4 of Binkowski et al.), so that it may be below zero, and
  a mean over random subsets of both, each without repetition.

  Args:
    real: features of real images.
    generated: features of generated ones.
    subsets: number of them.
    size: images of a subset, of each kind; at most as many as there are.
    seed: of the draws.

  Raises:
    UserError: there are fewer than two images of one kind.
  """
  x, y = (np.asarray(a, np.float64) for a in (real, generated))
  size = min(size, len(x), len(y))
  if size < 2:
    raise UserError(
      f"{len(x)} real and {len(y)} generated images have no kernel distance:"
      " give 2 or more of each"
    )
  rng = np.random.default_rng(seed)
  found = [
    _discrepancy(*(a[rng.choice(len(a), size, replace=False)] for a in (x, y)))
    for _ in range(subsets)
  ]
  return Spread(float(np.mean(found)), float(np.std(found)), subsets)


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
  """The discrepancy of two sets of n features."""
  across = _kernel(x, y).mean()
  return float(_among(x) + _among(y) - 2 * across)


def _among(x: np.ndarray) -> float:
  """The mean of the kernel over pairs of different rows."""
  k, n = _kernel(x, x), len(x)
  return (k.sum() - np.trace(k)) / (n * (n - 1))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  return (x @ y.T / x.shape[1] + 1) ** 3

"""Judges a model's confidence: on its classes, and on images of no class."""

import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.metrics import ranking
from protojax.metrics.means import ratio
from protojax.types import Array, ArrayLike


def calibration_error(
  probabilities: Float[ArrayLike, "n k"],
  labels: Int[ArrayLike, " n"],
  bins: int = 15,
) -> Float[Array, ""]:
  """ECE: the mean difference between confidence and accuracy.

  Images fall into bins by their confidence, ((m - 1) / M, m / M]. The error is
  the sum over the bins of their share of the images times
  |accuracy - mean confidence| (Guo et al., ICML 2017, eq. 3).

  Args:
    probabilities: of the classes.
    labels: of the images; images with -1 (unknown) are left out.
    bins: M, of equal width.

  Returns:
    0..1; nan without a labelled image.
  """
  confidence = jnp.max(probabilities, axis=1)
  known = jnp.asarray(labels) >= 0
  correct = jnp.argmax(probabilities, axis=1) == labels
  # Each end of a bin by one division: 0.1 * 3 is not 0.3.
  ends = jnp.arange(1, bins) / bins
  place = jnp.searchsorted(ends, confidence, side="left")
  gap = jnp.where(known, correct - confidence, 0.0)
  gaps = jnp.zeros(bins).at[place].add(gap)
  return ratio(jnp.sum(jnp.abs(gaps)), jnp.sum(known))


def outlier_auroc(
  inside: Float[ArrayLike, " n"], outside: Float[ArrayLike, " m"]
) -> float:
  """AUROC of the largest score, for telling images of no class.

  The probability that an image of a class has a larger score than an image of
  no class (Hendrycks and Gimpel, ICLR 2017); nan without images of both.

  Args:
    inside: largest score (logit or probability) of images of the classes.
    outside: the same of images of no class.
  """
  scores = np.concatenate([np.asarray(inside), np.asarray(outside)])
  other = np.arange(len(scores)) >= len(inside)
  return ranking.auroc(other, -scores)


def abstention(
  inside: Float[ArrayLike, " n"],
  outside: Float[ArrayLike, " m"],
  kept: float = 0.95,
) -> float:
  """Share of the images of no class whose score is below a threshold.

  PIP-Net's test (Nauta et al., CVPR 2023) with one threshold for all classes:
  the highest that leaves a share `kept` of the images of the classes above it;
  nan without images of both.
  """
  if not (len(inside) and len(outside)):
    return float("nan")
  ranked = np.sort(np.asarray(inside))
  # Rounded: 100 * 0.29 is 28.999999999999996 in binary.
  dropped = int(np.floor(round((1 - kept) * len(ranked), 9)))
  return float(np.mean(np.asarray(outside) < ranked[dropped]))

"""Whether a model knows how sure it can be, and what it has never seen."""

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
  """ECE: how far confidence and accuracy lie apart.

  Sum over the bins of the confidence, ((m - 1) / M, m / M], of their share of
  the images times |accuracy - mean confidence| (Guo et al., ICML 2017, eq. 3).

  Args:
    probabilities: of the classes.
    labels: of the images; one of -1, unknown, is left out.
    bins: M, of equal width.

  Returns:
    0..1; nan without a labelled image.
  """
  confidence = jnp.max(probabilities, axis=1)
  known = jnp.asarray(labels) >= 0
  correct = jnp.argmax(probabilities, axis=1) == labels
  # Ends of the bins as one division has them: 0.1 * 3 is not 0.3.
  ends = jnp.arange(1, bins) / bins
  place = jnp.searchsorted(ends, confidence, side="left")
  gap = jnp.where(known, correct - confidence, 0.0)
  gaps = jnp.zeros(bins).at[place].add(gap)
  return ratio(jnp.sum(jnp.abs(gaps)), jnp.sum(known))


def outlier_auroc(
  inside: Float[ArrayLike, " n"], outside: Float[ArrayLike, " m"]
) -> float:
  """AUROC with which the largest score tells images of other things.

  The chance that an image of one of the classes scores higher than one of
  none (Hendrycks and Gimpel, ICLR 2017); nan without images of both.

  Args:
    inside: largest score, logit or probability, of images of the classes.
    outside: the same of images of none of them.
  """
  scores = np.concatenate([np.asarray(inside), np.asarray(outside)])
  other = np.arange(len(scores)) >= len(inside)
  return ranking.auroc(other, -scores)


def abstention(
  inside: Float[ArrayLike, " n"],
  outside: Float[ArrayLike, " m"],
  kept: float = 0.95,
) -> float:
  """Share of the images of other things that a threshold refuses.

  PIP-Net's test (Nauta et al., CVPR 2023) with one threshold for
  all classes: the highest that keeps such a share of the images inside; nan
  without images of both.
  """
  if not (len(inside) and len(outside)):
    return float("nan")
  ranked = np.sort(np.asarray(inside))
  # Rounded: 100 * 0.29 is 28.999999999999996 in binary.
  dropped = int(np.floor(round((1 - kept) * len(ranked), 9)))
  return float(np.mean(np.asarray(outside) < ranked[dropped]))

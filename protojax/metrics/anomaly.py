"""How well anomaly maps and image scores find defects.

`image_metrics` are exact, from the scores of all images. Pixels are too many
for that: `count` adds each batch of maps to a histogram on the device, and
`pixel_metrics` computes all pixel metrics from it. `threshold` chooses the
score above which an image is called defective.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np
from scipy import ndimage

from protojax.metrics import ranking
from protojax.types import ArrayLike, UserError

# False positive rate up to which AUPRO averages (Bergmann et al., 2021).
LIMIT = 0.3


def regions(truth: Bool[ArrayLike, "H W"]) -> Int[np.ndarray, "H W"]:
  """Numbers the connected defects of an image from 1; 0 is normal, int32.

  Pixels that touch at a corner are one defect (8-connectivity), as in the
  evaluation of MVTec AD and those derived from it, so that a scratch one pixel
  wide is one region. With 4-connectivity it would be many regions, which would
  outweigh the large defects in the mean over regions.
  """
  numbers, _ = ndimage.label(np.asarray(truth), np.ones((3, 3), bool))
  return numbers.astype(np.int32)


def region_weights(truth: Bool[ArrayLike, "H W"]) -> Float[np.ndarray, "H W"]:
  """1 / area of a defective pixel's region, 0 for a normal one, float32.

  The sum over flagged pixels is the sum of all regions' overlaps; the sum over
  all pixels is the number of regions.
  """
  numbers = regions(truth)
  areas = np.bincount(numbers.ravel(), minlength=1)
  # If all pixels are defective, the background has area 0.
  weights = np.where(numbers > 0, 1.0 / np.maximum(areas, 1)[numbers], 0.0)
  return weights.astype(np.float32)


def _aupro(normal: np.ndarray, overlap: np.ndarray, limit: float) -> float:
  """Area under the per-region overlap curve; 1 is the best.

  At each threshold: the flagged share of a defect's pixels, averaged over the
  defects of all images, large and small alike, against the flagged share of
  the normal pixels. The curve starts at (0, 0), is linear between thresholds,
  and is averaged over rates from 0 to `limit`, which is at most 1.

  Args:
    normal: normal pixels of each bin, in ascending order of the score.
    overlap: sum of the region weights of each bin.
    limit: largest false positive rate.

  Returns:
    The area; nan without a defect or without a normal pixel.
  """
  if not (normal.any() and overlap.any()):
    return float("nan")
  x, y = (
    np.concatenate([[0.0], np.cumsum(bins[::-1]) / np.sum(bins)])
    for bins in (normal, overlap)
  )
  inside = np.searchsorted(x, limit, side="right")
  # Past the end of the curve (limit 1) this repeats its last point.
  last = np.interp(limit, x[inside - 1 :], y[inside - 1 :])
  x, y = np.append(x[:inside], limit), np.append(y[:inside], last)
  return float(np.trapezoid(y, x) / limit)


class Counts(NamedTuple):
  """Sums over the pixels of a stream, by bins of their score.

  Attributes:
    normal: normal pixels, int32: up to 2³¹ in one bin of one device, which is
      32,767 maps of 256 x 256 pixels even if all scores are equal.
    defective: defective pixels, int32.
    overlap: sums of `region_weights`.
    undefined: pixels whose score is nan.
  """

  normal: Int[ArrayLike, "*devices bins"]
  defective: Int[ArrayLike, "*devices bins"]
  overlap: Float[ArrayLike, "*devices bins"]
  undefined: Int[ArrayLike, "*devices"]

  @classmethod
  def empty(cls, bins: int = 1 << 14) -> "Counts":
    """The counts before the first pixel."""
    return cls(
      jnp.zeros(bins, jnp.int32),
      jnp.zeros(bins, jnp.int32),
      jnp.zeros(bins),
      jnp.zeros((), jnp.int32),
    )


def count(
  counts: Counts,
  maps: Float[ArrayLike, "b H W"],
  weights: Float[ArrayLike, "b H W"],
  valid: Bool[ArrayLike, " b"],
  low: float = 0.0,
  high: float = 2.0,
) -> Counts:
  """Adds a batch of anomaly maps, on the device.

  Bins are equally wide in sqrt(score - low), which for a cosine distance is the
  chord between the directions. So they are narrowest at low scores, where most
  normal pixels are. With most scores around 0.004 the error of AP, the most
  sensitive metric, is 0.0005; with bins of equal width it is 0.004.

  Args:
    counts: of the batches before.
    maps: scores; those outside of `low` to `high` go to the end bins.
    weights: `region_weights` of each truth; above 0 a pixel is defective.
    valid: False for padding.
    low: the lowest possible score; by default that of a cosine distance.
    high: the highest possible score.
  """
  bins = counts.normal.shape[-1]

  def add(
    counts: Counts, example: tuple[jax.Array, ...]
  ) -> tuple[Counts, None]:
    scores, weights, real = example
    nan = jnp.isnan(scores)
    share = jnp.clip((scores - low) / (high - low), 0.0, 1.0)
    root = jnp.sqrt(jnp.where(nan, 0.0, share))
    place = jnp.minimum((root * bins).astype(jnp.int32), bins - 1)
    # Normal and defective pixels are two rows, so that one scatter counts both.
    both = jnp.zeros((2, bins), jnp.int32)
    both = both.at[(weights > 0).astype(jnp.int32), place].add(
      real.astype(jnp.int32)
    )
    overlap = jnp.zeros(bins).at[place].add(jnp.where(real, weights, 0.0))
    return Counts(
      counts.normal + both[0],
      counts.defective + both[1],
      counts.overlap + overlap,
      counts.undefined + jnp.sum(nan & real, dtype=jnp.int32),
    ), None

  # Map by map: on CPU more than twice as fast as one scatter of the batch, and
  # the float32 sums stay short.
  maps, weights = (jnp.asarray(x, jnp.float32) for x in (maps, weights))
  return jax.lax.scan(add, counts, (maps, weights, jnp.asarray(valid)))[0]


def pixel_metrics(counts: Counts, limit: float = LIMIT) -> dict[str, float]:
  """AUROC, AP and F1-max of all pixels, and AUPRO, by name.

  Scores of one bin count as equal. All are nan if a score is nan, or without a
  normal or a defective pixel. Stacked counts of several devices are summed, in
  float64.
  """
  bins = counts.normal.shape[-1]
  normal, defective, overlap = (
    np.asarray(x, np.float64).reshape(-1, bins).sum(axis=0)
    for x in (counts.normal, counts.defective, counts.overlap)
  )
  if np.any(counts.undefined):
    normal = defective = overlap = np.zeros(0)
  named = ranking.summary(normal, defective)
  return {f"pixel_{name}": value for name, value in named.items()} | {
    "aupro": _aupro(normal, overlap, limit)
  }


def image_metrics(
  labels: ranking.Labels, scores: Float[ArrayLike, " n"]
) -> dict[str, float]:
  """AUROC, AP and F1-max of images, exact, by name; label 0 is normal."""
  named = ranking.summary(*ranking.tally(labels, scores))
  return {f"image_{name}": value for name, value in named.items()}


class Threshold(NamedTuple):
  """The score above which an image is called defective.

  Attributes:
    value: an image is flagged if its score is above it.
    rate: the false positive rate that can be promised.
  """

  value: float
  rate: float


def threshold(
  scores: Float[ArrayLike, " n"], false_positive_rate: float
) -> Threshold:
  """The lowest threshold that keeps a false positive rate, by conformal rank.

  It is the ⌈(n + 1)(1 - rate)⌉-th smallest of n normal scores. Of n + 1 normal
  images each is equally likely to be the new one. So a new normal image scores
  above the threshold with at most that probability (Vovk, Gammerman and Shafer,
  2005), on average over draws of the n images, which must not be training
  images. If n is too small for the rate, the threshold is the largest score and
  the promised rate 1 / (n + 1).

  Args:
    scores: of normal images held out of training.
    false_positive_rate: the largest share of normal images to be flagged.

  Raises:
    UserError: the rate is not between 0 and 1, there is no score, or one is
      not a number.
  """
  scores = np.sort(np.asarray(scores))
  if not 0 < false_positive_rate < 1:
    raise UserError(
      f"false_positive_rate {false_positive_rate} is not between 0 and 1; use,"
      " say, 0.01: one normal image in a hundred is flagged."
    )
  if not len(scores):
    raise UserError(
      "There is no normal image to choose the threshold on; hold out at least"
      " one from training."
    )
  if np.isnan(scores[-1]):
    raise UserError(
      f"{np.isnan(scores).sum()} of {len(scores)} normal images have a score"
      " that is not a number, so no threshold can be chosen; look at the loss."
    )
  # Rounded: 100 * 0.29 is 28.999999999999996 in binary.
  above = math.floor(round((len(scores) + 1) * false_positive_rate, 9))
  above = max(above, 1)
  return Threshold(float(scores[-above]), above / (len(scores) + 1))

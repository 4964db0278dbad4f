"""How well anomaly maps and image scores find defects.

Exact forms (`image_metrics`, `aupro`) hold all scores in memory. Pixels are
too many for that: while the maps are made, `count` sorts them into the bins
of a histogram on the device, and `pixel_metrics` reads all pixel metrics off
the sums. `threshold` says from which score on an image is called defective.
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
  evaluation of MVTec AD and those derived from it: a scratch one pixel wide
  stays one region. With 4-connectivity it would fall into many, which would
  outvote the large defects in the mean over regions.
  """
  numbers, _ = ndimage.label(np.asarray(truth), np.ones((3, 3), bool))
  return numbers.astype(np.int32)


def region_weights(truth: Bool[ArrayLike, "H W"]) -> Float[np.ndarray, "H W"]:
  """1 / area of a defective pixel's region, 0 for a normal one, float32.

  Summed over flagged pixels this is the sum of all regions' overlaps; summed
  over all, the number of regions.
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
    np.concatenate([[0.0], np.cumsum(part[::-1]) / np.sum(part)])
    for part in (normal, overlap)
  )
  inside = np.searchsorted(x, limit, side="right")
  # Past the end of the curve (limit 1) this repeats its last point.
  last = np.interp(limit, x[inside - 1 :], y[inside - 1 :])
  x, y = np.append(x[:inside], limit), np.append(y[:inside], last)
  return float(np.trapezoid(y, x) / limit)


class Counts(NamedTuple):
  """What the pixels of a stream add up to, by bins of their score.

  Attributes:
    normal: normal pixels, int32: up to 2³¹ in one bin of one device, or 32,767
      maps of 256 x 256 pixels even if their scores are all the same.
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
    """Before the first pixel."""
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

  Bins are equally wide in the root of the score above `low` (of a cosine
  distance: in the chord between the directions), and so narrowest where normal
  pixels crowd. Where most scores lie around 0.004 this puts AP, the most
  sensitive, off by 0.0005, bins of equal width by 0.004.

  Args:
    counts: what is counted so far.
    maps: scores; outside of `low` to `high` they go to the end bins.
    weights: `region_weights` of each truth; above 0 a pixel is defective.
    valid: False for padding.
    low: the lowest score there can be; a cosine distance's, unless given.
    high: the highest.
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
    # The defective have a row of their own: one scatter counts both.
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

  Scores of one bin count as equal. nan as in the exact forms. Counts of
  several devices, stacked, are summed, in float64.
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
  """From which score on an image is called defective.

  Attributes:
    value: an image is flagged when its score is above it.
    rate: the false positive rate that can be promised.
  """

  value: float
  rate: float


def threshold(
  scores: Float[ArrayLike, " n"], false_positive_rate: float
) -> Threshold:
  """The lowest threshold that keeps a false positive rate, by conformal rank.

  It is the ⌈(n + 1)(1 - rate)⌉-th smallest of n normal scores. Of n + 1
  images of one source each is as likely as any other to be the new one, so
  that a new normal image is above with at most that chance (Vovk, Gammerman
  and Shafer, 2005), on average over the draws of the n. It takes images that
  the model was not trained on. With n too small for the rate the largest score
  is the threshold and 1 / (n + 1) all that can be promised.

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

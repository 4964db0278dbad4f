"""Whether prototypes stand for parts of the object that people have named.

Parts are points in an image, each seen or not. A prototype is at a part of an
image if the part lies in a box around the prototype's place: `contained`. From
these tables, b images x q prototypes x r parts, follow

  consistency  share of the prototypes that are at one and the same part in at
               least 80 % of the images of their class
  stability    share of the images in which noise does not change the parts that
               a prototype is at
  purity       share of the images in which a prototype is at its most frequent
               part

Consistency and stability: Huang et al., Evaluation and improvement of
interpretability for self-explainable part-prototype networks, ICCV 2023, and
the authors' code. Purity: PIP-Net (Nauta et al., CVPR 2023), over the images
that a prototype is found in. `same_cells` measures stability without named
parts.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from protojax.metrics.means import mean_where, ratio
from protojax.types import Array, ArrayLike

# Half the side of a box, as a share of the image's side: the authors' 36 of 224
# pixels (PIP-Net's patch of 32 pixels has 16).
HALF = 36 / 224
# The authors' noise is N(0, 0.2), cut off at 0.25, for images divided by the
# deviation of ImageNet's channels, which is 57.6 grey levels on average.
NOISE, MOST_NOISE = 0.2 * 57.6, 0.25 * 57.6

Tables = Bool[ArrayLike, "b q r"]


def boxes(
  places: Num[ArrayLike, "b q 2"], height: int, width: int, half: float = HALF
) -> Float[Array, "b q 4"]:
  """The box around each place: (top, left, bottom, right) in pixels.

  Args:
    places: row and column, in pixels.
    height: of the image, in pixels.
    width: of the image, in pixels.
    half: half the side of a box, as a share of the image's side; boxes are cut
      at the edge of the image.
  """
  size = jnp.array([height, width], jnp.float32)
  reach = jnp.round(half * size)[None, None]
  low = jnp.maximum(places - reach, 0.0)
  high = jnp.minimum(places + reach, size[None, None])
  return jnp.concatenate([low, high], axis=-1)


def contained(
  boxes: Num[ArrayLike, "b q 4"],
  parts: Num[ArrayLike, "b r 2"],
  seen: Bool[ArrayLike, "b r"],
) -> Bool[Array, "b q r"]:
  """Which parts lie in which boxes, their edges included.

  Args:
    boxes: top, left, bottom, right.
    parts: row and column.
    seen: whether the part is seen; a part that is not seen lies in no box.
  """
  box, part = jnp.asarray(boxes)[:, :, None], jnp.asarray(parts)[:, None]
  inside = (box[..., :2] <= part) & (part <= box[..., 2:])
  return jnp.all(inside, axis=-1) & jnp.asarray(seen)[:, None]


def rates(
  contained: Tables,
  seen: Bool[ArrayLike, "b r"],
  counted: Bool[ArrayLike, "b q"],
) -> Float[Array, "q r"]:
  """Share of the images in which each prototype is at each part.

  Args:
    contained: see the function.
    seen: whether the part is seen in the image.
    counted: which images count for which prototype: those of its class, or
      those that it is found in.

  Returns:
    Shares of the images that count and show the part; nan without such images.
  """
  at, seen, counted = (
    jnp.asarray(x, jnp.float32) for x in (contained, seen, counted)
  )
  precise = jax.lax.Precision.HIGHEST
  shown = jnp.einsum("bq,br->qr", counted, seen, precision=precise)
  found = jnp.einsum("bq,bqr->qr", counted, at, precision=precise)
  return ratio(found, shown)


def purity(
  contained: Tables,
  seen: Bool[ArrayLike, "b r"],
  counted: Bool[ArrayLike, "b q"],
) -> Float[Array, " q"]:
  """The rate of each prototype's best part; nan if no part is ever seen."""
  found = rates(contained, seen, counted)
  best = jnp.max(jnp.nan_to_num(found, nan=-1.0), axis=1)
  return jnp.where(best < 0, jnp.nan, best)


def consistency(
  contained: Tables,
  seen: Bool[ArrayLike, "b r"],
  counted: Bool[ArrayLike, "b q"],
  threshold: float = 0.8,
) -> Float[Array, " q"]:
  """1 for a prototype with a part of at least such a rate, else 0.

  The score of a model is the mean over prototypes; nan if no part is ever seen.
  """
  found = purity(contained, seen, counted)
  consistent = (found >= threshold).astype(jnp.float32)
  return jnp.where(jnp.isnan(found), jnp.nan, consistent)


def stability(
  before: Tables,
  after: Tables,
  seen: Bool[ArrayLike, "b r"],
  counted: Bool[ArrayLike, "b q"],
) -> Float[Array, " q"]:
  """Share of the images in which a prototype is at the same parts under noise.

  An image in which no part is seen is left out; the authors' code counts it as
  stable.

  Args:
    before: `contained` of the images.
    after: the same of the images under `noisy`.
    seen: whether the part is seen in the image.
    counted: which images count for which prototype.
  """
  same = jnp.all(jnp.asarray(before) == jnp.asarray(after), axis=2)
  shown = jnp.any(seen, axis=1)[:, None] & jnp.asarray(counted)
  return mean_where(same.T.astype(jnp.float32), shown.T)


def noisy(
  images: Num[ArrayLike, "b H W c"],
  keys: Array,
  deviation: float = NOISE,
  most: float = MOST_NOISE,
) -> Float[Array, "b H W c"]:
  """Images of 0..255 under noise that people do not see.

  Args:
    images: in grey levels.
    keys: one for each image.
    deviation: of the noise, in grey levels.
    most: largest change of a value, in grey levels.
  """
  draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)
  noise = jnp.clip(deviation * draw, -most, most)
  return jnp.clip(jnp.asarray(images, jnp.float32) + noise, 0.0, 255.0)


def same_cells(
  before: Int[ArrayLike, "b p"],
  after: Int[ArrayLike, "b p"],
  counted: Bool[ArrayLike, "b p"],
) -> Float[Array, " p"]:
  """Share of the images in which a prototype has the same cell in two copies.

  Like `stability`, for images without named parts.
  """
  counted = jnp.asarray(counted, jnp.float32)
  same = counted * (jnp.asarray(before) == jnp.asarray(after))
  return ratio(jnp.sum(same, axis=0), jnp.sum(counted, axis=0))

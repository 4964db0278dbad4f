"""Whether heat maps lie on the object, judged by a mask of its pixels.

Each function takes q maps of each of b images (one of the class, or one of each
of some prototypes) and gives one value for each map. A value that is not
defined is nan; `means.mean` leaves it out and counts it.

  content          mean heat on the object (CH)                     high
  outside_inside   mean heat off it over mean heat on it (OIRR)     low
  overlap          IoU of the warm pixels and the object            high
  energy           share of the heat that lies on it                high
  relevance        share of the hottest pixels that lie on it       high
  hits             whether the hottest pixel lies on it             high
  coverage         share of the image that is object: what energy, relevance
                   and hits would be by chance

The first three are those of ST-ProtoPNet (Wang et al., ICCV 2023, and the
authors' code), over maps brought to 0..1. Energy is the energy-based
pointing game of Score-CAM (Wang et al., CVPR workshops 2020, section 4.3),
relevance that of Xu-Darme et al. (Sanity checks for patch visualisation in
prototype-based image classification, CVPR workshops 2023), hits the pointing
game of Zhang et al. (Top-down neural attention by excitation backprop, ECCV
2016, section 4.1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.metrics.means import mean_where, ratio
from protojax.types import Array, ArrayLike

Maps = Float[ArrayLike, "b q H W"]
Masks = Bool[ArrayLike, "b H W"]
Values = Float[Array, "b q"]


def scaled(maps: Maps) -> Float[Array, "b q H W"]:
  """Every map scaled to 0..1 by its extremes; nan for a flat map."""
  maps = jnp.asarray(maps)
  low = jnp.min(maps, axis=(2, 3), keepdims=True)
  high = jnp.max(maps, axis=(2, 3), keepdims=True)
  return (maps - low) / jnp.where(high > low, high - low, jnp.nan)


def content(maps: Maps, masks: Masks) -> Values:
  """CH: mean heat on the object.

  Not defined without object, or for a flat map.
  """
  heat, inside = _flat(scaled(maps), masks)
  return mean_where(heat, inside)


def outside_inside(maps: Maps, masks: Masks) -> Values:
  """OIRR: mean heat off the object over mean heat on it.

  Not defined if the object is none or all of the image, for a flat map, and
  without heat on the object, where it would be infinite.
  """
  heat, inside = _flat(scaled(maps), masks)
  return ratio(mean_where(heat, ~inside), mean_where(heat, inside))


def overlap(maps: Maps, masks: Masks, threshold: float = 0.5) -> Values:
  """IoU of the object and the pixels with a heat (0..1) of `threshold` or more.

  Not defined without object, or for a flat map.
  """
  heat, inside = _flat(scaled(maps), masks)
  warm = heat >= threshold
  shared = jnp.sum(warm & inside, axis=-1, dtype=jnp.float32)
  either = jnp.sum(warm | inside, axis=-1, dtype=jnp.float32)
  defined = jnp.any(inside, axis=-1) & ~jnp.any(jnp.isnan(heat), axis=-1)
  return jnp.where(defined, ratio(shared, either), jnp.nan)


def energy(maps: Maps, masks: Masks) -> Values:
  """Share of the heat that lies on the object; negative heat counts as none.

  Not defined without object, or without heat.
  """
  heat, inside = _flat(jnp.maximum(maps, 0.0), masks)
  on_object = jnp.sum(jnp.where(inside, heat, 0.0), axis=-1)
  share = ratio(on_object, jnp.sum(heat, axis=-1))
  return jnp.where(jnp.any(inside, axis=-1), share, jnp.nan)


def relevance(maps: Maps, masks: Masks, area: float = 0.1) -> Values:
  """Share of the hottest pixels that lie on the object.

  Pixels that are as hot as the last of the hottest count in equal shares, so
  that the order of the pixels does not matter in a map of few levels.

  Args:
    maps: heat.
    masks: where the object is; without object the value is not defined.
    area: share of the pixels that are the hottest; at least one pixel is.
  """
  heat, inside = _flat(maps, masks)
  count = max(1, round(area * heat.shape[-1]))
  last = jax.lax.top_k(heat, count)[0][..., -1:]
  above, level = heat > last, heat == last
  places = count - jnp.sum(above, axis=-1)
  of_level = mean_where(jnp.asarray(inside, jnp.float32), level)
  found = jnp.sum(above & inside, axis=-1) + places * of_level
  return jnp.where(jnp.any(inside, axis=-1), found / count, jnp.nan)


def hits(maps: Maps, masks: Masks, tolerance: int = 0) -> Values:
  """1 where the hottest pixel lies on the object, else 0.

  Args:
    maps: heat; of equally hot pixels the first one, row by row, counts.
    masks: where the object is; without object the value is not defined.
    tolerance: pixels by which it may miss the object; the paper allows 15.
  """
  heat, inside = _flat(maps, masks)
  width = maps.shape[3]
  row, column = jnp.divmod(jnp.argmax(heat, axis=-1)[..., None], width)
  rows, columns = jnp.divmod(jnp.arange(heat.shape[-1])[None, None], width)
  near = (rows - row) ** 2 + (columns - column) ** 2 <= tolerance**2
  hit = jnp.any(near & inside, axis=-1).astype(jnp.float32)
  return jnp.where(jnp.any(inside, axis=-1), hit, jnp.nan)


def coverage(masks: Masks) -> Float[Array, " b"]:
  """Share of each image that is object; nan without object."""
  share = jnp.mean(jnp.asarray(masks, jnp.float32), axis=(1, 2))
  return jnp.where(share > 0, share, jnp.nan)


def _flat(
  maps: Maps, masks: Masks
) -> tuple[Float[Array, "b q n"], Bool[Array, "b q n"]]:
  """Maps and masks of one shape, with one axis of pixels."""
  heat = jnp.asarray(maps).reshape(*maps.shape[:2], -1)
  inside = jnp.asarray(masks).reshape(len(masks), 1, -1)
  return heat, jnp.broadcast_to(inside, heat.shape)

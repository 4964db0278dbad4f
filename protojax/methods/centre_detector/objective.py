"""What a cell shall say, and the loss of what it says.

The likelihood of a centre falls off around it as a Gaussian, and cells near a
centre are punished less (the focal loss of CornerNet, Law & Deng, ECCV 2018);
all else is learnt at centres alone, by its distance (L1).
"""

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.datasets.driving import LENGTH
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.centre_detector.network import Network
from protojax.types import Array, Batch, PyTree, State

# Of the Gaussian around a centre: share of the box, and cells at least.
_SPREAD, _LEAST = 1 / 8, 0.4
# Exponents of the focal loss.
_SURE, _NEAR = 2, 4


class Targets(NamedTuple):
  """What a batch shall say.

  Attributes:
    heat: likelihood of a centre of each class.
    cell: of each object, y w + x.
    parts: of each object; see `network.PARTS`.
    valid: whether there is such an object.
  """

  heat: Float[Array, "b h w k"]
  cell: Int[Array, "b t"]
  parts: Mapping[str, Float[Array, "b t m"]]
  valid: Bool[Array, "b t"]


def targets(
  batch: Batch, grid: tuple[int, int], classes: int, typical: float
) -> Targets:
  """Targets of a batch of `datasets.driving`.

  Args:
    batch: with "objects", "cuboids" and "camera".
    grid: rows and columns of cells.
    classes: kinds of objects.
    typical: depth in metres, the unit of depths.
  """
  h, w = grid
  objects, valid = batch["objects"], jnp.asarray(batch["objects"]["valid"])
  boxes = jnp.asarray(objects["boxes"])
  b, t, _ = boxes.shape
  valid = valid & jnp.asarray(batch["valid"])[:, None]
  scale = jnp.array([h, w], jnp.float32)[None, None]
  middle = (boxes[..., :2] + boxes[..., 2:]) / 2
  extent = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 1e-4)
  place = middle * scale
  cell = jnp.clip(jnp.floor(place), 0, scale - 1)
  spread = jnp.maximum(_SPREAD * extent * scale, _LEAST)
  bumps = [
    jnp.exp(
      -((jnp.arange(n)[None, None] - cell[..., i : i + 1]) ** 2)
      / (2 * spread[..., i : i + 1] ** 2)
    )
    for i, n in enumerate(grid)
  ]
  own = jax.nn.one_hot(objects["classes"], classes) * valid[..., None]

  def drawn(heat: Array, one: tuple) -> tuple[Array, None]:
    down, across, kind = one
    bump = down[:, :, None, None] * across[:, None, :, None]
    return jnp.maximum(heat, bump * kind[:, None, None, :]), None

  given = [jnp.moveaxis(x, 1, 0) for x in (*bumps, own)]
  heat, _ = jax.lax.scan(drawn, jnp.zeros((b, h, w, classes)), tuple(given))
  solid = jnp.asarray(batch["cuboids"]).reshape(b, t, LENGTH)
  camera = jnp.asarray(batch["camera"]).reshape(b, 3, 4)
  sizes, places, yaws = solid[..., :3], solid[..., 3:6], solid[..., 6]
  # The middle, half a height above the bottom.
  inside = places.at[..., 1].add(-sizes[..., 0] / 2)
  seen = jnp.einsum(
    "bij,btj->bti", camera[:, :, :3], inside, precision="highest"
  )
  seen = seen + camera[:, None, :, 3]
  depth = jnp.maximum(places[..., 2], 0.1)
  shares = seen[..., 1::-1] / jnp.maximum(seen[..., 2:], 0.1)
  angle = yaws - jnp.arctan2(places[..., 0], places[..., 2])
  parts = {
    "offset": place - cell,
    "box": jnp.log(extent),
    "middle": shares * scale - cell,
    "depth": jnp.log(depth / typical)[..., None],
    "size": jnp.log(jnp.maximum(sizes, 1e-2)),
    "angle": jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1),
  }
  flat = (cell[..., 0] * w + cell[..., 1]).astype(jnp.int32)
  return Targets(heat, flat, parts, valid)


def focal(
  logits: Float[Array, "b h w k"], heat: Float[Array, "b h w k"]
) -> Float[Array, "b h w k"]:
  """Of each cell; 1 in `heat` is a centre."""
  sure, unsure = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  p = jax.nn.sigmoid(logits)
  at_centre = -((1 - p) ** _SURE) * sure
  elsewhere = -((1 - heat) ** _NEAR) * p**_SURE * unsure
  return jnp.where(heat == 1, at_centre, elsewhere)


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """The loss of a batch.

  Attributes:
    network: of the method.
    weights: part -> weight; that of "heat" is 1.
  """

  network: Network
  weights: Mapping[str, float]

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Focal loss of centres, and the distance of each part at them."""
    del now
    net = self.network
    rows, statistics = net.maps(
      params, state.statistics["backbone"], batch["image"], train=True
    )
    b, h, w, _ = rows.shape
    wanted = targets(batch, (h, w), len(net.class_names), net.typical)
    logits, found = net.parts(rows)
    real = jnp.asarray(batch["valid"])[:, None, None, None]
    count = jnp.sum(wanted.valid)
    heat = jnp.sum(jnp.where(real, focal(logits, wanted.heat), 0))
    terms = {"heat": Term(heat, count)}
    for name, target in wanted.parts.items():
      flat = found[name].reshape(b, h * w, -1)
      own = jnp.take_along_axis(flat, wanted.cell[..., None], axis=1)
      away = jnp.where(wanted.valid[..., None], jnp.abs(own - target), 0)
      terms[name] = Term(jnp.sum(away), count, self.weights[name])
    return terms, Aux({"backbone": statistics})

"""The network: image -> for each cell, what has its centre there.

A map of likelihoods for each class (CenterNet, Zhou et al., 2019), and at a
centre the box, the depth, the size and the angle of the object (SMOKE, Liu et
al., CVPR workshops 2020, has the like).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.backbones.backbone import Backbone
from protojax.data.cuboids import Cuboids
from protojax.layers.conv import Conv
from protojax.layers.pool import max_pool
from protojax.methods.centre_detector import found
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Numbers of a cell beside the classes, in order.
PARTS: Mapping[str, int] = {
  # Of the box's centre from the cell's corner, in cells: down, to the right.
  "offset": 2,
  # Logarithm of height and width of the box, in shares of the image.
  "box": 2,
  # Of the cuboid's middle in the image from the cell's corner, in cells.
  "middle": 2,
  # Logarithm of the depth, in units of `typical`.
  "depth": 1,
  # Logarithm of height, width and length, in metres.
  "size": 3,
  # Sine and cosine of the angle that the object is seen at.
  "angle": 2,
}
# Likelihood of a centre before anything is learnt, as in focal loss.
_RARE = 0.05


class Head(nn.Module):
  """Features -> a map of `channels` numbers.

  Attributes:
    hidden: channels in between.
    classes: of the first numbers, which start out unlikely.
    channels: of the map.
  """

  hidden: int
  classes: int
  channels: int

  @nn.compact
  def __call__(
    self, features: Float[Array, "b h w d"]
  ) -> Float[Array, "b h w c"]:
    """One layer of 3 x 3 cells and one of single cells."""
    x = nn.relu(Conv(self.hidden, 3, bias=True, name="inner")(features))
    rare = jnp.log(_RARE / (1 - _RARE))

    def start(key: Array, shape: tuple, dtype: Any = jnp.float32) -> Array:
      return jnp.zeros(shape, dtype).at[: self.classes].set(rare)

    return nn.Dense(self.channels, bias_init=start, name="outer")(x)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """Backbone and head.

  Attributes:
    backbone: image -> features.
    image_size: pixels on a side.
    class_names: kinds of objects; index = class.
    hidden: channels inside the head.
    typical: depth in metres, the unit of depths.
    most: answers for an image.
  """

  backbone: Backbone
  image_size: int
  class_names: tuple[str, ...]
  hidden: int
  typical: float
  most: int

  @property
  def head(self) -> Head:
    """The layers after the backbone."""
    k = len(self.class_names)
    return Head(self.hidden, k, k + sum(PARTS.values()))

  def init(self, key: Array, blank_backbone: bool = False) -> State:
    """A random start.

    Args:
      key: of the randomness.
      blank_backbone: zeros for a backbone whose weights will be loaded.
    """
    first, second = jax.random.split(key)
    statistics = self.backbone.init(first, self.image_size, blank_backbone)
    backbone = statistics.pop("params")
    features = jnp.zeros((1, 1, 1, self.backbone.channels))
    head = self.head.init(second, features)["params"]
    params = {"backbone": backbone, "head": head}
    return State(params, {"backbone": statistics}, {}, {})

  def maps(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Float[Array, "b h w c"], PyTree]:
    """The head's map, and the statistics, which training moves.

    Args:
      params: the groups "backbone" and "head".
      statistics: of the backbone.
      images: pixels 0..255.
      train: BatchNorm normalises by the batch.
    """
    apply: Any = self.backbone.module.apply
    x = self.backbone.normalise(jnp.asarray(images))
    moving = list(statistics) if train else []
    features, made = apply(
      {"params": params["backbone"], **statistics},
      x,
      train=train,
      mutable=["intermediates", *moving],
    )
    statistics = {name: made[name] for name in moving} or statistics
    call: Any = self.head.apply
    return call({"params": params["head"]}, features), statistics

  def parts(
    self, rows: Float[Array, "*n c"]
  ) -> tuple[Float[Array, "*n k"], dict[str, Float[Array, "*n m"]]]:
    """Logits of the classes, and the numbers of `PARTS` by name."""
    at = len(self.class_names)
    parts, logits = {}, rows[..., :at]
    for name, width in PARTS.items():
      parts[name] = rows[..., at : at + width]
      at += width
    return logits, parts

  def objects(
    self,
    row: Mapping[str, ArrayLike],
    camera: Float[ArrayLike, "3 4"] | None,
    shape: tuple[int, int],
    least: float,
  ) -> Cuboids:
    """What was found in an image; see `base.Localises`."""
    rows = {name: np.asarray(x) for name, x in row.items()}
    matrix = None if camera is None else np.asarray(camera, float)
    return found.objects(
      rows, matrix, self.class_names, self.image_size, shape, least
    )

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Rows of `predict`: the surest objects of each image; see `Method`."""
    rows, _ = self.maps(
      state.params, state.statistics["backbone"], batch["image"]
    )
    b, h, w, _ = rows.shape
    logits, parts = self.parts(rows)
    heat = jax.nn.sigmoid(logits)
    k = heat.shape[-1]
    # A centre is likelier than its neighbours.
    peak = heat == max_pool(heat, 3, 1, margin=1)
    ranked = jnp.where(peak, heat, 0).reshape(b, h * w * k)
    scores, at = jax.lax.top_k(ranked, min(self.most, h * w * k))
    classes, cell = at % k, at // k

    def taken(part: Array) -> Array:
      flat = part.reshape(b, h * w, -1)
      return jnp.take_along_axis(flat, cell[..., None], axis=1)

    own = {name: taken(part) for name, part in parts.items()}
    corner = jnp.stack([cell // w, cell % w], axis=-1)
    cells = jnp.array([h, w], jnp.float32)[None, None]
    middle = (corner + own["offset"]) / cells
    half = jnp.exp(own["box"]) / 2
    boxes = jnp.concatenate([middle - half, middle + half], axis=-1)
    return {
      "boxes": jnp.clip(boxes, 0, 1) * self.image_size,
      "scores": scores,
      "classes": classes,
      "middles": (corner + own["middle"]) / cells,
      "depths": self.typical * jnp.exp(own["depth"][..., 0]),
      "sizes": jnp.exp(own["size"]),
      "angles": jnp.arctan2(own["angle"][..., 0], own["angle"][..., 1]),
    }

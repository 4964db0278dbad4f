"""The network: image -> levels -> memory -> queries -> masks and classes."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8

from protojax import parallel
from protojax.backbones.backbone import Backbone
from protojax.methods.pem import inference
from protojax.methods.pem.decoder import Decoder, Predictions, resized
from protojax.methods.pem.inference import Found, Thresholds
from protojax.methods.pem.pixel_decoder import PixelDecoder
from protojax.types import Array, ArrayLike, Batch, PyTree, State


@dataclasses.dataclass(frozen=True)
class Network:
  """Backbone, pixel decoder and transformer decoder.

  Attributes:
    backbone: image -> maps.
    levels: names of its maps, the finest first; each halves the one before.
    pixels: maps -> memory and features of masks.
    decoder: memory and features -> masks and classes.
    class_names: index = class.
    image_size: pixels on a side.
    thresholds: of segments.
    panoptic: whether objects of a class are told apart.
  """

  backbone: Backbone
  levels: tuple[str, ...]
  pixels: PixelDecoder
  decoder: Decoder
  class_names: tuple[str, ...]
  image_size: int
  thresholds: Thresholds
  panoptic: bool

  @functools.cached_property
  def grids(self) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the memory that each layer reads."""
    state = jax.eval_shape(self.init, jax.random.key(0))
    shape = 1, self.image_size, self.image_size, 3
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    memory = jax.eval_shape(self._memory, state.params, state.statistics, image)
    sides = [level.shape[1:3] for level in memory[1]]
    return tuple(sides[i % len(sides)] for i in range(self.decoder.layers))

  def init(self, key: Array, blank: bool = False) -> State:
    """A random start.

    Args:
      key: of the randomness.
      blank: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 3)
    backbone = self.backbone.init(keys[0], self.image_size, blank)
    params: dict[str, PyTree] = {"backbone": backbone.pop("params")}
    statistics: dict[str, PyTree] = {"backbone": backbone}
    image = jnp.zeros((1, self.image_size, self.image_size, 3))
    maps = jax.eval_shape(
      lambda p, s: self.backbone.pyramid(p, s, image, self.levels)[0],
      params["backbone"],
      backbone,
    )
    maps = [jnp.zeros(x.shape, x.dtype) for x in maps]
    own = dict(self.pixels.init(keys[1], maps))
    params["pixels"] = own.pop("params")
    statistics["pixels"] = own
    features, memory = jax.eval_shape(
      lambda v: self.pixels.apply(v, maps), {"params": params["pixels"], **own}
    )
    blanks = [jnp.zeros(x.shape, x.dtype) for x in (features, *memory)]
    own = dict(
      self.decoder.init(keys[2], blanks[0], blanks[1:], False, keys[2])
    )
    params["decoder"] = own.pop("params")
    statistics["decoder"] = own
    things = jnp.zeros(len(self.class_names), bool)
    return State(params, statistics, {"things": things})

  def forward(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: tuple[bool, bool] = (False, False),
    key: Array | None = None,
  ) -> tuple[Predictions, PyTree]:
    """The predictions of all layers, and the statistics, which training moves.

    Args:
      params: of the network.
      statistics: of BatchNorm.
      images: pixels 0..255.
      train: whether BatchNorm normalises by the batch: of the backbone, of the
        rest.
      key: of random tokens; None: always the same ones.
    """
    maps, backbone = self.maps(params, statistics, images, train[0])
    found, moved = self.of_maps(params, statistics, maps, train[1], key)
    return found, {**moved, "backbone": backbone}

  def maps(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[tuple[Array, ...], PyTree]:
    """The backbone's maps, the finest first, and its statistics."""
    return self.backbone.pyramid(
      params["backbone"], statistics["backbone"], images, self.levels, train
    )

  def of_maps(
    self,
    params: PyTree,
    statistics: PyTree,
    maps: Sequence[Array],
    train: bool = False,
    key: Array | None = None,
  ) -> tuple[Predictions, PyTree]:
    """The predictions from the maps of the backbone; see `forward`."""
    moved = dict(statistics)
    (features, memory), moved["pixels"] = self._applied(
      "pixels", params, statistics, train, list(maps)
    )
    key = parallel.key(0) if key is None else key
    found, moved["decoder"] = self._applied(
      "decoder", params, statistics, train, features, memory, key=key
    )
    return found, moved

  def _applied(
    self,
    name: str,
    params: PyTree,
    statistics: PyTree,
    train: bool,
    *given: Any,
    **named: Any,
  ) -> tuple[Any, PyTree]:
    module: Any = self.pixels if name == "pixels" else self.decoder
    own = statistics[name]
    variables = {"params": params[name], **own}
    if not train:
      return module.apply(variables, *given, train=False, **named), own
    return module.apply(
      variables, *given, train=True, mutable=list(own), **named
    )

  def _memory(
    self, params: PyTree, statistics: PyTree, images: ArrayLike
  ) -> tuple[Array, tuple[Array, ...]]:
    maps, _ = self.maps(params, statistics, images)
    return self._applied("pixels", params, statistics, False, list(maps))[0]

  def seen(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Predictions:
    """The predictions of all layers."""
    return self.forward(state.params, state.statistics, images)[0]

  def keys(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b n c"]:
    """The tokens of all layers, one layer after the other."""
    read = self.seen(state, images).read
    return jnp.concatenate([layer.keys for layer in read], axis=1)

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """What is said of images.

    Returns:
      "classes" [b H W], of each pixel; if panoptic, "segments" [b H W], the
      number of each pixel's segment, 0 for void, and of the segments "kinds"
      and "scores" [b q]: segment i is number i - 1 there; and "things" [b k],
      which classes are objects.
    """
    sides = batch["image"].shape[1:3]
    found = self.seen(state, batch["image"])
    rows = {"classes": self.classes(found, sides)}
    if self.panoptic:
      segments = self.segments(state, found, sides)
      rows |= {
        "segments": segments.plane,
        "kinds": segments.classes,
        "scores": segments.scores,
        "things": jnp.tile(state.buffers["things"], (len(rows["classes"]), 1)),
      }
    return rows

  def classes(
    self, found: Predictions, sides: tuple[int, ...]
  ) -> Int[Array, "b H W"]:
    """The class of each pixel of images with these sides."""

    def of_image(given: tuple[Array, Array]) -> Array:
      logits, masks = given
      large = resized(masks[None], *sides)[0]
      scores = inference.semantic(logits, large)
      return jnp.argmax(scores, axis=-1).astype(jnp.int32)

    # One by one: at the size of an image, the masks of all queries are large.
    return jax.lax.map(of_image, (found.logits[-1], found.masks[-1]))

  def segments(
    self, state: State, found: Predictions, sides: tuple[int, ...]
  ) -> Found:
    """The segments of each image, with a leading b."""
    things = jnp.asarray(state.buffers["things"])

    def of_image(given: tuple[Array, Array]) -> Found:
      logits, masks = given
      large = resized(masks[None], *sides)[0]
      return inference.panoptic(logits, large, things, self.thresholds)

    return jax.lax.map(of_image, (found.logits[-1], found.masks[-1]))

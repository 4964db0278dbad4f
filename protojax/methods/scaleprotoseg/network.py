"""The network: image -> features by scale -> activations -> groups -> logits.

A backbone's map, or several of its levels side by side, goes through ASPP, one
branch for each scale, and a sigmoid. Each pixel of the map is compared with the
prototypes of each scale. A head adds the activations up, or those of groups.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import math
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8

from protojax.backbones.backbone import Backbone
from protojax.layers.sampling import nearest
from protojax.methods.scaleprotoseg import grouping
from protojax.methods.scaleprotoseg.aspp import Aspp
from protojax.prototypes import bank as bank_lib
from protojax.prototypes import similarity
from protojax.prototypes.bank import Bank
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Of other classes in a head at its start.
_OTHERS = -0.5
_LOG = similarity.load("log")
# Features lie in 0..1: products of what is left of them round less.
_CENTRE = 0.5


@struct.dataclass
class Seen:
  """What the network makes of a map of features; jit drops what is ignored.

  Fields are typed as Any for transformations.

  Attributes:
    distances: squared, of each pixel to each prototype, [b h w s k m].
    activations: log similarities, 0 of dead prototypes, [b h w s k m].
    groups: activations of the groups, [b h w k g].
    of_prototypes: logits of the head on prototypes, [b h w k].
    of_groups: logits of the head on groups, [b h w k].
  """

  distances: Any
  activations: Any
  groups: Any
  of_prototypes: Any
  of_groups: Any


@dataclasses.dataclass(frozen=True)
class Network:
  """Backbone, ASPP, prototypes and heads.

  Prototype s k m, the m-th of class k at scale s, is number (s K + k) M + m of
  the bank.

  Attributes:
    backbone: image -> map.
    levels: names of its maps that are taken side by side; () its last one.
    aspp: map -> features of each scale.
    per_class: prototypes of a class at each scale; 0: a linear head reads the
      features, which explains nothing.
    groups: of a class; 0: the head reads prototypes to the end.
    class_names: index = class of a pixel.
    image_size: pixels on a side.
    sizes: shares of the image's size at which it is seen, too; the largest
      value of all counts.
  """

  backbone: Backbone
  levels: tuple[str, ...]
  aspp: Aspp
  per_class: int
  groups: int
  class_names: tuple[str, ...]
  image_size: int
  sizes: tuple[float, ...]

  @property
  def scales(self) -> int:
    """Number of scales that prototypes belong to."""
    return 1 if self.aspp.summed else len(self.aspp.rates)

  @property
  def shape(self) -> tuple[int, int, int]:
    """Scales, classes, and prototypes of each."""
    return self.scales, len(self.class_names), self.per_class

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the pixels of the map."""
    shape = 1, self.image_size, self.image_size, 3
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    state = jax.eval_shape(self.init, jax.random.key(0))
    found = jax.eval_shape(self.embed, state, images)
    return found.shape[1], found.shape[2]

  def init(self, key: Array, blank: bool = False) -> State:
    """A random start.

    Args:
      key: of the randomness.
      blank: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 4)
    backbone = self.backbone.init(keys[0], self.image_size, blank)
    params: dict[str, PyTree] = {"backbone": backbone.pop("params")}
    statistics = {"backbone": backbone}
    image = jnp.zeros((1, self.image_size, self.image_size, 3))
    x, _ = jax.eval_shape(
      lambda p, s: self._map(p, s, image, False), params, statistics
    )
    x = jnp.zeros(x.shape, x.dtype)
    s, k, m = self.shape
    params["aspp"] = self.aspp.init(keys[1], x)["params"]
    if not m:
      shape = s, self.aspp.channels, k
      normal = jax.random.normal(keys[2], shape)
      kernel = normal / math.sqrt(s * self.aspp.channels)
      params["head"] = {"kernel": kernel, "bias": jnp.zeros(k)}
      return State(params, statistics, {})
    params |= {
      "prototypes": bank_lib.bank_params(
        jax.random.uniform(keys[2], (s * k * m, 1, 1, self.aspp.channels))
      ),
      "head": self._heads(keys[3]),
    }
    class_of = jnp.tile(jnp.repeat(jnp.arange(k), m), s)
    buffers = {
      **bank_lib.bank_buffers(class_of),
      "grouped": jnp.zeros((), bool),
    }
    return State(params, statistics, buffers)

  def _heads(self, key: Array) -> dict[str, Array]:
    """Of prototypes [k s k m]; weights of groups [k g n] and their head."""
    s, k, m = self.shape
    own = jnp.eye(k)
    signs = jnp.where(own > 0, 1.0, _OTHERS)
    heads = {"of_prototypes": jnp.tile(signs[:, None, :, None], (1, s, 1, m))}
    if self.groups:
      n = s * m
      bound = n**-0.5
      shape = k, self.groups, n
      drawn = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
      heads["weights"] = grouping.projected(drawn, jnp.ones((k, n), bool))
      heads["of_groups"] = jnp.tile(signs[..., None], (1, 1, self.groups))
    return heads

  # Image -> features.

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[tuple[Float[Array, "b h w s d"], ...], PyTree]:
    """Features 0..1 of the image at each of its sizes, and the statistics.

    The last are those that answers are made of: the largest of all sizes. If
    the image is seen at its own size alone, they are the only ones.

    Args:
      params: of the network.
      statistics: of BatchNorm.
      images: pixels 0..255.
      train: BatchNorm normalises by the batch, and moves.
    """
    maps, statistics = self.maps(params, statistics, images, train)
    return self.of_maps(params, maps), statistics

  def maps(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[tuple[Float[Array, "b _ _ c"], ...], PyTree]:
    """The backbone's map of the image at each of its sizes; see `features`."""
    images = jnp.asarray(images, jnp.float32)
    found = []
    for seen in (images, *(scaled(images, size) for size in self.sizes)):
      x, statistics = self._map(params, statistics, seen, train)
      found.append(x)
    return tuple(found), statistics

  def of_maps(
    self, params: PyTree, maps: Sequence[Float[Array, "b _ _ c"]]
  ) -> tuple[Float[Array, "b _ _ s d"], ...]:
    """Features of the maps of all sizes; see `features`."""
    apply: Any = self.aspp.apply
    found = [apply({"params": params["aspp"]}, x) for x in maps]
    if self.sizes:
      h, w = found[0].shape[1:3]
      whole = (_resized(x, h, w) for x in found)
      found.append(functools.reduce(jnp.maximum, whole))
    return tuple(map(jax.nn.sigmoid, found))

  def _map(
    self, params: PyTree, statistics: PyTree, images: Array, train: bool
  ) -> tuple[Array, PyTree]:
    """The levels side by side, at the size of the first of them."""
    apply: Any = self.backbone.module.apply
    own = statistics["backbone"]
    last, moved = apply(
      {"params": params["backbone"], **own},
      self.backbone.normalise(images),
      train,
      mutable=["intermediates", *(own if train else ())],
    )
    kept = {name: moved[name] for name in own} if train else own
    if self.levels:
      maps = [moved["intermediates"][name][0] for name in self.levels]
      h, w = maps[0].shape[1:3]
      last = jnp.concatenate([_resized(x, h, w) for x in maps], axis=-1)
    return last, {"backbone": kept}

  def embed(
    self,
    state: State,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
  ) -> Float[Array, "b h w s d"]:
    """Features that the prototypes are compared with."""
    found, _ = self.features(state.params, state.statistics, images)
    return found[-1]

  # Features -> logits.

  def see(
    self, params: PyTree, state: State, features: Float[Array, "b h w s d"]
  ) -> Seen:
    """Distances, activations and logits of a map of features.

    Args:
      params: `state.params`, or parameters that a gradient is taken of.
      state: the rest of the model.
      features: of any size of the image.
    """
    alive = self.alive(state)
    distances = self.distances(params, features)
    there = alive[None, None, None]
    activations = jnp.where(there, _LOG.activation(distances), 0)
    head = params["head"]
    logits = jnp.einsum(
      "bhwscm,kscm->bhwk",
      activations,
      head["of_prototypes"],
      precision=jax.lax.Precision.HIGHEST,
    )
    if not self.groups:
      return Seen(distances, activations, None, logits, None)
    groups = grouping.activations(activations, head["weights"], alive)
    of_groups = jnp.einsum(
      "bhwcg,kcg->bhwk",
      groups,
      head["of_groups"],
      precision=jax.lax.Precision.HIGHEST,
    )
    return Seen(distances, activations, groups, logits, of_groups)

  def linear(
    self, params: PyTree, features: Float[Array, "b h w s d"]
  ) -> Float[Array, "b h w k"]:
    """Logits of the linear head, which stands in place of prototypes."""
    head = params["head"]
    logits = jnp.einsum(
      "bhwsd,sdk->bhwk",
      features,
      head["kernel"],
      precision=jax.lax.Precision.HIGHEST,
    )
    return logits + head["bias"][None, None, None]

  def logits(
    self, state: State, features: Float[Array, "b h w s d"]
  ) -> Float[Array, "b h w k"]:
    """Those of the groups, once there are some."""
    if not self.per_class:
      return self.linear(state.params, features)
    seen = self.see(state.params, state, features)
    if seen.of_groups is None:
      return seen.of_prototypes
    grouped = state.buffers["grouped"]
    return jnp.where(grouped, seen.of_groups, seen.of_prototypes)

  def distances(
    self, params: PyTree, features: Float[Array, "b h w s d"]
  ) -> Float[Array, "b h w s k m"]:
    """Squared distances, as products of centred vectors, in float32."""
    z = jnp.asarray(features, jnp.float32) - _CENTRE
    p = self._vectors(bank_lib.vectors(params)) - _CENTRE
    cross = jnp.einsum(
      "bhwsd,skmd->bhwskm", z, p, precision=jax.lax.Precision.HIGHEST
    )
    own = jnp.sum(z**2, axis=-1)[..., None, None]
    others = jnp.sum(p**2, axis=-1)[None, None, None]
    # Clipped: rounding makes it negative where a feature is a prototype.
    return jnp.maximum(own - 2 * cross + others, 0)

  def _vectors(self, vectors: ArrayLike) -> Float[Array, "s k m d"]:
    return jnp.asarray(vectors).reshape((*self.shape, self.aspp.channels))

  def bank(self, state: State) -> Bank:
    """The prototypes, scale by scale and class by class."""
    return bank_lib.bank_of(state)

  def alive(self, state: State) -> Bool[Array, "s k m"]:
    """Which prototypes take part."""
    return jnp.asarray(self.bank(state).alive).reshape(self.shape)

  def vectors(self, state: State) -> Float[Array, "s k m d"]:
    """The prototypes, by scale and class."""
    return self._vectors(self.bank(state).vectors)

  # What is kept between stages, and what commands ask for.

  def rows(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Features of images, and the classes of their pixels if they are known."""
    found = {"features": self.embed(state, batch["image"])}
    if "mask" in batch:
      h, w = found["features"].shape[1:3]
      found["cells"] = nearest(jnp.asarray(batch["mask"]), h, w)
    return found

  @staticmethod
  def embedder(state: State) -> PyTree:
    """All that features depend on."""
    names = "backbone", "aspp"
    return [state.params[name] for name in names], state.statistics

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes" [b H W]: of each pixel of the images."""
    features = self.embed(state, batch["image"])
    return {"classes": self.classes(state, features, batch["image"].shape[1:3])}

  def classes(
    self,
    state: State,
    features: Float[Array, "b h w s d"],
    sides: tuple[int, ...],
  ) -> Int[Array, "b H W"]:
    """The class of each pixel of images with these sides: logits, bilinear."""
    logits = _resized(self.logits(state, features), *sides)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def scaled(
  images: Float[Array, "b H W c"], size: float
) -> Float[Array, "b h w c"]:
  """Images at a share of their size, bilinear, without smoothing.

  As PyTorch's `interpolate` does with a factor: sides are rounded down, and
  places follow from the factor, not from the sides.
  """
  b, height, width, c = images.shape
  factor = jnp.full(2, size, images.dtype)
  return jax.image.scale_and_translate(
    images,
    (b, int(height * size), int(width * size), c),
    (1, 2),
    factor,
    jnp.zeros_like(factor),
    "linear",
    antialias=False,
  )


def _resized(
  maps: Float[Array, "b h w *c"], rows: int, columns: int
) -> Float[Array, "b rows columns *c"]:
  """Bilinear, edges on edges, without smoothing, as PyTorch does."""
  if maps.shape[1:3] == (rows, columns):
    return maps
  shape = len(maps), rows, columns, *maps.shape[3:]
  return jax.image.resize(maps, shape, "linear", antialias=False)

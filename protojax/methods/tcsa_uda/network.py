"""The network: image -> features -> pixel embedding -> logits.

A backbone's map goes through a light decoder, which gives each cell an
embedding; a head of 1 x 1 convolutions gives its logits. Behind an earlier
level of the backbone an auxiliary head may stand, as in DeepLabV2. Prototypes
are mean embeddings of the classes, and take no part in an answer.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8

from protojax.backbones.backbone import Backbone
from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.methods.tcsa_uda import conditioning, relations
from protojax.methods.tcsa_uda.adversary import Discriminator
from protojax.prototypes import bank as bank_lib
from protojax.prototypes.bank import Bank
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Points of training at which the centres' distances are kept.
KEPT = 100


@struct.dataclass
class Seen:
  """What the network makes of images; jit drops what is ignored.

  Fields are typed as Any for transformations.

  Attributes:
    features: of the backbone, [b h w c].
    embedding: of each cell, [b h w d].
    logits: of each cell, [b h w k].
    auxiliary: logits of the auxiliary head, [b i j k]; None without.
  """

  features: Any
  embedding: Any
  logits: Any
  auxiliary: Any


class Decoder(nn.Module):
  """Features -> embedding of each cell.

  Attributes:
    widths: channels of the 3 x 3 convolutions before the last one.
    channels: d, of the last one.
    norm: "batch", or "group".
    rectified: whether a ReLU ends it, as in the authors' code.
  """

  widths: tuple[int, ...]
  channels: int
  norm: str
  rectified: bool

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` normalises by the batch and moves the running averages."""
    every = (*self.widths, self.channels)
    for n, width in enumerate(every, start=1):
      x = Conv(width, 3, name=f"conv_{n}")(x)
      if self.norm == "batch":
        x = BatchNorm(name=f"norm_{n}")(x, train)
      else:
        x = nn.GroupNorm(max(width // 8, 1), name=f"norm_{n}")(x)
      if n < len(every) or self.rectified:
        x = nn.relu(x)
    return x


class Head(nn.Module):
  """Embedding -> logits, by two 1 x 1 convolutions."""

  hidden: int
  classes: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w k"]:
    """The logits of each cell."""
    x = nn.relu(Conv(self.hidden, bias=True, name="hidden")(x))
    return Conv(self.classes, bias=True, name="last")(x)


class Auxiliary(nn.Module):
  """Features of a level -> logits: the sum of dilated convolutions."""

  rates: tuple[int, ...]
  classes: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
    """The logits of each cell."""
    made = [
      Conv(self.classes, 3, dilation=rate, bias=True, name=f"conv_{n}")(x)
      for n, rate in enumerate(self.rates, start=1)
    ]
    return functools.reduce(jnp.add, made)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """Backbone, decoder, heads and adversaries.

  Attributes:
    backbone: image -> map.
    decoder: map -> embedding.
    head: embedding -> logits.
    level: of the backbone, that the auxiliary head reads; '': there is none.
    auxiliary: that head.
    adversary: sees the answers of the head.
    conditioning: makes a convolution of the embedding from words; None: none.
    words: vectors of the classes' texts, [k t]; None without.
    class_names: index = class of a pixel.
    image_size: pixels on a side.
    adversarial: whether there are adversaries.
    apart: whether BatchNorm has averages of each domain. Those of the source
      are in `statistics["source"]`, and those of the target answer.
  """

  backbone: Backbone
  decoder: Decoder
  head: Head
  level: str
  auxiliary: Auxiliary
  adversary: Discriminator
  conditioning: conditioning.Conditioning | None
  words: Any
  class_names: tuple[str, ...]
  image_size: int
  adversarial: bool
  apart: bool = False

  @property
  def classes(self) -> int:
    """k."""
    return len(self.class_names)

  @property
  def channels(self) -> int:
    """d, of the embedding."""
    return self.decoder.channels

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    return self.backbone.grid(self.image_size)

  def init(self, key: Array, blank: bool = False) -> State:
    """A random start.

    Args:
      key: of the randomness.
      blank: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 7)
    backbone = self.backbone.init(keys[0], self.image_size, blank)
    params: dict[str, PyTree] = {"backbone": backbone.pop("params")}
    statistics = {"backbone": backbone}
    rows, columns = self.grid
    x = jnp.zeros((1, rows, columns, self.backbone.channels))
    decoder = dict(self.decoder.init(keys[1], x))
    params["decoder"] = decoder.pop("params")
    statistics["decoder"] = decoder
    v = jnp.zeros((1, rows, columns, self.channels))
    if self.conditioning is not None:
      made = self.conditioning.init(keys[2], v, x, jnp.asarray(self.words))
      params["conditioning"] = made["params"]
      v = jnp.zeros((1, rows, columns, conditioning.CHANNELS))
    params["head"] = self.head.init(keys[3], v)["params"]
    maps = jnp.zeros((1, self.image_size, self.image_size, self.classes))
    if self.level:
      (level,) = self.backbone.chosen((self.level,))
      seen = jnp.zeros((1, rows, columns, level.channels))
      params["auxiliary"] = self.auxiliary.init(keys[4], seen)["params"]
    if self.adversarial:
      params["adversary"] = self._adversary(keys[5], maps)
      if self.level:
        params["auxiliary_adversary"] = self._adversary(keys[6], maps)
    k, d = self.classes, self.channels
    if self.apart:
      statistics["source"] = dict(statistics)
    params["prototypes"] = bank_lib.bank_params(jnp.zeros((k, 1, 1, d)))
    buffers = bank_lib.bank_buffers(jnp.arange(k))
    return State(params, statistics, buffers, memory=self.memory())

  def _adversary(self, key: Array, maps: Array) -> PyTree:
    return dict(self.adversary.init(key, maps))["params"]

  def memory(self) -> dict[str, PyTree]:
    """What training starts with: no mean of any class."""
    k, c = self.classes, self.backbone.channels
    return {
      "source": relations.Memory.empty(k, c)._asdict(),
      "target": relations.Memory.empty(k, c)._asdict(),
      "words": relations.Memory.empty(k, self.channels)._asdict(),
      # Mean square distance of the centres of each class; -1: not known.
      "history": jnp.full((KEPT, k), -1.0),
    }

  def see(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[Seen, PyTree]:
    """Features, embedding and logits of images, and the statistics.

    Args:
      params: of the network.
      statistics: of BatchNorm.
      images: pixels 0..255.
      train: BatchNorm normalises by the batch, and moves.
    """
    apply: Any = self.backbone.module.apply
    own = statistics["backbone"]
    features, moved = apply(
      {"params": params["backbone"], **own},
      self.backbone.normalise(jnp.asarray(images, jnp.float32)),
      train,
      mutable=["intermediates", *(own if train else ())],
    )
    kept = {name: moved[name] for name in own} if train else own
    auxiliary = None
    if self.level:
      level = moved["intermediates"][self.level][0]
      apply = self.auxiliary.apply
      auxiliary = apply({"params": params["auxiliary"]}, level)
    embedding, decoded = self._decoded(params, statistics, features, train)
    logits = self.logits(params, embedding, features)
    found = Seen(features, embedding, logits, auxiliary)
    return found, {"backbone": kept, "decoder": decoded}

  def see_both(
    self,
    params: PyTree,
    statistics: PyTree,
    source: Float[Array, "b H W 3"],
    target: Float[Array, "c H W 3"],
  ) -> tuple[Seen, PyTree]:
    """The source's images, then the target's, as training sees them.

    Args:
      params: of the network.
      statistics: of BatchNorm, which move.
      source: pixels 0..255.
      target: the same.
    """
    if not self.apart:
      both = jnp.concatenate([source, target])
      return self.see(params, statistics, both, True)
    first, own = self.see(params, statistics["source"], source, True)
    second, moved = self.see(params, statistics, target, True)
    seen = jax.tree.map(lambda *x: jnp.concatenate(x), first, second)
    return seen, {**moved, "source": own}

  def of_source(self, state: State) -> State:
    """The state that answers images of the source."""
    if not self.apart:
      return state
    return state.replace(statistics=state.statistics["source"])

  def _decoded(
    self, params: PyTree, statistics: PyTree, features: Array, train: bool
  ) -> tuple[Array, PyTree]:
    apply: Any = self.decoder.apply
    own = statistics["decoder"]
    variables = {"params": params["decoder"], **own}
    if not train:
      return apply(variables, features), own
    embedding, moved = apply(variables, features, True, mutable=list(own))
    return embedding, {name: moved[name] for name in own}

  def logits(
    self,
    params: PyTree,
    embedding: Float[Array, "b h w d"],
    features: Float[Array, "b h w c"],
  ) -> Float[Array, "b h w k"]:
    """Logits of cells; `features` count with text conditioning alone."""
    x = embedding
    if self.conditioning is not None:
      apply: Any = self.conditioning.apply
      words = jnp.asarray(self.words)
      x = apply({"params": params["conditioning"]}, x, features, words)
    of_head: Any = self.head.apply
    return of_head({"params": params["head"]}, x)

  # What commands and explanations ask for.

  def embed(
    self,
    state: State,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
  ) -> Float[Array, "b h w d"]:
    """The embedding of each cell."""
    return self.see(state.params, state.statistics, images)[0].embedding

  def cosines(
    self, state: State, embedding: Float[Array, "b h w d"]
  ) -> Float[Array, "b h w k"]:
    """Cosine of each cell and the shared prototype of each class."""
    p = jnp.asarray(bank_lib.vectors(state.params))[:, 0, 0]
    return jnp.einsum(
      "bhwd,kd->bhwk",
      unit(embedding),
      unit(p),
      precision=jax.lax.Precision.HIGHEST,
    )

  def bank(self, state: State) -> Bank:
    """The shared prototype of each class."""
    return bank_lib.bank_of(state)

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes" [b H W]: of each pixel of the images."""
    found, _ = self.see(state.params, state.statistics, batch["image"])
    sides = batch["image"].shape[1:3]
    return {"classes": classes(found.logits, sides)}


def unit(vectors: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
  """Vectors of length 1; those of 0 stay."""
  squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
  return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def resized(
  maps: Float[Array, "b h w k"], sides: tuple[int, ...]
) -> Float[Array, "b H W k"]:
  """Bilinear, edges on edges."""
  if maps.shape[1:3] == tuple(sides):
    return maps
  shape = len(maps), *sides, maps.shape[-1]
  return jax.image.resize(maps, shape, "linear", antialias=False)


def classes(
  logits: Float[Array, "b h w k"], sides: tuple[int, ...]
) -> Int[Array, "b H W"]:
  """The class of each pixel of images with these sides."""
  found = jnp.argmax(resized(logits, sides), axis=-1)
  return found.astype(jnp.int32)


def nearest(
  planes: Int[ArrayLike, "b H W"], rows: int, columns: int
) -> Int[Array, "b rows columns"]:
  """Classes of the cells: of the pixel in the middle of each."""
  planes = jnp.asarray(planes)
  height, width = planes.shape[1:]
  y = (2 * jnp.arange(rows) + 1) * height // (2 * rows)
  x = (2 * jnp.arange(columns) + 1) * width // (2 * columns)
  return planes[:, y][:, :, x]

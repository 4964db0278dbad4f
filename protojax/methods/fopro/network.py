"""The network of FoPro: image -> vector -> class, projection, reconstruction.

The classifier reads the encoder's vector and alone gives the answer. The
projector brings the vector to the unit sphere where the prototypes are; the
momentum encoder, a slow copy of the encoder, goes through the same projector.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.backbones.backbone import Backbone
from protojax.engine.memory import Queue
from protojax.methods.fopro import relation
from protojax.methods.fopro.moving import Prototypes, unit
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# How a map becomes a vector: the class token or the mean over cells, or the
# products of all pairs of channels (B-CNN).
POOLINGS = ("mean", "bilinear")

_EXACT = jax.lax.Precision.HIGHEST
_ROOT = 1e-5  # below the root of a B-CNN
_BIAS = 0.01  # of a linear layer at the start


class Seen(NamedTuple):
  """What the network says of images.

  Attributes:
    logits: of the classifier, [b k].
    projected: z, unit vectors [b d].
    cosines: s, to the class prototypes, [b k].
    relations: rho, 0..1, [b k].
  """

  logits: Any
  projected: Any
  cosines: Any
  relations: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """Encoder, classifier, projector, reconstructor and relation module.

  Attributes:
    backbone: of the encoder.
    image_size: pixels on a side.
    class_names: index = label.
    pooling: one of `POOLINGS`.
    hidden: units inside projector and reconstructor; 0: they are one layer.
    channels: d, of a projection.
    related: units inside the relation module.
    queue: projections that are remembered.
    temperature: tau.
  """

  backbone: Backbone
  image_size: int
  class_names: tuple[str, ...]
  pooling: str
  hidden: int
  channels: int
  related: int
  queue: int
  temperature: float

  @property
  def groups(self) -> Groups:
    """Prototypes are sorted by class."""
    return Groups(CLASS, self.class_names)

  @functools.cached_property
  def width(self) -> int:
    """Channels of the encoder's vector."""
    init = functools.partial(self.backbone.init, image_size=self.image_size)
    shapes = jax.eval_shape(init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, *[self.image_size] * 2, 3), jnp.uint8)
    found = jax.eval_shape(self.encoded, shapes.pop("params"), shapes, images)
    return found[0].shape[-1]

  def init(self, key: Array, blank_backbone: bool = False) -> State:
    """A random start; the momentum encoder is the encoder.

    Args:
      key: of the randomness.
      blank_backbone: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 7)
    k, d, c = len(self.class_names), self.channels, self.width
    statistics = self.backbone.init(keys[0], self.image_size, blank_backbone)
    backbone = statistics.pop("params")
    forth = (c, self.hidden, d) if self.hidden else (c, d)
    params = {
      "backbone": backbone,
      "classifier": {"kernel": _kernel(keys[1], c, k)},
      "projector": _layers(keys[2], forth),
      "reconstructor": _layers(keys[3], forth[::-1]),
      "auxiliary": {"kernel": _kernel(keys[4], d, k)},
      "relation": relation.init(keys[5], d, self.related),
    }
    random = unit(jax.random.normal(keys[6], (self.queue, d)))
    memory = {
      "encoder": {"params": backbone, "statistics": statistics},
      "queue": Queue(
        random, jnp.ones(self.queue, bool), jnp.zeros((), jnp.int32)
      ),
      "prototypes": Prototypes.empty(k, d, self.temperature),
    }
    # Copied: a step overwrites its inputs, and these would share arrays.
    memory = jax.tree.map(jnp.array, memory)
    return State(params, {"backbone": statistics}, {}, memory)

  # Parts of a forward pass, from parameters that a gradient is taken of.

  def encoded(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Float[Array, "b c"], PyTree]:
    """The encoder's vectors, and the statistics, which training moves.

    Args:
      params, statistics: of the backbone.
      images: pixels 0..255.
      train: BatchNorm normalises by the batch.
    """
    apply: Any = self.backbone.module.apply
    x = self.backbone.normalise(jnp.asarray(images))
    moving = list(statistics) if train else []
    maps, made = apply(
      {"params": params, **statistics},
      x,
      train=train,
      mutable=["intermediates", *moving],
    )
    token = made.get("intermediates", {}).get("class_token")
    statistics = {name: made[name] for name in moving} or statistics
    if self.pooling == "bilinear":
      return bilinear(maps), statistics
    return (token[0] if token else jnp.mean(maps, axis=(1, 2))), statistics

  def projected(
    self, params: PyTree, vectors: ArrayLike
  ) -> Float[Array, "b d"]:
    """z, the projections of vectors, of length 1."""
    return unit(_through(params["projector"], vectors))

  def reconstructed(
    self, params: PyTree, projected: ArrayLike
  ) -> Float[Array, "b c"]:
    """The vectors that projections come from, as far as can be told."""
    return _through(params["reconstructor"], projected)

  # What is said of images after training.

  def seen(self, state: State, images: ArrayLike) -> Seen:
    """A forward pass of the encoder as it stands."""
    vectors, _ = self.encoded(
      state.params["backbone"], state.statistics["backbone"], images
    )
    return self.judged(state, vectors)

  def judged(self, state: State, vectors: ArrayLike) -> Seen:
    """What follows the encoder."""
    z = self.projected(state.params, vectors)
    prototypes = jnp.asarray(state.memory["prototypes"].vectors)
    related = relation.scores(state.params["relation"], z, prototypes)
    return Seen(
      linear(state.params["classifier"], vectors),
      z,
      jnp.matmul(z, prototypes.T, precision=_EXACT),
      jax.nn.sigmoid(related),
    )

  def slow(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Projections of the momentum encoder, by name."""
    encoder = state.memory["encoder"]
    vectors, _ = self.encoded(
      encoder["params"], encoder["statistics"], batch["image"]
    )
    return {"projected": self.projected(state.params, vectors)}

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Rows of `predict`.

    Returns:
      "logits" and "probabilities" of the classifier; "cosines" to the class
      prototypes and "relations", which the answer does not depend on; [b k].
    """
    found = self.seen(state, batch["image"])
    return {
      "logits": found.logits,
      "probabilities": jax.nn.softmax(found.logits),
      "cosines": found.cosines,
      "relations": found.relations,
    }


def linear(params: PyTree, rows: ArrayLike) -> Float[Array, "b o"]:
  """A linear layer, with its bias if it has one."""
  made = jnp.matmul(rows, params["kernel"], precision=_EXACT)
  return made + params["bias"][None] if "bias" in params else made


def bilinear(maps: Float[ArrayLike, "b h w d"]) -> Float[Array, "b c"]:
  """B-CNN: products of channels, mean over cells, root, length 1; c = d**2.

  Lin et al. (ICCV 2015), without the sign: after a ReLU no product is negative.
  """
  b, h, w, d = jnp.shape(maps)
  cells = jnp.reshape(jnp.asarray(maps), (b, h * w, d))
  products = jnp.einsum("bnd,bne->bde", cells, cells) / (h * w)
  return unit(jnp.sqrt(products.reshape(b, d * d) + _ROOT))


def _through(params: PyTree, rows: ArrayLike) -> Float[Array, "b o"]:
  if "first" in params:
    rows = jax.nn.relu(linear(params["first"], rows))
  return linear(params["last"], rows)


def _layers(key: Array, sizes: tuple[int, ...]) -> PyTree:
  names = ("first", "last")[-(len(sizes) - 1) :]
  keys = jax.random.split(key, len(names))
  return {
    name: {"kernel": _kernel(one, i, o), "bias": jnp.full(o, _BIAS)}
    for name, one, i, o in zip(names, keys, sizes, sizes[1:], strict=False)
  }


def _kernel(key: Array, inputs: int, outputs: int) -> Float[Array, "i o"]:
  """Uniform as Kaiming's, as the authors start."""
  bound = (6 / inputs) ** 0.5
  return jax.random.uniform(key, (inputs, outputs), minval=-bound, maxval=bound)

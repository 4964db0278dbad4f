"""The base, what sees its references, and what tells it of them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from protojax.diffusion import drawing, guidance
from protojax.diffusion.guidable import Caption, GuidableDiffusion
from protojax.diffusion.space import Pixels
from protojax.diffusion.transformer import Text
from protojax.methods.vsc.encoder import Lower, Sentence, Upper, prototype
from protojax.methods.vsc.fusion import Fusion
from protojax.types import PyTree, State

# Groups of parameters: of the encoder's stage, and of the last one. "judge" are
# the upper layers as that stage left them, which choose the references.
ENCODER = ("lower", "judge", "sentence")
FUSION = ("upper", "fusion")


class Seen(NamedTuple):
  """The pairs of texts, and what was seen of each.

  Attributes:
    vectors: the prototype of each pair.
    owner: the pair of each token, -1 for none.
    valid: False for padding, and for pairs that are not to be told.
  """

  vectors: Float[Array, "b n v"]
  owner: Int[Array, "b l"]
  valid: Bool[Array, "b n"]


@dataclasses.dataclass(frozen=True, eq=False)
class SearchNetwork:
  """The parts of VSC.

  Attributes:
    model: the base, which is frozen.
    side: pixels on a side of an image.
    channels: of a noisy image.
    lower, upper, sentence: see `encoder`.
    fusion: see `fusion`.
    words: tokens of a text, and channels of their states.
  """

  model: GuidableDiffusion
  side: int
  channels: int
  lower: Lower
  upper: Upper
  sentence: Sentence
  fusion: Fusion
  words: tuple[int, int]

  @property
  def space(self) -> Pixels:
    """Sides and channels of noisy images; images are made by the base."""
    return Pixels(self.side // self.model.stride, self.channels)

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the attention to words."""
    side = self.space.side
    return self.model.grid(side, side, self.model.steered)

  @property
  def cells(self) -> jax.ShapeDtypeStruct:
    """Shape of what the lower layers make of an image."""

    def rows() -> Array:
      images = jnp.zeros((1, self.side, self.side, 3))
      return self.lower.init_with_output(jax.random.key(0), images)[0]

    found = jax.eval_shape(rows)
    return jax.ShapeDtypeStruct(found.shape[1:], found.dtype)

  def init(self, key: Array) -> State:
    """Random weights, and the average of those that the last stage trains."""
    keys = jax.random.split(key, 4)
    length, channels = self.words
    tokens = jnp.zeros((1, length, channels))
    valid = jnp.ones((1, length), bool)
    images = jnp.zeros((1, self.side, self.side, 3))
    below: Any
    below, lower = self.lower.init_with_output(keys[0], images)
    vector, upper = self.upper.init_with_output(keys[1], below)
    vectors: Any = vector
    sentence = self.sentence.init(keys[2], tokens, valid)
    owner, there = jnp.zeros((1, length), jnp.int32), jnp.ones((1, 1), bool)
    fusion = self.fusion.init(keys[3], tokens, vectors[:, None], owner, there)
    params = {
      "lower": lower["params"],
      "judge": upper["params"],
      "upper": upper["params"],
      "sentence": sentence["params"],
      "fusion": fusion["params"],
    }
    average = {name: params[name] for name in FUSION}
    return State(params, {}, {}, {"average": average})

  # The encoder.

  def below(
    self, params: PyTree, images: UInt8[Array, "b H W 3"]
  ) -> Float[Array, "b h w c"]:
    """What the lower layers, which are frozen at last, make of images."""
    call: Any = self.lower.apply
    return call({"params": params["lower"]}, images)

  def vectors(
    self, params: PyTree, below: Float[Array, "... h w c"], group: str = "upper"
  ) -> Float[Array, "... v"]:
    """Phi of images by what the lower layers made of them.

    Args:
      params: groups of parameters.
      below: of the images.
      group: "judge" for phi as it chooses references.
    """
    flat = below.reshape(-1, *below.shape[-3:])
    call: Any = self.upper.apply
    found = call({"params": params[group]}, flat)
    return found.reshape(*below.shape[:-3], -1)

  def said(self, params: PyTree, text: Text) -> Float[Array, "b v"]:
    """Vectors of texts, near those of images that show them."""
    call: Any = self.sentence.apply
    return call({"params": params["sentence"]}, *text)

  def prototypes(
    self,
    params: PyTree,
    below: Float[Array, "... m h w c"],
    weights: Float[Array, "... m"],
  ) -> Float[Array, "... v"]:
    """e_j of each pair by its references; see `encoder.prototype`."""
    return prototype(self.vectors(params, below), weights)

  # The base.

  def fused(self, params: PyTree, text: Text, seen: Seen) -> Text:
    """The text with what was seen of its things."""
    call: Any = self.fusion.apply
    return Text(
      call({"params": params["fusion"]}, text.tokens, *seen), text.valid
    )

  def guided(
    self, base: PyTree, text: Text, null: Caption, weight: float
  ) -> Any:
    """The base's prediction, drawn to a text from one without words.

    Args:
      base: its weights.
      text: fused or not.
      null: the caption of no text; it is never fused.
      weight: of guidance.
    """
    nothing = self.model.read(base, null)

    def network(x: Array, t: Array, given: Any) -> Array:
      return self.model.predict(base, x, t, Text(*given))

    return guidance.guided(network, tuple(text), tuple(nothing), weight)

  def drawn(
    self, base: PyTree, predict: Any, key: Array, index: Array, steps: int
  ) -> UInt8[Array, "b H W 3"]:
    """Images by their numbers; see `drawing.begun`."""
    start = drawing.begun(self.space, key, index)
    x = drawing.sampled(self.model.process, predict, start, steps)
    return self.images(base, x)

  def images(
    self, base: PyTree, x: Float[Array, "b h w c"]
  ) -> UInt8[Array, "b H W 3"]:
    """Images as bytes."""
    found = self.model.decoded(base, x)
    return Pixels(self.side, 3).images({}, found)


def average(state: State) -> PyTree:
  """The averaged weights of what the last stage trains."""
  return state.memory["average"]

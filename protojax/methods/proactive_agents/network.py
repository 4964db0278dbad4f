"""The network: a picture and a question of it -> P(yes), and its vector.

Every thing of the world, and its background and style, is looked for in the
cells of a convolutional network: a softmax over cells gives what it looks like,
where it is, and how surely it is there. A question names one or two of them and
a word ("there", "red", "above"); a small network answers.
"""

import dataclasses
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.agents import scenes
from protojax.agents import world as worlds
from protojax.backbones.convnet import ConvNet
from protojax.types import Array, ArrayLike, PyTree, State

_E, _A, _R, _V = worlds.SIZES
_MEAN, _SCALE = 127.5, 64.0  # of pixels
# Where the words of each kind of question begin; the first one is "there".
_OF_ATTRIBUTES = 1
_OF_WHOLE = _OF_ATTRIBUTES + _A * _V
_OF_RELATIONS = _OF_WHOLE + len(scenes.WHOLE) * _V
WORDS = _OF_RELATIONS + _V


def _parts() -> Int[np.ndarray, "k 3"]:
  """First thing, second thing and word of each cell of the world."""
  things = worlds.NEEDS[worlds.UNKNOWN]
  values = (np.arange(worlds.CELLS) - _E) % _V
  unknown = worlds.UNKNOWN - _E
  word = np.zeros(worlds.CELLS, int)
  own = (unknown >= 0) & (unknown < _E * _A)
  of_whole = own & (things[:, 0] >= _E - len(scenes.WHOLE))
  word[own] = _OF_ATTRIBUTES + (unknown[own] % _A) * _V + values[own]
  first = things[of_whole, 0] - (_E - len(scenes.WHOLE))
  word[of_whole] = _OF_WHOLE + first * _V + values[of_whole]
  related = unknown >= _E * _A
  word[related] = _OF_RELATIONS + values[related]
  return np.column_stack([things, word]).astype(np.int32)


PARTS = _parts()


class Seen(NamedTuple):
  """What was seen of each thing e of a picture.

  Attributes:
    looks: its channels, of the cells where it most likely is.
    place: x and y from -1 to 1.
    sure: logarithm of how much of the picture speaks for it.
    whole: mean channels of all cells.
  """

  looks: Float[Array, "b e d"]
  place: Float[Array, "b e 2"]
  sure: Float[Array, "b e"]
  whole: Float[Array, "b d"]


class Looking(nn.Module):
  """Cells -> what is seen of each thing."""

  @nn.compact
  def __call__(self, cells: Float[Array, "b h w d"]) -> Seen:
    """A thing is looked for by the product of its vector with each cell."""
    _, h, w, d = cells.shape
    flat = cells.reshape(len(cells), h * w, d)
    things = self.param("things", nn.initializers.lecun_normal(), (d, _E))
    found = nn.Dense(d, use_bias=False, name="keys")(flat) @ things
    shares = jax.nn.softmax(found, axis=1)
    y, x = np.meshgrid(
      np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij"
    )
    places = jnp.asarray(np.stack([x.ravel(), y.ravel()], -1), jnp.float32)
    looks = jnp.einsum("bce,bcd->bed", shares, flat)
    place = jnp.einsum("bce,cp->bep", shares, places)
    sure = jax.nn.logsumexp(found, axis=1) - np.log(h * w)
    return Seen(looks, place, sure, jnp.mean(flat, axis=1))


class Answering(nn.Module):
  """What was seen, and questions -> logits of yes."""

  hidden: int

  @nn.compact
  def __call__(
    self, seen: Seen, parts: Int[ArrayLike, "b q 3"]
  ) -> Float[Array, "b q"]:
    """See `PARTS` for the questions."""
    first, second, word = jnp.moveaxis(jnp.asarray(parts), -1, 0)

    def of(x: Array, thing: Array) -> Array:
      return jnp.take_along_axis(x, thing[..., None], axis=1)

    sure = seen.sure[..., None]
    about = [
      of(seen.looks, first),
      of(seen.looks, second),
      of(seen.place, first) - of(seen.place, second),
      of(sure, first),
      of(sure, second),
    ]
    asked = nn.Embed(WORDS, self.hidden, name="words")(word)
    x = nn.Dense(self.hidden, name="about")(jnp.concatenate(about, -1))
    x = nn.relu(jnp.concatenate([x * asked, x + asked], -1))
    x = nn.relu(nn.Dense(self.hidden, name="between")(x))
    return nn.Dense(1, name="answer")(x)[..., 0]


class Encoding(nn.Module):
  """What was seen -> a vector of length 1."""

  hidden: int
  length: int

  @nn.compact
  def __call__(self, seen: Seen) -> Float[Array, "b v"]:
    """Pictures of like facts have like vectors."""
    looks = seen.looks * jax.nn.sigmoid(seen.sure)[..., None]
    parts = [looks.reshape(len(looks), -1), seen.sure, seen.whole]
    parts.append(seen.place.reshape(len(looks), -1))
    x = nn.relu(nn.Dense(self.hidden, name="in")(jnp.concatenate(parts, -1)))
    x = nn.Dense(self.length, name="out")(x)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """All layers.

  Attributes:
    trunk: pixels -> cells.
    answering: their answers.
    encoding: their vectors.
    size: of the pictures, in pixels.
  """

  trunk: ConvNet
  answering: Answering
  encoding: Encoding
  size: int

  def init(self, key: Array) -> tuple[dict[str, PyTree], PyTree]:
    """Random weights, and the running averages."""
    keys = jax.random.split(key, 4)
    image = jnp.zeros((1, self.size, self.size, 3))
    trunk = self.trunk.init(keys[0], image)
    cells: Any = self.trunk.apply(trunk, image)
    looking = Looking().init(keys[1], cells)
    seen: Any = Looking().apply(looking, cells)
    parts = jnp.zeros((1, 1, 3), jnp.int32)
    params = {
      "trunk": trunk["params"],
      "looking": looking["params"],
      "answering": self.answering.init(keys[2], seen, parts)["params"],
      "encoder": self.encoding.init(keys[3], seen)["params"],
    }
    return params, trunk["batch_stats"]

  def seen(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[Seen, PyTree]:
    """What is seen of pictures, and the running averages after them."""
    variables = {"params": params["trunk"], "batch_stats": statistics}
    pixels = (jnp.asarray(images, jnp.float32) - _MEAN) / _SCALE
    call: Any = self.trunk.apply
    if train:
      cells, moved = call(variables, pixels, True, mutable=["batch_stats"])
      statistics = moved["batch_stats"]
    else:
      cells = call(variables, pixels)
    look: Any = Looking().apply
    return look({"params": params["looking"]}, cells), statistics

  def answers(
    self, params: PyTree, seen: Seen, cells: Int[ArrayLike, "b q"]
  ) -> Float[Array, "b q"]:
    """Logits of whether cells of the world are true."""
    call: Any = self.answering.apply
    parts = jnp.asarray(PARTS)[cells]
    return call({"params": params["answering"]}, seen, parts)

  def vectors(self, params: PyTree, seen: Seen) -> Float[Array, "b v"]:
    """Of length 1."""
    call: Any = self.encoding.apply
    return call({"params": params["encoder"]}, seen)

  def all_answers(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> tuple[Float[Array, "b k"], Float[Array, "b v"]]:
    """Logits of all cells, before calibration; and vectors."""
    seen, _ = self.seen(state.params, state.statistics, images)
    every = jnp.broadcast_to(
      jnp.arange(worlds.CELLS), (len(seen.sure), worlds.CELLS)
    )
    return (
      self.answers(state.params, seen, every),
      self.vectors(state.params, seen),
    )

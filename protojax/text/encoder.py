"""What every text encoder gives: words -> vectors of each layer."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import ArrayLike, PyTree, UserError
from protojax.weights import reading
from protojax.weights.naming import Layout, Tensors, convert

# Prompts that go through a tower together.
_AT_ONCE = 64


class Tokens(NamedTuple):
  """Prompts as numbers.

  Attributes:
    ids: rows of the vocabulary, [n l]; 0 for padding.
    valid: False for padding, [n l].
  """

  ids: Int[ArrayLike, "n l"]
  valid: Bool[ArrayLike, "n l"]


class States(NamedTuple):
  """Vectors of n prompts; fields are typed as Any for transformations.

  Attributes:
    tokens: state of each token behind each block, [b n l w].
    pooled: a vector for each prompt behind each block, [b n w]: the state of
      the end of the text, or the mean over its tokens, as the tower was trained
      to be read.
    final: the vector that the tower answers with, [n d].
  """

  tokens: Any
  pooled: Any
  final: Any


@dataclasses.dataclass(frozen=True, eq=False)
class TextEncoder:
  """A tokeniser and a tower.

  Attributes:
    name: of the tower.
    module: Linen module, `module(ids, valid) -> States`.
    tokenize: prompts -> tokens.
    blocks: number of blocks.
    width: w, of a state behind a block.
    channels: d, of the final vector.
    layouts: the foreign checkpoints that `convert` knows.
    pretrained: path of the weights that a package brings along; None without.
  """

  name: str
  module: nn.Module
  tokenize: Callable[[Sequence[str]], Tokens]
  blocks: int
  width: int
  channels: int
  layouts: tuple[Layout, ...] = ()
  pretrained: Callable[[], Any] | None = None

  def init(self, key: jax.Array) -> PyTree:
    """Random parameters."""
    return jax.jit(self.module.init)(key, *_nothing())["params"]

  def shapes(self) -> PyTree:
    """Shapes of the parameters; computes nothing."""
    return jax.eval_shape(self.init, jax.random.key(0))

  def convert(self, tensors: Tensors) -> PyTree:
    """Parameters from the tensors of someone else's checkpoint.

    Raises:
      UserError: lists all tensors that are missing, superfluous or misshapen.
    """
    template = {"params": self.shapes()}
    return convert(tensors, template, self.layouts)["params"]

  def load(self, weights: str = "") -> PyTree:
    """Parameters from a file.

    Args:
      weights: path, or name on the hub (`reading.fetch`); '' takes those that
        come as a package.

    Raises:
      UserError: there are none, or they are of another tower.
    """
    if weights:
      path = reading.fetch(weights)
    elif self.pretrained is not None:
      path = self.pretrained()
    else:
      raise UserError(
        f"the text tower {self.name!r} has no weights of its own; give a file"
        " of them with --config.text.weights=FILE"
      )
    try:
      return self.convert(reading.read(path))
    except UserError as error:
      raise UserError(
        f"{path} is not of the text tower {self.name!r}: {error}"
      ) from error

  def __call__(
    self,
    params: PyTree,
    ids: Int[ArrayLike, "n l"],
    valid: Bool[ArrayLike, "n l"],
  ) -> States:
    """States of tokens; inside jit or out of it."""
    apply: Any = self.module.apply
    return apply({"params": params}, jnp.asarray(ids), jnp.asarray(valid))

  @functools.cached_property
  def _step(self) -> Callable[..., States]:
    return jax.jit(self.__call__)

  def encode(self, params: PyTree, texts: Sequence[str]) -> States:
    """States of texts on the host, a few at a time."""
    tokens, step = self.tokenize(texts), self._step
    found = []
    for begin in range(0, len(texts), _AT_ONCE):
      rows = slice(begin, begin + _AT_ONCE)
      found.append(step(params, tokens.ids[rows], tokens.valid[rows]))
    states = jax.device_get(found)
    return States(
      np.concatenate([x.tokens for x in states], axis=1),
      np.concatenate([x.pooled for x in states], axis=1),
      np.concatenate([x.final for x in states]),
    )


def padded(rows: Sequence[Sequence[int]]) -> Tokens:
  """Rows of unequal length as tokens, padded to the longest."""
  length = max(map(len, rows), default=0)
  ids = np.zeros((len(rows), length), np.int32)
  valid = np.zeros((len(rows), length), np.bool_)
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row
    valid[i, : len(row)] = True
  return Tokens(ids, valid)


def require_length(texts: Sequence[str], rows: Any, most: int) -> None:
  """Refuses a text of too many tokens: its end would be lost.

  Raises:
    UserError: names the first one.
  """
  for text, row in zip(texts, rows, strict=True):
    if len(row) > most:
      raise UserError(
        f"the text {text:.60} has {len(row)} tokens, with those of its ends;"
        f" the tower reads {most} at most: shorten it"
      )


def last(
  states: Float[ArrayLike, "n l w"], valid: Bool[ArrayLike, "n l"]
) -> Float[jax.Array, "n w"]:
  """The state of the last token that is no padding."""
  place = jnp.sum(jnp.asarray(valid), axis=1) - 1
  return jnp.take_along_axis(jnp.asarray(states), place[:, None, None], axis=1)[
    :, 0
  ]


def mean(
  states: Float[ArrayLike, "n l w"], valid: Bool[ArrayLike, "n l"]
) -> Float[jax.Array, "n w"]:
  """The mean over the tokens that are no padding."""
  shares = jnp.asarray(valid, jnp.float32)
  shares = shares / jnp.sum(shares, axis=1, keepdims=True)
  return jnp.sum(jnp.asarray(states) * shares[..., None], axis=1)


def _nothing() -> Tokens:
  return Tokens(jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool))

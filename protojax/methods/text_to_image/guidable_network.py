"""The embedded model as one that can be steered; see `diffusion.guidable`."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key
import numpy as np

from protojax.diffusion.guidable import Caption, Captured
from protojax.diffusion.processes import Process
from protojax.diffusion.transformer import Text
from protojax.methods.text_to_image import captions
from protojax.methods.text_to_image.network import TextNetwork, average
from protojax.shown import shown
from protojax.text import vocabulary
from protojax.text.vocabulary import Vocabulary
from protojax.types import Array, PyTree, State, UserError

_CAPTURES = ("keys", "text_attention")


class GuidableNetwork:
  """A `TextNetwork` and its words; see `guidable.GuidableDiffusion`.

  Its blocks are "block_0", "block_1" and so on. To be steered by are those of
  the second half: early ones still tell places more than things.
  """

  # An image is drawn pixel by pixel, and its sides are those of training.
  stride = 1

  def __init__(self, method: Any) -> None:
    self._method = method

  @functools.cached_property
  def _network(self) -> TextNetwork:
    return self._method.network

  @functools.cached_property
  def _vocabulary(self) -> Vocabulary:
    return self._method.vocabulary

  @property
  def process(self) -> Process:
    """See the protocol."""
    return self._network.process

  @property
  def blocks(self) -> tuple[str, ...]:
    """See the protocol."""
    depth = self._network.transformer.depth
    return tuple(f"block_{i}" for i in range(depth))

  @property
  def steered(self) -> tuple[str, ...]:
    """See the protocol."""
    return self.blocks[len(self.blocks) // 2 :]

  def grid(
    self, height: int, width: int, blocks: Sequence[str]
  ) -> tuple[int, int]:
    """See the protocol."""
    self._numbers(blocks)
    patch = self._network.transformer.patch
    if height % patch or width % patch:
      raise UserError(
        f"images of {height} x {width} do not divide into patches of {patch}"
      )
    return height // patch, width // patch

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """See the protocol."""
    return self.process.times(steps)

  def weights(self, state: State) -> PyTree:
    """The averaged ones."""
    return average(state)

  def caption(self, texts: Sequence[str]) -> Caption:
    """See the protocol."""
    return captions.tokens(texts, self._vocabulary)

  def places(self, text: str, words: str) -> tuple[int, ...]:
    """See the protocol."""
    # Place 0 is that of the beginning.
    there, wanted = vocabulary.split(text), vocabulary.split(words)
    found = [
      start + i + 1
      for start in range(len(there) - len(wanted) + 1)
      if there[start : start + len(wanted)] == wanted
      for i in range(len(wanted))
    ]
    if not found:
      raise UserError(f"{shown(words)} does not stand in {shown(text)}")
    return tuple(found)

  def read(self, weights: PyTree, caption: Caption) -> Text:
    """See the protocol."""
    return self._network.read(weights, caption)

  def encoded(
    self,
    weights: PyTree,
    images: Float[Array, "b H W 3"],
    keys: Key[Array, " b"] | None = None,
  ) -> Float[Array, "b h w c"]:
    """See the protocol; nothing is drawn."""
    del weights, keys
    grey = self._network.space.channels == 1
    return jnp.mean(images, axis=-1, keepdims=True) if grey else images

  def decoded(
    self, weights: PyTree, x: Float[Array, "b h w c"]
  ) -> Float[Array, "b H W 3"]:
    """See the protocol."""
    del weights
    return jnp.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x

  def predict(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
  ) -> Float[Array, "b h w c"]:
    """See the protocol."""
    return self._network.apply(weights, x, t, text)

  def seen(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
    blocks: Sequence[str],
  ) -> tuple[Float[Array, "b h w c"], Captured]:
    """See the protocol."""
    at = np.array(self._numbers(blocks))
    found, kept = self._network.seen(weights, x, t, text, _CAPTURES)
    chosen = jax.tree.map(lambda each: each[at], kept)
    return found, Captured(*(chosen[name] for name in _CAPTURES))

  def _numbers(self, blocks: Sequence[str]) -> list[int]:
    for name in blocks:
      if name not in self.blocks:
        raise UserError(
          f"no block {shown(name)}: this model has {', '.join(self.blocks)}"
        )
    return [self.blocks.index(name) for name in blocks]

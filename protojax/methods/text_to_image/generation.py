"""Draws images from texts; see `diffusion.drawing`."""

from typing import Any

import jax
import jax.numpy as jnp

from protojax.diffusion import drawing, guidance, samplers
from protojax.diffusion.drawing import Draw, Maker
from protojax.diffusion.transformer import Text
from protojax.methods.text_to_image import captions
from protojax.methods.text_to_image.network import TextNetwork, unsaid
from protojax.types import Array, Batch, PyTree, State


def _images(
  net: TextNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  begun = drawing.begun(net.space, given["key"], batch["index"])
  predict, _ = _guided(net, weight, given, batch)
  x = drawing.sampled(net.process, predict, begun, steps)
  return {"images": net.space.images(given["assets"], x)}


def _traced(
  net: TextNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "words"; the steps are DDIM's.

  "words" [count l h w]: by how much each of the h x w tokens of an image looked
  at each of the l words of its text, mean over heads, blocks and steps. The sum
  over words is 1.
  """
  x = drawing.begun(net.space, given["key"], batch["index"]).noise
  predict, text = _guided(net, weight, given, batch)
  times = jnp.asarray(net.process.times(steps))

  def move(carry: tuple, at: tuple) -> tuple[tuple, None]:
    x, words = carry
    start, end = at
    t = jnp.full(len(x), start)
    _, kept = net.seen(given["weights"], x, t, text, ("text_attention",))
    words = words + jnp.mean(kept["text_attention"], axis=0)
    return (samplers.step(net.process, predict, x, start, end), words), None

  cells = net.grid[0] * net.grid[1]
  nothing = jnp.zeros((len(x), cells, text.valid.shape[1]))
  (x, words), _ = jax.lax.scan(move, (x, nothing), (times[:-1], times[1:]))
  words = jnp.moveaxis(words / steps, 2, 1)
  return {
    "images": net.space.images(given["assets"], x),
    "words": words.reshape(*words.shape[:2], *net.grid),
  }


def _guided(
  net: TextNetwork, weight: float, given: PyTree, batch: Batch
) -> tuple[samplers.Predict, Text]:
  """The guided network, and the text that it reads."""
  caption = batch["caption"]
  said = net.read(given["weights"], caption)
  nothing = unsaid(caption, jnp.ones(len(said.valid), bool))
  null = net.read(given["weights"], nothing)

  def network(x: Array, t: Array, text: Any) -> Array:
    return net.apply(given["weights"], x, t, Text(*text))

  return guidance.guided(network, tuple(said), tuple(null), weight), said


class Generator(drawing.Generator):
  """Makes images by text; see `drawing.Generator`.

  "prompt" is a text, or one for each image; without it, images are drawn by the
  captions of test images in turns.
  """

  class_names = ()
  known = ("prompt", "guidance", "steps")
  condition = "text"
  images = _images
  ways = _traced

  def __init__(self, method: Any) -> None:
    self._method = method

  def maker(self, state: State) -> Maker:
    """The averaged weights."""
    return drawing.averaged(self._method, state)

  def asked(self, draw: Draw) -> PyTree:
    """The text of each image as tokens; see `drawing.Generator`."""
    prompt = draw.conditions.get("prompt")
    texts = self.texts(prompt, draw.count, draw.start)
    return {"caption": captions.tokens(texts, self._method.vocabulary)}

  def texts(self, prompt: Any, count: int, start: int = 0) -> list[str]:
    """The text of each image of a draw.

    Args:
      prompt: of all, one for each, or None: captions of test images in turns.
      count, start: see `generate`.

    Raises:
      UserError: there is not one for each image.
    """
    if prompt is None:
      source = self._method.dataset.source("test")
      numbers = range(start, start + count)
      return [source.caption(i % len(source)) for i in numbers]
    return drawing.texts(prompt, count)

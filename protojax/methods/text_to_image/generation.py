"""Draws images from texts; see `diffusion.drawing`."""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax.diffusion import drawing, guidance, samplers
from protojax.diffusion.processes import Flow
from protojax.diffusion.transformer import Text
from protojax.methods.text_to_image import captions
from protojax.methods.text_to_image.network import TextNetwork, average, unsaid
from protojax.types import Array, Batch, PyTree, State, UserError

_KNOWN = ("prompt", "guidance", "steps")


class Generator:
  """Makes images with a method; see `base.Generates`."""

  class_names = ()

  def __init__(self, method: Any) -> None:
    self._method = method

  def generate(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> UInt8[np.ndarray, "count H W 3"]:
    """Images by text; see `base.Generates`.

    "prompt" is a text, or one for each image; without it, images are drawn by
    the captions of test images in turns.
    """
    return self._drawn(_images, state, conditions, key, count, start)["images"]

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[UInt8[np.ndarray, "count H W 3"], Mapping[str, np.ndarray]]:
    """Images, and where each word was looked at.

    Returns:
      The images; and "words" [count l h w], by how much each of the h x w
      tokens of an image looked at each of the l words of its text, mean over
      heads, blocks and steps. The sum over words is 1.
    """
    found = self._drawn(_traced, state, conditions, key, count, start)
    return found.pop("images"), found

  def _drawn(self, function, state, conditions, key, count, start):
    method, net = self._method, self._method.network
    sampler = drawing.numbers(method.config.sample, conditions, _KNOWN, "text")
    texts = self.texts(conditions.get("prompt"), count, start)
    given = {
      "weights": average(state),
      "assets": state.assets,
      "key": np.asarray(jax.random.key_data(key)),
    }
    return drawing.numbered(
      functools.partial(function, net, sampler.steps, sampler.guidance),
      given,
      {"caption": captions.tokens(texts, method.vocabulary)},
      start,
      count,
      method.config.batch_size,
    )

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
    if isinstance(prompt, str):
      return [prompt] * count
    if len(prompt) != count:
      raise UserError(
        f"{len(prompt)} prompts for {count} images: give one for each"
      )
    return list(prompt)


def _images(
  net: TextNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  begun = drawing.begun(net.space, given["key"], batch["index"])
  predict, _ = _guided(net, weight, given, batch)
  times = net.process.times(steps)
  if isinstance(net.process, Flow):
    x = samplers.follow(net.process, predict, begun.noise, times)
  else:
    x = samplers.ancestral(net.process, predict, begun.noise, times, begun.keys)
  return {"images": net.space.images(given["assets"], x)}


def _traced(
  net: TextNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "words"; the steps are DDIM's."""
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

"""Draws images of texts with a Stable Diffusion, by DDIM.

`Generator` is to the command `sample` what a trained method's is: images are
numbered, and each depends on the key, its number and its text alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from protojax.diffusion import drawing, guidance, pixels, samplers
from protojax.diffusion.drawing import Draw, Maker
from protojax.diffusion.stable.base import StableDiffusion
from protojax.diffusion.transformer import Text
from protojax.types import Array, Batch, PyTree, State, UserError

# Where nothing else is asked for, as diffusers' pipeline has it.
_USUAL = {"steps": 50, "guidance": 7.5}


class _Canvas(NamedTuple):
  """What draws, and how many cells high and wide."""

  model: StableDiffusion
  height: int
  width: int


def _images(
  canvas: _Canvas, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  model = canvas.model
  x, said, null = _begun(canvas, given, batch)

  def network(x: Array, t: Array, text: Any) -> Array:
    return model.predict(given["weights"], x, t, Text(*text))

  predict = guidance.guided(network, tuple(said), tuple(null), weight)
  x = samplers.follow(model.process, predict, x, model.times(steps))
  return {"images": pixels.as_bytes(model.decoded(given["weights"], x))}


def _traced(
  canvas: _Canvas, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "words"."""
  model = canvas.model
  x, said, null = _begun(canvas, given, batch)
  count, h, w, _ = x.shape
  grid = model.grid(h, w, model.steered)
  times = jnp.asarray(model.times(steps))
  # Both halves of guidance in one forward, which tells what one looked at.
  both = Text(*map(jnp.concatenate, zip(said, null, strict=True)))

  def move(carry: tuple, at: tuple) -> tuple[tuple, None]:
    x, words = carry
    start, end = at
    found, kept = model.seen(
      given["weights"],
      jnp.concatenate([x, x]),
      jnp.full(2 * count, start),
      both,
      model.steered,
    )
    conditional, other = jnp.split(found, 2)
    found = other + weight * (conditional - other)
    words = words + jnp.mean(kept.words[:, :count], axis=0)
    x = samplers.step(model.process, lambda *_: found, x, start, end)
    return (x, words), None

  tokens = said.valid.shape[1]
  nothing = jnp.zeros((count, grid[0] * grid[1], tokens))
  (x, words), _ = jax.lax.scan(move, (x, nothing), (times[:-1], times[1:]))
  words = jnp.moveaxis(words / steps, 2, 1).reshape(count, tokens, *grid)
  images = pixels.as_bytes(model.decoded(given["weights"], x))
  return {"images": images, "words": words}


def _begun(
  canvas: _Canvas, given: PyTree, batch: Batch
) -> tuple[Array, Text, Text]:
  """Noise, the text of each image, and what stands for none."""
  shape = canvas.height, canvas.width, canvas.model.unet.latent
  noise = drawing.started(shape, given["key"], batch["index"]).noise
  said, null = (
    canvas.model.read(given["weights"], {"tokens": batch[name]})
    for name in ("said", "null")
  )
  return noise, said, null


class Generator(drawing.Generator):
  """Makes numbered images of texts; see `drawing.Generator`.

  "prompt" is a text or one for each image; "guidance" and "steps" are those of
  the sampler. `traced` tells "words" [count w h' w']: by how much each place of
  the blocks to steer by looked at each of the w tokens, mean over heads, these
  blocks and steps. The sum over tokens is 1.

  Attributes:
    class_names: none: images are drawn by texts.
  """

  class_names = ()
  known = ("prompt", "guidance", "steps")
  condition = "text"
  images = _images
  ways = _traced

  def __init__(
    self,
    model: StableDiffusion,
    batch_size: int = 1,
    size: tuple[int, int] | None = None,
  ) -> None:
    """Draws with a model, whose weights are `params` of the state.

    Args:
      model: of `base.load`.
      batch_size: images that are made at once, on all devices.
      size: height and width in pixels; None: those of training.

    Raises:
      UserError: the model has no images of this size.
    """
    self._model, self._size = model, batch_size
    height, width = size or (model.side, model.side)
    by = model.stride
    if height % by or width % by:
      raise UserError(f"size {height}x{width}: give multiples of {by}")
    self._canvas = _Canvas(model, height // by, width // by)

  def texts(
    self, prompt: str | Sequence[str] | None, count: int, start: int = 0
  ) -> list[str]:
    """The text of each image of a draw.

    Raises:
      UserError: there is none, or not one for each image.
    """
    del start
    if prompt is None:
      raise UserError("say what the images show: --prompt=TEXT")
    return drawing.texts(prompt, count)

  def maker(self, state: State) -> Maker:
    """The model; see `drawing.Generator`."""
    given = {"weights": self._model.weights(state)}
    return Maker(self._canvas, ConfigDict(_USUAL), given, self._size)

  def asked(self, draw: Draw) -> PyTree:
    """The text of each image, and none, as tokens; see `drawing.Generator`."""
    count, caption = draw.count, self._model.caption
    texts = self.texts(draw.conditions.get("prompt"), count, draw.start)
    return {
      "said": caption(texts)["tokens"],
      "null": caption([""] * count)["tokens"],
    }

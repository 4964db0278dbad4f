"""Draws images of texts with a Stable Diffusion, by DDIM.

`Generator` is to the command `sample` what a trained method's is: images are
numbered, and each depends on the key, its number and its text alone.
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict
import numpy as np

from protojax.diffusion import drawing, guidance, pixels, samplers
from protojax.diffusion.space import Latents
from protojax.diffusion.stable.base import StableDiffusion
from protojax.diffusion.transformer import Text
from protojax.types import Array, Batch, PyTree, State, UserError

# Where nothing else is asked for, as diffusers' pipeline has it.
_USUAL = {"steps": 50, "guidance": 7.5}


class Generator:
  """Makes numbered images of texts.

  Attributes:
    class_names: none: images are drawn by texts.
  """

  class_names = ()

  def __init__(self, model: StableDiffusion, batch_size: int = 1) -> None:
    """`batch_size` images are made at once, on all devices."""
    self._model, self._size = model, batch_size

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

  def generate(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> UInt8[np.ndarray, "count H W 3"]:
    """The images `start` to `start + count - 1` of a draw.

    Args:
      state: `params` are the weights of `base.load`.
      conditions: "prompt", a text or one for each image; "guidance", "steps".
      key: of the randomness.
      count, start: see above.

    Raises:
      UserError: a condition is unknown or out of range, or a text too long.
    """
    return self._drawn(_images, state, conditions, key, count, start)["images"]

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[
    UInt8[np.ndarray, "count H W 3"], dict[str, Float[np.ndarray, "count ..."]]
  ]:
    """Images as `generate` makes them, and what they looked at.

    Returns:
      The images; and "words" [count w h' w']: by how much each place of the
      blocks to steer by looked at each of the w tokens, mean over heads, these
      blocks and steps. The sum over tokens is 1.
    """
    found = self._drawn(_traced, state, conditions, key, count, start)
    return found.pop("images"), found

  def _drawn(self, function, state, conditions, key, count, start):
    model = self._model
    sampler = drawing.numbers(
      ConfigDict(_USUAL), conditions, ("prompt", "guidance", "steps"), "text"
    )
    texts = self.texts(conditions.get("prompt"), count, start)
    asked = {
      "said": model.caption(texts)["tokens"],
      "null": model.caption([""] * count)["tokens"],
    }
    given = {
      "weights": model.weights(state),
      "key": np.asarray(jax.random.key_data(key)),
    }
    step = functools.partial(function, model, sampler.steps, sampler.guidance)
    return drawing.numbered(step, given, asked, start, count, self._size)


def _images(
  model: StableDiffusion, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  x, said, null = _begun(model, given, batch)

  def network(x: Array, t: Array, text: Any) -> Array:
    return model.predict(given["weights"], x, t, Text(*text))

  predict = guidance.guided(network, tuple(said), tuple(null), weight)
  x = samplers.follow(model.process, predict, x, model.times(steps))
  return {"images": pixels.as_bytes(model.decoded(given["weights"], x))}


def _traced(
  model: StableDiffusion, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "words"."""
  x, said, null = _begun(model, given, batch)
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
  model: StableDiffusion, given: PyTree, batch: Batch
) -> tuple[Array, Text, Text]:
  """Noise, the text of each image, and what stands for none."""
  space = Latents(model.side // model.stride, model.unet.latent)
  noise = drawing.begun(space, given["key"], batch["index"]).noise
  said, null = (
    model.read(given["weights"], {"tokens": batch[name]})
    for name in ("said", "null")
  )
  return noise, said, null

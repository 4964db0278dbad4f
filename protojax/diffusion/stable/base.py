"""Stable Diffusion as a model that can be steered; see `diffusion.guidable`.

  model, weights = base.load("stable-diffusion-v1-5")
  text = model.read(weights, model.caption(["a red cup", ""]))

The folder is one of diffusers' StableDiffusionPipeline: model_index.json, and
the parts unet, vae, text_encoder, tokenizer and scheduler. Nothing is fetched,
and no code in it is run.
"""

from collections.abc import Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float, Key
import numpy as np

from protojax import json_files
from protojax.diffusion import autoencoder_file
from protojax.diffusion.autoencoder import Autoencoder
from protojax.diffusion.guidable import Caption, Captured
from protojax.diffusion.stable import schedule, tower, unet, unet_file
from protojax.diffusion.stable.schedule import Schedule
from protojax.diffusion.stable.tower import Words
from protojax.diffusion.stable.unet import UNet
from protojax.diffusion.transformer import Text
from protojax.shown import shown
from protojax.text.clip import ClipText
from protojax.types import Array, PyTree, State, UserError
from protojax.weights import components

_INDEX = "model_index.json"
_CLASS = "StableDiffusionPipeline"
_GIVE = (
  "give the folder of a Stable Diffusion 1.x or 2.x in safetensors, such as"
  " stable-diffusion-v1-5 or stable-diffusion-2-1"
)
_CAPTURES = ("keys", "text_attention")
# Where DriveGEN steers: a thirty-second of the image's sides.
_STEERED = "up_blocks.1."


@dataclasses.dataclass(frozen=True, eq=False)
class StableDiffusion:
  """The parts of a Stable Diffusion, without weights.

  Weights are {"unet": ..., "autoencoder": ..., "text": ...}, trees of arrays;
  a state has them as `params`.

  Attributes:
    unet: predicts.
    autoencoder: images <-> latents.
    tower: tokens -> states.
    words: texts -> tokens.
    process: what is noise, and what is predicted.
    side: pixels on a side of an image that it was trained on.
  """

  unet: UNet
  autoencoder: Autoencoder
  tower: ClipText
  words: Words
  process: Schedule
  side: int

  @property
  def stride(self) -> int:
    """See the protocol."""
    return self.autoencoder.stride

  @functools.cached_property
  def blocks(self) -> tuple[str, ...]:
    """See the protocol."""
    return unet.blocks(self.unet)

  @property
  def steered(self) -> tuple[str, ...]:
    """Those of diffusers' up_blocks.1."""
    return tuple(name for name in self.blocks if name.startswith(_STEERED))

  def grid(
    self, height: int, width: int, blocks: Sequence[str]
  ) -> tuple[int, int]:
    """See the protocol."""
    self._require(blocks)
    depths = {unet.depth(self.unet, name) for name in blocks}
    if len(depths) != 1:
      raise UserError(
        f"{', '.join(blocks)} are of {len(depths)} grids; take blocks of one"
      )
    # Odd sides are halved upwards.
    by = 2 ** depths.pop()
    return -(-height // by), -(-width // by)

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """See the protocol."""
    return self.process.times(steps)

  def weights(self, state: State) -> PyTree:
    """See the protocol."""
    return state.params

  def caption(self, texts: Sequence[str]) -> Caption:
    """See the protocol; padding counts as the model was trained with it."""
    ids = self.words(texts)
    return {"tokens": ids, "valid": np.ones(ids.shape, bool)}

  def places(self, text: str, words: str) -> tuple[int, ...]:
    """See the protocol."""
    return self.words.places(text, words)

  def read(self, weights: PyTree, caption: Caption) -> Text:
    """See the protocol."""
    ids = jnp.asarray(caption["tokens"])
    return tower.said(self.tower, weights["text"], ids)

  def encoded(
    self,
    weights: PyTree,
    images: Float[Array, "b H W 3"],
    keys: Key[Array, " b"] | None = None,
  ) -> Float[Array, "b h w c"]:
    """See the protocol."""
    call: Any = self.autoencoder.apply
    found = call(weights["autoencoder"], images, method="encode")
    return found.mean if keys is None else found.drawn(keys)

  def decoded(
    self, weights: PyTree, x: Float[Array, "b h w c"]
  ) -> Float[Array, "b H W 3"]:
    """See the protocol."""
    call: Any = self.autoencoder.apply
    return call(weights["autoencoder"], x, method="decode")

  def predict(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
  ) -> Float[Array, "b h w c"]:
    """See the protocol."""
    call: Any = self.unet.apply
    return call({"params": weights["unet"]}, x, t, text.tokens)

  def seen(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
    blocks: Sequence[str],
  ) -> tuple[Float[Array, "b h w c"], Captured]:
    """See the protocol."""
    self._require(blocks)
    call: Any = self.unet.apply
    variables = {"params": weights["unet"]}
    found, kept = call(variables, x, t, text.tokens, mutable=list(_CAPTURES))
    chosen = unet.captured(kept, blocks)
    return found, Captured(*(chosen[name] for name in _CAPTURES))

  def _require(self, blocks: Sequence[str]) -> None:
    for name in blocks:
      if name not in self.blocks:
        raise UserError(
          f"no block {shown(name)}: this model has {', '.join(self.blocks)}"
        )


def load(
  folder: str | Path, dtype: type = jnp.float32, remat: bool = False
) -> tuple[StableDiffusion, PyTree]:
  """The model of a folder, and its weights as NumPy.

  Args:
    folder: see the module.
    dtype: type of computation and of the weights; the autoencoder's are float32
      always, and so are latents, predictions and images.
    remat: see `UNet`.

  Raises:
    UserError: the folder is of another model, or a part of it cannot be read;
      lists what differs.
  """
  folder = Path(folder)
  _require_index(folder)
  net, of_net, channels = unet_file.read(folder / "unet", dtype, remat)
  text, of_text = tower.read(folder / "text_encoder", dtype)
  if channels != text.width:
    raise UserError(
      f"{folder}: unet reads states of {channels} channels, and text_encoder"
      f" gives {text.width}; {_GIVE}"
    )
  path = components.find(folder / "vae", unet_file.NAME)
  coder, of_coder = autoencoder_file.made(components.read(path), path, dtype)
  if coder.latent != net.latent:
    raise UserError(
      f"{folder}: unet has latents of {net.latent} channels, and vae of"
      f" {coder.latent}; {_GIVE}"
    )
  words = tower.read_words(folder / "tokenizer", text.length)
  if max(words.tokenizer.rows.values()) >= text.words:
    raise UserError(
      f"{folder}: tokenizer has numbers up to"
      f" {max(words.tokenizer.rows.values())}, and text_encoder {text.words}"
      f" words; {_GIVE}"
    )
  process = schedule.read(folder / "scheduler" / "scheduler_config.json")
  cells = unet_file.sample_side(folder / "unet" / "config.json")
  model = StableDiffusion(
    net, coder, text, words, process, cells * coder.stride
  )
  weights = {"unet": of_net["params"], "autoencoder": of_coder, "text": of_text}
  return model, weights


def _require_index(folder: Path) -> None:
  if not (folder / _INDEX).exists():
    raise UserError(f"{folder} has no {_INDEX}: {_GIVE}")
  found = json_files.read_json(folder / _INDEX, dict[str, Any])
  name = found.get("_class_name")
  if name != _CLASS:
    raise UserError(f"{folder} is of {name!s:.60}, which is not read: {_GIVE}")

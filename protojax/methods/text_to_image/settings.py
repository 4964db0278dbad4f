"""Checks the config, and makes of it the parts of the method."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.diffusion import settings as diffusion
from protojax.diffusion.space import Pixels
from protojax.diffusion.transformer import DiT
from protojax.methods.text_to_image.network import TextNetwork
from protojax.text.small import SmallTower
from protojax.types import UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  **diffusion.RANGES,
  "process.mean": ranges.Range(-10.0, 10.0),
  "network.unroll": ranges.whole(1, 1_000),
  "network.refine": ranges.whole(0, 8_192),
  "network.variance": ranges.Range(0.0, 1e3),
  "optimizer.warmup": ranges.whole(0, 2**31 - 1),
  "text.length": ranges.whole(2, 10_000),
  "text.words": ranges.whole(1, 10_000_000),
  "text.channels": ranges.CHANNELS,
  "text.blocks": ranges.whole(0, 1_000),
  "text.heads": ranges.COUNT,
}


def require(config: ConfigDict) -> None:
  """Refuses unknown settings, and settings that do not fit together.

  Raises:
    UserError: says which.
  """
  ranges.require(config, RANGES)
  diffusion.require_transformer(config)
  if config.space.channels not in (1, 3):
    raise UserError(
      f"--config.space.channels={config.space.channels}: images have 3"
      " channels, or 1 for grey"
    )
  if config.text.channels % config.text.heads:
    raise UserError(
      f"--config.text.channels={config.text.channels} must be a multiple of"
      f" --config.text.heads={config.text.heads}"
    )


def network(config: ConfigDict, words: int) -> TextNetwork:
  """The layers.

  Args:
    config: of the run.
    words: of the vocabulary.
  """
  n, t = config.network, config.text
  found = diffusion.size(n)
  transformer = DiT(
    channels=found.channels,
    depth=found.depth,
    heads=found.heads,
    patch=n.patch,
    classes=0,
    text=True,
    learn_sigma=False,
    qk_norm=n.qk_norm,
    mlp_ratio=n.ratio,
    dtype=n.dtype,
    remat=n.remat,
    unroll=n.unroll,
    refine=n.refine,
  )
  # One more: where each text begins.
  tower = SmallTower(words + 1, t.length, t.channels, t.blocks, t.heads)
  space = Pixels(config.data.image_size, config.space.channels)
  return TextNetwork(
    transformer, tower, diffusion.process(config), space, n.variance
  )

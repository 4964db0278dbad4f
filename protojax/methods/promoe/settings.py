"""Checks the config of ProMoE, and makes of it the parts of the method."""

import functools
from typing import Any, NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from protojax import parallel, ranges
from protojax.diffusion import settings as diffusion
from protojax.diffusion.transformer import DiT, FeedForward
from protojax.methods.promoe import experts, routing
from protojax.methods.promoe.mixture import Mixture
from protojax.methods.promoe.routing import Rule
from protojax.types import UserError

SPACES = ("pixels", "latents")


class Routing(NamedTuple):
  """What one value of `config.moe.routing` stands for.

  Attributes:
    router: see `routing.Rule`; '' for dense layers.
    conditional: whether null samples have an expert of their own.
    contrast: whether the contrastive loss is taken.
    balance: weight of the balance loss, where the config says none.
    choice: who chooses.
    shared: whether there is a shared expert.
    activation: gate of the paper that it is from; '': the config's.
  """

  router: str
  conditional: bool = True
  contrast: bool = False
  balance: float = 0.0
  choice: str = ""
  shared: bool = True
  activation: str = ""


# ProMoE, the rows of its ablation, and what it is compared with (section 7).
ROUTINGS = {
  "promoe": Routing("prototypes", contrast=True),
  "contrastive": Routing("prototypes", False, contrast=True),
  "prototypical": Routing("prototypes", False),
  "dense": Routing(""),
  "token_choice": Routing(
    "linear", False, False, 0.01, "token", False, "softmax"
  ),
  "expert_choice": Routing(
    "linear", False, False, 0.0, "expert", False, "softmax"
  ),
  "kmeans": Routing("kmeans", False),
  "kmeans_conditional": Routing("kmeans"),
  "classes": Routing("classes"),
}

# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  **diffusion.RANGES,
  "moe.experts": ranges.COUNT,
  "moe.top_k": ranges.COUNT,
  "moe.every": ranges.whole(1, 100),
  "moe.temperature": ranges.Range(0.0, 100.0, above=True),
  "moe.room": ranges.Range(0.0, 1e4, above=True),
  "loss.contrast": ranges.WEIGHT,
  # Below 0: that of the routing.
  "loss.balance": ranges.Range(-1.0, 1e6),
  "optimizer.centroids": ranges.SHARE,
  # From the last mixture backwards below 0.
  "explanation.layer": ranges.whole(-1_000, 1_000),
  "explanation.time": ranges.Range(0.0, 1000.0),
}


def require(config: ConfigDict) -> None:
  """Refuses unknown settings, and settings that do not fit together.

  Raises:
    UserError: says which.
  """
  ranges.require(config, RANGES)
  for key, known in (
    ("moe.routing", tuple(ROUTINGS)),
    ("moe.choice", routing.CHOICES),
    ("moe.activation", routing.ACTIVATIONS),
    ("moe.strategy", experts.STRATEGIES),
    ("space.kind", SPACES),
  ):
    diffusion.require_choice(config, key, known)
  diffusion.require_transformer(config)
  m = config.moe
  if m.top_k > m.experts:
    raise UserError(
      f"--config.moe.top_k={m.top_k} is more than --config.moe.experts="
      f"{m.experts}: a token goes to different experts"
    )
  depth = diffusion.size(config.network).depth
  if depth % m.every:
    raise UserError(
      f"--config.network.depth={depth} does not divide by --config.moe.every="
      f"{m.every}: blocks come in groups of so many"
    )
  _require_space(config)
  _require_mixtures(config)
  _require_shards(config)


def _require_space(config: ConfigDict) -> None:
  s, data = config.space, config.data.name
  if s.kind == "pixels" and s.channels not in (1, 3):
    raise UserError(
      f"--config.space.channels={s.channels}: images have 3 channels, or 1 for"
      " grey"
    )
  if (s.kind == "latents") != (data == "latents"):
    raise UserError(
      f"--config.space.kind={s.kind} does not go with --config.data.name="
      f"{data}: prepared latents have the kind latents, and images pixels"
    )


def _require_mixtures(config: ConfigDict) -> None:
  m, n, layer = config.moe, config.network, config.explanation.layer
  channels, depth, _ = diffusion.size(n)
  units = int(channels * n.ratio)
  if units < m.top_k + 1:
    raise UserError(
      f"--config.network.ratio={n.ratio:g} leaves {units} units for the"
      f" {m.top_k + 1} experts of a token: take a larger one"
    )
  layers = depth // m.every
  if not -layers <= layer < layers:
    raise UserError(
      f"--config.explanation.layer={layer}: the network has {layers} mixtures,"
      f" 0 to {layers - 1}, or from the last one -1 to {-layers}"
    )


def _require_shards(config: ConfigDict) -> None:
  if config.moe.strategy != "capacity" or not chosen(config).router:
    return
  count, devices = rule(config, 1).count, parallel.device_count()
  if count % devices:
    raise UserError(
      f"--config.moe.strategy=capacity spreads {count} experts (with the"
      f" unconditional one) over {devices} devices, which does not divide: set"
      f" --config.moe.experts={config.moe.experts + devices - count % devices},"
      " or another strategy"
    )


def chosen(config: ConfigDict) -> Routing:
  """What the config's routing stands for."""
  return ROUTINGS[config.moe.routing]


def rule(config: ConfigDict, classes: int) -> Rule:
  """How tokens are routed.

  All routings have as many parameters: one without an unconditional expert has
  a routed one more, and one without a shared expert has half as many of twice
  the width.
  """
  m, found = config.moe, chosen(config)
  count = m.experts + (not found.conditional)
  if not found.shared:
    count = max((count + 1) // 2, m.top_k)
  return Rule(
    count,
    found.router,
    found.choice or m.choice,
    found.activation or m.activation,
    m.top_k,
    found.conditional,
    classes,
  )


def network(config: ConfigDict, classes: int, shards: int = 1) -> DiT:
  """The transformer, with a mixture in the last block of each group.

  Args:
    config: of the run.
    classes: number of classes.
    shards: devices that experts are spread over; 1: each has all of them.
  """
  n, m = config.network, config.moe
  channels, depth, heads = diffusion.size(n)
  dense = functools.partial(FeedForward, n.ratio, n.dtype)
  feed_forwards: tuple[Any, ...] = (dense,) * m.every
  if chosen(config).router:
    made = functools.partial(_mixture, config, classes, shards)
    feed_forwards = (*feed_forwards[:-1], made)
  return DiT(
    channels=channels,
    depth=depth,
    heads=heads,
    patch=n.patch,
    classes=classes,
    learn_sigma=n.learn_sigma,
    qk_norm=n.qk_norm,
    mlp_ratio=n.ratio,
    feed_forwards=feed_forwards,
    dtype=n.dtype,
    remat=n.remat,
  )


def _mixture(config: ConfigDict, classes: int, shards: int) -> nn.Module:
  m, found, n = config.moe, chosen(config), config.network
  channels, _, _ = diffusion.size(n)
  width = int(channels * n.ratio) // (m.top_k + found.shared)
  spread = m.strategy == "capacity"
  return Mixture(
    rule(config, classes),
    width,
    width if found.shared else 0,
    m.temperature,
    "buckets" if spread and shards == 1 else m.strategy,
    m.room,
    shards,
    n.dtype,
  )

"""TCSA-UDA: classes of pixels for a scanner that nobody has labelled.

Maurya et al. (2511.05782), after its abstract, a digest and what its authors'
repository shows. Its method section was not available to us: the losses are
ours where docs/tcsa_uda.md says so.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from protojax import backbones
from protojax.backbones import unet
from protojax.data import stream as stream_lib
from protojax.engine.optimizer import grouped
from protojax.engine.stage import Fit, Pass, steps
from protojax.explain import volume_answers
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.tcsa_uda import (
  explanation,
  judging,
  settings,
  shared,
  target,
  words,
)
from protojax.methods.tcsa_uda.adversary import Discriminator
from protojax.methods.tcsa_uda.conditioning import Conditioning
from protojax.methods.tcsa_uda.network import Auxiliary, Decoder, Head, Network
from protojax.methods.tcsa_uda.objective import Objective
from protojax.methods.tcsa_uda.words import Words
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, State


class Method:
  """TCSA-UDA as its config says; see `configs/tcsa_uda_folder.py`."""

  assets = NO_ASSETS
  capabilities = Capabilities(
    segments=explanation.Explainer, explains=explanation.Explainer
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    held = config.data.validation_fraction
    self.splits = splits(held, config.adapt.patience)
    self.dataset = image_data.dataset(config, class_names)
    self.target = target.dataset(config, self.dataset, class_names)

  @functools.cached_property
  def words(self) -> Words:
    """Relations and vectors of the classes' words."""
    c = self.config
    names = self.dataset.class_names
    return words.of_config(c.text, names, c.relations.mode, c.data)

  @functools.cached_property
  def network(self) -> Network:
    """Backbone, decoder, heads and adversaries."""
    c, b = self.config, self.config.backbone
    names = self.dataset.class_names
    backbone = backbones.load(b.name, b.dtype, b.remat)
    if b.widths:
      backbone = unet.made(tuple(b.widths), c.decoder.norm)
    conditioned = c.text.conditioning
    return Network(
      backbone,
      Decoder(
        tuple(c.decoder.widths),
        c.decoder.channels,
        c.decoder.norm,
        c.decoder.rectified,
      ),
      Head(c.head.hidden, len(names)),
      c.auxiliary.level,
      Auxiliary(tuple(c.auxiliary.rates), len(names)),
      Discriminator(c.adversary.width, c.adversary.layers),
      Conditioning() if conditioned else None,
      self.words.vectors if conditioned else None,
      names,
      c.data.image_size,
      bool(c.adversary.weight),
      c.backbone.norm_by_domain,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """Images of a split in source order; the test split is the target's."""
    if split == "test":
      return self.target.ordered(split)
    return self.dataset.ordered(split)

  def init(self, key: Array) -> State:
    """A random start."""
    b = self.config.backbone
    return self.network.init(key, bool(b.pretrained or b.weights))

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; answers alike; relations and centres alike; prototypes."""
    c, train = self.config, self.stream("train")
    yield Pass("start", self.start, train)
    if c.warm.steps:
      yield self._fit("warm", c.warm.steps, 0, adapts=False)
    if c.adapt.steps:
      yield self._fit("adapt", c.adapt.steps, c.adapt.patience, adapts=True)
    yield Pass("prototypes", self.share, train)

  def _fit(self, name: str, count: int, patience: int, adapts: bool) -> Fit:
    c = self.config
    streams = {
      "source": self.dataset.shuffled(c.data.augment),
      "target": self.target.shuffled(c.data.augment, order="target"),
    }
    loss = Objective(self.network, c, self.words.relations, adapts)
    return Fit(
      name,
      loss,
      streams,
      grouped(self._rules()),
      steps(count),
      optimizer_id="both",
      patience=patience,
      monitor=("dice", "max"),
    )

  def _rules(self) -> dict[str, optax.GradientTransformation]:
    """An optimiser for each group; one kind for all of the segmentation."""
    o, network = self.config.optimizer, self.network
    names = ["backbone", "decoder", "head"]
    names += ["auxiliary"] if network.level else []
    names += ["conditioning"] if network.conditioning is not None else []
    rules = {
      name: self._rule(o.rate * (1 if name == "backbone" else o.others))
      for name in names
    }
    if network.adversarial:
      rate = self._falling(o.adversary)
      rules["adversary"] = optax.adam(rate, b1=0.9, b2=0.99)
      if network.level:
        rules["auxiliary_adversary"] = optax.adam(rate, b1=0.9, b2=0.99)
    return rules

  def _rule(self, rate: float) -> optax.GradientTransformation:
    o, falling = self.config.optimizer, self._falling(rate)
    if o.kind == "adamw":
      return optax.adamw(falling, weight_decay=o.weight_decay)
    decay = optax.add_decayed_weights(o.weight_decay)
    return optax.chain(decay, optax.sgd(falling, momentum=0.9))

  def _falling(self, rate: float) -> optax.Schedule:
    """rate (1 - step / all)^power, over both stages."""
    c = self.config
    total = max(c.warm.steps + c.adapt.steps, 1)

    # Any: Optax's type of a count includes complex numbers.
    def rate_at(step: Any) -> Any:
      # Clipped: rounding makes it negative at the end, and the power nan.
      return rate * jnp.maximum(1 - step / total, 0) ** c.optimizer.power

    return rate_at

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights; both domains have the same classes."""
    b = self.config.backbone
    target.require_classes(data.source, self.target.source("test"))
    if (b.pretrained or b.weights) and not self.config.init_from:
      state = start.pretrained(state, self.network.backbone, b.name, b.weights)
      if self.network.apart:
        both = {k: state.statistics[k] for k in ("backbone", "decoder")}
        state = state.replace(statistics={**both, "source": both})
    return state, {}

  def share(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Prototypes that both domains share."""
    adapted = self.target.ordered("train")
    return shared.prototypes(self.network, state, data, adapted)

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes": that of each pixel."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """IoU and Dice of pixels; see `judging.measure`."""
    if split != "test":
      state = self.network.of_source(state)
    return judging.measure(self.network, state, self.stream(split))

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, those of the source, and those of whole volumes."""
    test = self.stream("test")
    source = self.dataset.ordered("test")
    return {
      "headline": "dice",
      **stages[-1]["metrics"],
      "by_stage": {s["id"]: dict(s["metrics"]) for s in stages},
      "source": dict(
        judging.measure(self.network, self.network.of_source(state), source)
      ),
      **judging.of_centres(state),
      **judging.of_relations(self.network, state, test, self.words.relations),
      **volume_answers.scores(
        self.network.answers, self.network.class_names, state, test
      ),
    }

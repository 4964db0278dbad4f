"""A small diffusion model that draws what a text says.

A transformer (DiT, Peebles & Xie 2023) whose blocks look at the words of a
caption (as in PixArt, Chen et al. 2024), which a tower of two blocks reads.
Both are trained from the start on images with captions. It has no prototypes:
other methods steer it by theirs, and read its attention to each word.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.diffusion import held_out, processes
from protojax.engine import memory
from protojax.engine.optimizer import grouped, scheduled
from protojax.engine.stage import Fit, steps
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.text_to_image import captions, settings
from protojax.methods.text_to_image.generation import Generator
from protojax.methods.text_to_image.guidable_network import GuidableNetwork
from protojax.methods.text_to_image.network import TextNetwork, average, unsaid
from protojax.text.vocabulary import Vocabulary
from protojax.types import Array, Batch, Metrics, PyTree, State

# Sums over examples and times that metrics are made of.
_TOTALS = ("loss", "target")


class Method:
  """A text-to-image model; see `configs/text_to_image_scenes.py`."""

  capabilities = Capabilities(generates=Generator, guidable=GuidableNetwork)
  assets = NO_ASSETS

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, patience=0)
    self.dataset = captions.CaptionedDataset(config, class_names)

  @functools.cached_property
  def vocabulary(self) -> Vocabulary:
    """The words that the model knows."""
    return Vocabulary(self.dataset.class_names, self.config.text.length)

  @functools.cached_property
  def network(self) -> TextNetwork:
    """The layers."""
    return settings.network(self.config, len(self.vocabulary.words))

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, with their captions."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key)

  def stages(self) -> Iterator[Fit]:
    """One stage of gradient descent."""
    c, o = self.config, self.config.optimizer
    rate = scheduled(o, c.steps)
    rule = optax.adamw(rate, weight_decay=o.weight_decay)
    yield Fit(
      "train",
      self.loss,
      self.dataset.shuffled(c.data.augment),
      grouped({"network": rule, "text": rule}, o.clip_norm),
      steps(c.steps),
      after_step=self.follow,
    )

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """The squared error of the prediction; some captions are left out."""
    del state
    net = self.network
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    for_drop, for_noise = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    drawn = processes.noised(net.process, net.space.clean(batch), for_noise)
    drop = jax.vmap(jax.random.uniform)(for_drop) < self.config.drop
    text = net.read(params, unsaid(batch["caption"], drop))
    found = net.apply(params, drawn.x, drawn.t, text)
    error = processes.squared_error(found, drawn.target)
    return {"diffusion": Term(jnp.sum(error), len(error))}, Aux()

  def follow(self, state: State) -> State:
    """The averaged weights follow."""
    decay = self.config.optimizer.average
    moved = memory.ema(average(state), state.params, decay)
    return state.replace(memory={**state.memory, "average": moved})

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Of the averaged weights, means over the fixed grid of times.

    "loss" [b], and "target" [b], the mean square of what is to be predicted.
    """
    net, weights = self.network, average(state)
    text = net.read(weights, batch["caption"])

    def at(number: Array, t: Array) -> dict[str, Array]:
      given = processes.fixed(
        net.process, net.space.clean(batch), batch["index"], t, number
      )
      found = net.apply(weights, given.x, given.t, text)
      error = processes.squared_error(found, given.target)
      return {
        "loss": error,
        "target": jnp.mean(given.target**2, axis=(1, 2, 3)),
      }

    return held_out.means(net.process, self.config.evaluation.times, at)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Loss and gain of the averaged weights; see `held_out.metrics`."""
    batches = self.stream(split).batches()
    total = parallel.summed(self.predict, state, batches, _TOTALS)
    return held_out.metrics(total)

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Loss and gain, and the words."""
    del state
    return {
      "headline": "gain",
      **stages[-1]["metrics"],
      "class_names": list(self.vocabulary.words),
    }

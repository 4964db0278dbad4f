"""VSC: visual search for text-to-image diffusion.

Dat, Nam, Mao & Oh, ICCV 2025 (2505.01104). A text with several things is
divided into its pairs of attributes and noun. Each is drawn alone by the base,
which is frozen, and what an image encoder sees there, a visual prototype, is
fused into the words of the pair before the whole is drawn. Fusion and the upper
layers of the encoder are trained on images with masks, so that the words look
at their things. No code of the authors was found: equations are from a
third-party note, and what it does not say is ours; docs/vsc.md lists it.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.datasets.dataset import Dataset
from protojax.datasets.stand_in import StandIn
from protojax.diffusion import held_out, pixels, processes
from protojax.diffusion.drawing import Numbers
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.diffusion.processes import Noised
from protojax.diffusion.transformer import Text
from protojax.engine import memory
from protojax.engine.assets import Asset
from protojax.engine.optimizer import grouped, scheduled
from protojax.engine.stage import Fit, Pass, steps
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.methods.base import Capabilities, needed, splits
from protojax.methods.vsc import (
  encoder,
  fusion,
  localisation,
  pairing,
  settings,
)
from protojax.methods.vsc import network as network_lib
from protojax.methods.vsc import references as references_lib
from protojax.methods.vsc.base import Base
from protojax.methods.vsc.explanation import EXPLAINER
from protojax.methods.vsc.generation import Generator
from protojax.methods.vsc.network import SearchNetwork, Seen, average
from protojax.methods.vsc.pairing import Paired, Placed
from protojax.methods.vsc.references import References
from protojax.text.vocabulary import Vocabulary
from protojax.types import Array, Batch, Metrics, PyTree, State

# Sums over examples and times that metrics are made of.
_TOTALS = ("loss", "target", "localisation")


class Method:
  """VSC as its config says; see `configs/vsc_scenes.py`."""

  capabilities = Capabilities(explains=EXPLAINER, generates=Generator)

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, patience=0)
    self._base = Base(config, class_names)
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names, self._opened
    )

  def _opened(self, data: Any, split: str, seed: int) -> Paired:
    del data, seed
    captioned = self._base.method.dataset
    captioned.stand_in = self.dataset.stand_in
    plain = captioned.source(split)
    c = self.config
    if c.localisation.weight:
      pairing.require_masks(plain)
    return Paired(plain, self.model, c.text.length, c.pairs.most, self.sayings)

  @functools.cached_property
  def sayings(self) -> Mapping[str, int]:
    """All things with attributes that captions say, numbered.

    To plan a run without its data, as many are taken as a run draws at most.
    """
    plain = self._base.method.dataset
    sources = [plain.source(split) for split in self.splits]
    most = self.config.references.most
    if any(isinstance(source.plain, StandIn) for source in sources):
      return {f"thing {k}": k for k in range(most)}
    return pairing.sayings(sources, most)

  @property
  def model(self) -> GuidableDiffusion:
    """The base, as it is steered."""
    return self._base.model

  @property
  def vocabulary(self) -> Vocabulary:
    """The words that the base knows."""
    return self._base.method.vocabulary

  @property
  def base_generates(self) -> Any:
    """What draws without any of this."""
    return needed(self._base.method, "generates")

  @functools.cached_property
  def network(self) -> SearchNetwork:
    """The parts."""
    return settings.network(self.config, self.model)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The base's weights, and references, which a stage draws."""
    r = self.config.references
    shapes = functools.partial(
      references_lib.shapes, self.network, r.most, r.count
    )
    return {"base": self._base.asset, "references": Asset(None, shapes)}

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, with captions and pairs."""
    return self.dataset.ordered(split)

  def placed(self, text: str) -> Placed:
    """The pairs of a text; see `pairing.placed`."""
    c = self.config
    return pairing.placed(self.model.places, text, c.text.length, c.pairs.most)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key)

  def stages(self) -> Iterator[Fit | Pass]:
    """Encoder; references; fusion."""
    c, o = self.config, self.config.optimizer
    data = self.dataset.shuffled(c.data.augment)
    yield Fit(
      "encoder",
      self.contrast,
      data,
      grouped(dict.fromkeys(network_lib.ENCODER, c.encoder.rate), o.clip_norm),
      steps(c.encoder.steps),
    )
    yield Pass("references", self.search, tuple(self.sayings))
    rate = scheduled(o, c.steps)
    rule = optax.adamw(rate, weight_decay=o.weight_decay)
    trained = network_lib.FUSION if c.encoder.trained else ("fusion",)
    yield Fit(
      "fusion",
      self.loss,
      data,
      grouped(dict.fromkeys(trained, rule), o.clip_norm),
      steps(c.steps),
      after_step=self.follow,
    )

  def contrast(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Images and their captions come near one another."""
    del now
    net = self.network
    text = self.model.read(state.assets["base"], batch["caption"])
    below = net.below(params, batch["image"])
    images, texts = parallel.gather(
      (net.vectors(params, below, "judge"), net.said(params, text))
    )
    value = encoder.contrast(images, texts, self.config.encoder.temperature)
    return {"contrast": of_whole_batch(value)}, Aux()

  def search(
    self, state: State, said: Sequence[str]
  ) -> tuple[State, Metrics, PyTree]:
    """Draws all things alone; the upper layers go on from the judge's."""
    r, metrics = self.config.references, {"things": float(len(said))}
    if r.told == "none":
      # Nobody looks at them.
      shapes = references_lib.shapes(self.network, r.most, r.count)
      kept = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    else:
      key = parallel.key(self.config.seed)
      found = self.references(state, said, np.asarray(jax.random.key_data(key)))
      kept = references_lib.of_run(found, r.most)
      best = np.sum(found.weights * found.scores, axis=1)
      metrics["score"] = float(best.mean())
    params = {**state.params, "upper": state.params["judge"]}
    now = {**average(state), "upper": state.params["judge"]}
    state = state.replace(
      params=params, memory={**state.memory, "average": now}
    )
    return state, metrics, {"references": kept}

  def references(
    self, state: State, said: Sequence[str], key: np.ndarray
  ) -> References:
    """Draws things alone; see `references.draw`.

    Args:
      state: of the method.
      said: texts of the things.
      key: data of the key of the draw.
    """
    r = self.config.references
    given = {
      "base": state.assets["base"],
      "params": {name: state.params[name] for name in network_lib.ENCODER},
      "key": key,
    }
    return references_lib.draw(
      self.network,
      given,
      said,
      r.count,
      r.keep,
      Numbers(r.steps, r.guidance),
      self.config.batch_size,
    )

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """L = L_noise + lambda L_loc; some texts are told nothing."""
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    for_drop, for_noise = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    told = jax.vmap(jax.random.uniform)(for_drop) >= self.config.drop
    clean = self._clean(state, batch)
    drawn = processes.noised(self.model.process, clean, for_noise)
    text = self._told(params, state, batch, told)
    error, found = self._compared(state, batch, drawn, text)
    terms = {"diffusion": Term(jnp.sum(error), len(error))}
    if weight := self.config.localisation.weight:
      terms["localisation"] = Term(jnp.sum(found), len(found), weight)
    return terms, Aux()

  def _clean(self, state: State, batch: Batch) -> Array:
    return self.model.encoded(
      state.assets["base"], pixels.signed(batch["image"])
    )

  def _told(
    self, params: PyTree, state: State, batch: Batch, told: Array
  ) -> Text:
    """Captions with the prototypes of their pairs, where `told` says so."""
    net, told_of = self.network, self.config.references.told
    said = batch["said"]
    kept = jax.tree.map(
      lambda x: jnp.asarray(x)[said["tokens"]], state.assets["references"]
    )
    vectors = net.prototypes(params, kept["below"], kept["weights"])
    if told_of == "none":
      vectors = jnp.zeros_like(vectors)
    elif told_of == "others":
      vectors = fusion.of_others(vectors, said["valid"])
    text = self.model.read(state.assets["base"], batch["caption"])
    seen = Seen(vectors, _owner(batch), said["valid"] & told[:, None])
    return net.fused(params, text, seen)

  def _compared(
    self, state: State, batch: Batch, drawn: Noised, text: Text
  ) -> tuple[Array, Array]:
    """The squared error and L_loc of each example."""
    model, net = self.model, self.network
    found, kept = model.seen(
      state.assets["base"], drawn.x, drawn.t, text, model.steered
    )
    error = processes.squared_error(found, drawn.target)
    if "things" not in batch:
      return error, jnp.zeros_like(error)
    valid, things = batch["said"]["valid"], batch["things"]
    count = valid.shape[1]
    there = _fitted(things["valid"], count) & valid
    maps = localisation.maps(
      jnp.mean(kept.words, axis=0),
      _owner(batch),
      batch["noun"]["tokens"] > 0,
      count,
    )
    masks = localisation.covered(_fitted(things["masks"], count), net.grid)
    by_area = self.config.localisation.by_area
    return error, localisation.loss(maps, masks, there, by_area)

  def follow(self, state: State) -> State:
    """The averaged weights follow."""
    now = {name: state.params[name] for name in network_lib.FUSION}
    decay = self.config.optimizer.average
    moved = memory.ema(average(state), now, decay)
    return state.replace(memory={**state.memory, "average": moved})

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Of the averaged weights, means over the fixed grid of times.

    "loss" [b], "target" [b], the mean square of what is to be predicted, and
    "localisation" [b].
    """
    told = jnp.ones(len(batch["index"]), bool)
    text = self._told(average(state), state, batch, told)
    clean = self._clean(state, batch)

    def at(number: Array, t: Array) -> dict[str, Array]:
      given = processes.fixed(
        self.model.process, clean, batch["index"], t, number
      )
      error, found = self._compared(state, batch, given, text)
      target = jnp.mean(given.target**2, axis=(1, 2, 3))
      return {"loss": error, "target": target, "localisation": found}

    times = self.config.evaluation.times
    return held_out.means(self.model.process, times, at)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Means over a split and a fixed grid of times.

    "loss" and "gain" are those of `held_out.metrics`; "localisation" is L_loc,
    lower the more the words look at their things. Before there are references
    nothing is told.
    """
    if "references" not in state.assets:
      return {}
    batches = self.stream(split).batches()
    total = parallel.summed(self.predict, state, batches, _TOTALS)
    seen = total["localisation"] / total["count"]
    return {**held_out.metrics(total), "localisation": seen}

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Loss, gain and localisation, and the words."""
    del state
    return {
      "headline": "gain",
      **stages[-1]["metrics"],
      "class_names": list(self.vocabulary.words),
    }


def _owner(batch: Batch) -> Array:
  """The pair of each token, -1 for none."""
  return batch["owner"]["tokens"] - 1


def _fitted(x: Array, count: int) -> Array:
  """As many things as a text may have pairs: padded, or cut off."""
  x = x[:, :count]
  pad = [(0, 0), (0, count - x.shape[1])] + [(0, 0)] * (x.ndim - 2)
  return jnp.pad(x, pad)

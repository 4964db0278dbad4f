"""ProMoE: a diffusion transformer whose experts are prototypes.

Wei et al., ICLR 2026 (2510.24711). Images are drawn by class. In every second
block a token goes to the expert whose prototype is nearest to it, and tokens
without a class to an expert of their own; a contrastive loss keeps experts
apart. Images are sampled from averaged weights.
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
from protojax.datasets import latent_files
from protojax.datasets.dataset import Dataset
from protojax.diffusion import autoencoder_file, held_out, processes
from protojax.diffusion import settings as diffusion
from protojax.diffusion.autoencoder import Autoencoder
from protojax.diffusion.space import Latents, Pixels, Space
from protojax.engine import memory
from protojax.engine.assets import Asset
from protojax.engine.optimizer import grouped
from protojax.engine.stage import Fit, steps
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.promoe import losses, mixture, settings, statistics
from protojax.methods.promoe import network as network_lib
from protojax.methods.promoe.explanation import EXPLAINER
from protojax.methods.promoe.generation import Generator
from protojax.methods.promoe.network import MixtureNetwork, average
from protojax.types import Array, ArrayLike, Batch, Metrics, PyTree, State

# Sums over examples and times that metrics are made of.
_TOTALS = ("loss", "target", "count")


class Method:
  """ProMoE as its config says; see `configs/promoe_digits.py`."""

  capabilities = Capabilities(explains=EXPLAINER, generates=Generator)

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, patience=0)
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names
    )

  @functools.cached_property
  def network(self) -> MixtureNetwork:
    """The network, with all experts on each device."""
    return self._network(1)

  def _network(self, shards: int) -> MixtureNetwork:
    c, classes = self.config, len(self.dataset.class_names)
    rule = settings.rule(c, classes) if settings.chosen(c).router else None
    return MixtureNetwork(
      settings.network(c, classes, shards),
      rule,
      diffusion.process(c),
      self._space,
    )

  @functools.cached_property
  def _space(self) -> Space:
    size, s = self.config.data.image_size, self.config.space
    if s.kind == "pixels":
      return Pixels(size, s.channels)
    if not s.autoencoder:
      return Latents(size, s.channels)
    return Latents(size, s.channels, self._autoencoder[0])

  @functools.cached_property
  def _autoencoder(self) -> tuple[Autoencoder, PyTree]:
    return autoencoder_file.read(self.config.space.autoencoder)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The autoencoder that makes images of latents, if one is given."""
    s = self.config.space
    if s.kind == "pixels" or not s.autoencoder:
      return NO_ASSETS

    def make() -> PyTree:
      return self._autoencoder[1]

    def shapes() -> PyTree:
      return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), make()
      )

    return {"autoencoder": Asset(make, shapes)}

  @functools.cached_property
  def _trained(self) -> MixtureNetwork:
    """The network of a training step."""
    return (
      self._network(parallel.device_count()) if self._spread else (self.network)
    )

  @property
  def _spread(self) -> bool:
    """Whether a training step has some of the experts on each device."""
    c = self.config
    return c.moe.strategy == "capacity" and bool(settings.chosen(c).router)

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, without augmentation."""
    found = self.dataset.ordered(split)
    if self.config.space.kind == "latents":
      latent_files.require_channels(
        found.source, self.config.space.channels, "--config.space.channels"
      )
    return found

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key)

  def stages(self) -> Iterator[Fit]:
    """One stage of gradient descent.

    Raises:
      UserError: the latents are those of another autoencoder.
    """
    c, o = self.config, self.config.optimizer
    # Here alone: a trained run compares the autoencoder with its own by the
    # asset's digest, and needs no latents to make images.
    if path := c.space.autoencoder:
      digest = autoencoder_file.digest(path)
      latent_files.require_autoencoder(
        self.dataset.source("train"), digest, path
      )
    sharding = mixture.SHARDING if self._spread else parallel.LOCAL
    rule = optax.adamw(o.rate, weight_decay=o.weight_decay)
    yield Fit(
      "train",
      self.loss,
      self.dataset.shuffled(c.data.augment),
      grouped({"network": rule}, o.clip_norm, sharding),
      steps(c.steps),
      after_step=self.follow,
      sharding=sharding,
    )

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """L_diff, and the losses of the routers summed over layers."""
    net = self._trained
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    for_drop, for_clean, for_noise = jnp.moveaxis(_split(keys), 1, 0)
    clean = net.space.drawn(batch, for_clean)
    drawn = processes.noised(net.process, clean, for_noise)
    dropped = jax.vmap(jax.random.uniform)(for_drop) < self.config.drop
    label = jnp.where(dropped, net.null, net.known(batch["label"]))
    found = net.apply(params["network"], drawn.x, drawn.t, label)
    error = processes.squared_error(found.prediction, drawn.target)
    terms = {"diffusion": Term(jnp.sum(error), len(error))}
    if net.rule is None:
      return terms, Aux()
    by_expert = net.rule.choice == "expert"
    of_routing, aux = self._of_routing(params, state, found.evidence, by_expert)
    return {**terms, **of_routing}, aux

  def _of_routing(
    self, params: PyTree, state: State, evidence: PyTree, by_expert: bool
  ) -> tuple[dict[str, Term], Aux]:
    c, chosen = self.config, settings.chosen(self.config)
    names = "sums", "counts", "probabilities"
    own = {name: evidence[name] for name in names}
    whole = parallel.psum(own)
    prototypes = network_lib.prototypes(params["network"])
    terms = {}
    if chosen.contrast and c.loss.contrast:
      terms["contrast"] = (
        self._by_sample(evidence)
        if by_expert
        else self._contrast(prototypes, own, whole)
      )
    weight = chosen.balance if c.loss.balance < 0 else c.loss.balance
    if weight:
      each = jax.vmap(losses.balance)(whole["probabilities"], whole["counts"])
      terms["balance"] = of_whole_batch(jnp.sum(each), weight)
    fixed = jax.lax.stop_gradient((prototypes, whole))
    metrics = {
      name: Term(jnp.mean(x), 1.0)
      for name, x in statistics.figures(*fixed).items()
    }
    if self._spread:
      # Those of the unconditional expert, too.
      rows = jnp.sum(evidence["chosen"], dtype=jnp.float32)
      metrics["dropped"] = Term(jnp.sum(evidence["dropped"]), rows)
    return terms, Aux(memory=self._moved(state, fixed[1]), metrics=metrics)

  def _by_sample(self, evidence: PyTree) -> Term:
    """The contrastive loss where experts choose: a mean over samples."""
    total, count = jnp.sum(evidence["contrast"], axis=0)
    weight = self.config.loss.contrast
    return Term(total, count / self.network.layers, weight)

  def _contrast(
    self, prototypes: ArrayLike, own: PyTree, whole: PyTree
  ) -> Term:
    """The contrastive loss of the batch, summed over layers.

    With `moe.local_means` each device takes it of its own slice, as in the
    paper's code.
    """
    c = self.config
    one = functools.partial(
      losses.routing_contrastive, temperature=c.moe.temperature
    )
    if c.moe.local_means:
      total = jnp.sum(statistics.each(one, prototypes, own))
      return Term(total, 1.0, c.loss.contrast)
    total = jnp.sum(statistics.each(one, prototypes, whole))
    return of_whole_batch(total, c.loss.contrast)

  def _moved(self, state: State, load: PyTree) -> PyTree:
    """The memory, with the k-means' centroids moved to their tokens' means."""
    if "centroids" not in state.memory:
      return None
    means, present = jax.vmap(losses.means)(load["sums"], load["counts"])
    before = state.memory["centroids"]
    moved = memory.ema(before, means, self.config.optimizer.centroids)
    moved = jnp.where(present[..., None], moved, before)
    return {**state.memory, "centroids": moved}

  def follow(self, state: State) -> State:
    """The averaged weights follow, and k-means takes its centroids."""
    if "centroids" in state.memory:
      found = network_lib.with_prototypes(
        state.params["network"], state.memory["centroids"]
      )
      state = state.replace(params={"network": found})
    decay = self.config.optimizer.average
    moved = memory.ema(average(state), state.params["network"], decay)
    return state.replace(memory={**state.memory, "average": moved})

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "loss" [b] of the averaged weights on the fixed grid of times."""

    def at(number: Array, t: Array) -> Array:
      return self.network.seen(average(state), batch, t, number).error

    times = self.config.evaluation.times
    return {"loss": held_out.means(self.network.process, times, at)}

  @functools.cached_property
  def _times(self) -> np.ndarray:
    return processes.grid(self.network.process, self.config.evaluation.times)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Loss of the averaged weights on a fixed grid, and the routing.

    "loss" and "gain" are those of `held_out.metrics`. Figures of the routing
    are means over the layers, see `statistics.figures`.
    """
    found = self.measured(state, split)
    metrics = held_out.metrics(found)
    if self.network.rule is not None:
      of_layers = statistics.figures(
        network_lib.prototypes(average(state)), found
      )
      for name, x in of_layers.items():
        metrics[name] = float(np.mean(x))
    return metrics

  def measured(self, state: State, split: str) -> dict[str, Any]:
    """Sums over a split and the grid of times: see `evaluate`."""
    net = self.network
    carry: dict[str, Any] = dict.fromkeys(_TOTALS, np.float32(0))
    if net.rule is not None:
      n, e, k = net.layers, net.rule.experts, net.null
      d = net.transformer.channels
      carry["sums"] = np.zeros((n, e, d), np.float32)
      carry["counts"] = np.zeros((n, e), np.float32)
      carry["usage"] = np.zeros((n, k, net.rule.count), np.float32)
    found = parallel.fold(
      self._measure, state, carry, self.stream(split).batches()
    )
    return {name: np.asarray(x).sum(axis=0) for name, x in found.items()}

  def _measure(self, state: State, carry: PyTree, batch: Batch) -> PyTree:
    net = self.network
    valid = jnp.asarray(batch["valid"])

    def at(carry: PyTree, given: tuple) -> tuple[PyTree, None]:
      answer, error, target = net.seen(average(state), batch, *given)
      found = {"loss": error, "target": target, "count": jnp.ones_like(error)}
      sums = {k: jnp.sum(jnp.where(valid, x, 0)) for k, x in found.items()}
      if net.rule is not None:
        label = net.known(batch["label"])
        sums |= statistics.counted(answer.evidence, label, valid, net.null)
      return jax.tree.map(jnp.add, carry, sums), None

    given = self._times, jnp.arange(len(self._times))
    return jax.lax.scan(at, carry, given)[0]

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Loss, figures of the routing, and the classes."""
    del state
    return {
      "headline": "gain",
      **stages[-1]["metrics"],
      "class_names": list(self.dataset.class_names),
    }


def _split(keys: Array) -> Array:
  """Three keys for each example: [b 3]."""
  return jax.vmap(lambda key: jax.random.split(key, 3))(keys)

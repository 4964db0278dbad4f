"""The loss of a task, for CoMEL and for the baselines that it is compared with.

A baseline trains all layers in every task: "finetune" alone, "ewc" near to
weights that mattered (Kirkpatrick et al., PNAS 2017), "lwf" with the answers of
the network before the task (Li and Hoiem, ECCV 2016), "er" with some bags of
the tasks before.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import optax

from protojax import parallel
from protojax.engine.terms import Aux, Now, Term, penalty
from protojax.layers import lora
from protojax.methods.comel import pseudo_labels
from protojax.methods.comel.network import Network, Seen
from protojax.methods.comel.pseudo_labels import Settings
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Logits of tasks that have not begun.
ABSENT = -1e9


@dataclasses.dataclass(frozen=True)
class Rules:
  """What keeps a network from forgetting; see `settings`."""

  baseline: str
  mode: str
  protect: bool
  orthonormal: float
  ewc: float
  lwf: float
  temperature: float


class Quality(NamedTuple):
  """What `State.memory` knows of pseudo labels.

  Attributes:
    least: tau_2.
    total: confidence of the right predictions of this epoch, summed.
    count: bags of this epoch.
  """

  least: Float[ArrayLike, ""]
  total: Float[ArrayLike, ""]
  count: Float[ArrayLike, ""]


def at_start() -> Quality:
  """tau_2 = 1/2, before the first epoch."""
  return Quality(*map(jnp.float32, (0.5, 0.0, 0.0)))


def seen(
  network: Network, params: PyTree, batch: Batch, keys: jax.Array | None = None
) -> Seen:
  """What the network makes of a batch of bags."""
  bag, places = batch["bag"], batch["places"]["vectors"]
  return network.bags(params, bag["vectors"], bag["valid"], places, keys)


def begun(
  logits: Float[ArrayLike, "b k"], tasks: Int[ArrayLike, ""] | int
) -> Float[jax.Array, "b k"]:
  """The logits of the first tasks; those of the others are far below."""
  logits = jnp.asarray(logits)
  there = jnp.arange(logits.shape[1]) < 2 * tasks
  return jnp.where(there[None], logits, ABSENT)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """One task of the stream, as its stage of gradient descent sees it.

  Attributes:
    number: t, from 0 on.
    network: of all tasks.
    rules: what keeps it from forgetting.
    labels: how instances get pseudo labels.
    steps_per_epoch: of the stage.
  """

  number: int
  network: Network
  rules: Rules
  labels: Settings
  steps_per_epoch: int

  @property
  def adapter(self) -> str:
    """The group of parameters that the task trains beside its head; or ""."""
    adapts = self.number and not self.rules.baseline
    return f"adapter_{self.number}" if adapts else ""

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[Mapping[str, Term], Aux]:
    """L_bag + L_inst, and what the rules add."""
    own = batch.get("task", batch)
    used = self._used(params, state)
    keys = parallel.example_keys(now.key, own["index"], own.get("draw"))
    found = seen(self.network, used, own, keys)
    logits = begun(found.logits, self.number + 1)
    entropy = _entropy(logits, own["label"])
    count = len(entropy)
    terms = {"bag": Term(jnp.sum(entropy), count)}
    chances = jax.nn.softmax(logits)
    right = jnp.argmax(logits, axis=1) == own["label"]
    sure = jnp.max(chances, axis=1)
    quality = state.memory["quality"]
    metrics = {"accuracy": Term(jnp.sum(right), count)}
    if self.labels.weight:
      chosen = right & (own["label"] % 2 == 1) & (sure > self.labels.confidence)
      more, told = self._instances(found, own, chosen, quality.least)
      terms, metrics = {**terms, **more}, {**metrics, **told}
    terms |= self._kept(params, state, used, own, logits)
    if "old" in batch:
      terms["replay"] = self._replayed(params, batch["old"], now.key)
    moved = self._moved(quality, sure * right, now.step)
    memory = {**state.memory, "quality": moved}
    return terms, Aux(memory=memory, metrics=metrics)

  def _used(self, params: PyTree, state: State) -> PyTree:
    """The parameters, with adapters that learn in free directions alone."""
    name, mode = self.adapter, self.rules.mode
    if not name or mode == "none":
      return params
    bases, free = state.buffers["bases"], {}
    for layer, adapter in params[name].items():
      if mode == "reparam":
        free[layer] = lora.projected(adapter, bases[layer])
        continue
      before = [params[f"adapter_{s}"][layer] for s in range(1, self.number)]
      learned = [[a.down for a in before], [a.up for a in before]]
      if self.rules.protect:
        for rows, basis in zip(learned, bases[layer], strict=True):
          rows.append(jnp.asarray(basis).T)
      free[layer] = adapter._replace(
        **{
          side: lora.surgery(getattr(adapter, side), jnp.concatenate(rows))
          for side, rows in zip(("down", "up"), learned, strict=True)
          if rows
        }
      )
    return {**params, name: free}

  def _instances(
    self, found: Seen, batch: Batch, chosen: Bool[Array, " b"], least: Any
  ) -> tuple[dict[str, Term], dict[str, Term]]:
    """L_inst of the chosen bags, and how many labels were kept."""
    valid = batch["bag"]["valid"]

    def one(features: Any, attended: Any, valid: Any) -> tuple[Array, ...]:
      labels = pseudo_labels.labels(features, attended, valid, self.labels)
      kept = pseudo_labels.kept(labels, valid, least, self.labels)
      loss = pseudo_labels.loss(labels, kept, attended, valid, self.labels)
      return loss, labels.cosine, jnp.sum(kept), jnp.sum(valid)

    loss, cosine, kept, every = jax.vmap(one)(
      found.features, found.attention, valid
    )
    terms = {
      "instances": Term(
        jnp.sum(jnp.where(chosen, loss, 0)), len(loss), self.labels.weight
      )
    }
    if self.labels.apart:
      positive = jnp.asarray(batch["label"]) % 2 == 1
      apart = jnp.sum(jnp.where(positive, cosine, 0))
      terms["apart"] = Term(apart, len(loss), self.labels.apart)
    some, of = (jnp.sum(jnp.where(chosen, x, 0)) for x in (kept, every))
    return terms, {"kept": Term(some, of)}

  def _kept(
    self,
    params: PyTree,
    state: State,
    used: PyTree,
    batch: Batch,
    logits: Float[Array, "b k"],
  ) -> dict[str, Term]:
    """The terms that keep the network from forgetting."""
    rules = self.rules
    if self.adapter:
      adapters = used[self.adapter].values()
      total = sum(map(lora.orthonormality, adapters), jnp.float32(0))
      return {"orthonormal": penalty(total, rules.orthonormal)}
    if not self.number:
      return {}
    if rules.baseline == "ewc":
      fisher, before = state.statistics["fisher"], state.buffers["before"]
      squares = jax.tree.map(
        lambda f, p, b: jnp.sum(f * (p - b) ** 2), fisher, params, before
      )
      total = optax.tree.sum(squares)
      return {"ewc": penalty(jnp.asarray(total), rules.ewc)}
    if rules.baseline == "lwf":
      old = seen(self.network, state.buffers["before"], batch).logits
      return {"lwf": self._like(jax.lax.stop_gradient(old), logits)}
    return {}

  def _like(self, old: Float[Array, "b k"], new: Float[Array, "b k"]) -> Term:
    """Cross entropy of softened answers over the classes of old tasks."""
    known, t = 2 * self.number, self.rules.temperature
    before, after = (jax.nn.log_softmax(x[:, :known]) / t for x in (old, new))
    apart = -jnp.sum(jax.nn.softmax(before) * jax.nn.log_softmax(after), axis=1)
    return Term(jnp.sum(apart), len(apart), self.rules.lwf)

  def _replayed(self, params: PyTree, batch: Batch, key: jax.Array) -> Term:
    """The bag loss of bags of the tasks before."""
    keys = parallel.example_keys(key, batch["index"], batch.get("draw"))
    logits = seen(self.network, params, batch, keys).logits
    entropy = _entropy(begun(logits, self.number + 1), batch["label"])
    return Term(jnp.sum(entropy), len(entropy))

  def _moved(
    self, quality: Quality, sure: Float[Array, " b"], step: Array
  ) -> Quality:
    """tau_2 = (1 + tau quality) / 2 after the last step of each epoch."""
    total, count = parallel.psum((jnp.sum(sure), jnp.float32(len(sure))))
    total, count = quality.total + total, quality.count + count
    last = (step + 1) % self.steps_per_epoch == 0
    least = (1 + self.labels.quality * total / count) / 2
    return Quality(
      jnp.where(last, least, quality.least),
      jnp.where(last, 0.0, total),
      jnp.where(last, 0.0, count),
    )

  def after_step(self, state: State) -> State:
    """The task has begun; its adapters stay in free directions."""
    buffers = {**state.buffers, "begun": jnp.int32(self.number + 1)}
    state = state.replace(buffers=buffers)
    if not self.adapter or self.rules.mode != "reparam":
      return state
    bases = state.buffers["bases"]
    free = {
      layer: lora.projected(adapter, bases[layer])
      for layer, adapter in state.params[self.adapter].items()
    }
    return state.replace(params={**state.params, self.adapter: free})


def fisher(
  network: Network, tasks: int, state: State, carry: PyTree, batch: Batch
) -> PyTree:
  """Adds the squared gradients of the bags' losses; a step of a fold.

  Args:
    network: of all tasks.
    tasks: how many have begun.
    state: its parameters are those of the gradients.
    carry: sums by parameter.
    batch: of bags; padding is left out.
  """

  def loss(params: PyTree, batch: Batch) -> Array:
    one = jax.tree.map(lambda x: x[None], batch)
    logits = begun(seen(network, params, one).logits, tasks)
    return jnp.sum(_entropy(logits, one["label"]))

  def add(carry: PyTree, batch: Batch) -> tuple[PyTree, None]:
    gradient = jax.grad(loss)(state.params, batch)
    real = jnp.float32(batch["valid"])
    return jax.tree.map(lambda c, g: c + real * g**2, carry, gradient), None

  carry, _ = jax.lax.scan(add, carry, batch)
  return carry


def _entropy(
  logits: Float[ArrayLike, "b k"], labels: Int[ArrayLike, " b"]
) -> Float[Array, " b"]:
  return optax.softmax_cross_entropy_with_integer_labels(
    jnp.asarray(logits), jnp.maximum(jnp.asarray(labels), 0)
  )

"""What a step of training minimises: one loss for all, gradients held apart.

Source and target go through the network as one batch, or apart where BatchNorm
has averages of each domain. The segmentation's terms see the adversaries'
parameters as constants, and the adversaries' terms see the answers as
constants, so that one gradient trains both and neither reaches the other.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.methods.tcsa_uda import adversary, losses, relations, selective
from protojax.methods.tcsa_uda.network import (
  KEPT,
  Network,
  Seen,
  nearest,
  resized,
)
from protojax.methods.tcsa_uda.relations import Means, Memory
from protojax.types import Array, Batch, PyTree, State

_HALF = 0.5  # of the adversary's loss, for each domain


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """The loss of a stage, with the settings that it needs.

  Attributes:
    network: that is trained.
    c: the run's config, whose groups relations, prototypes, entropy, adversary
      and auxiliary hold the weights.
    words: relations of the classes' words.
    adapts: False in the warm-up, where the adversary sees probabilities and
      nothing is aligned.
  """

  network: Network
  c: Any
  words: np.ndarray
  adapts: bool

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Terms of a batch of source and target; see `Loss`."""
    source, target = batch["source"], batch["target"]
    images = [jnp.asarray(b["image"], jnp.float32) for b in (source, target)]
    seen, statistics = self.network.see_both(params, state.statistics, *images)
    count = len(source["image"])
    labels = jnp.asarray(source["mask"])
    terms = self.segmentation(seen, labels, count)
    terms |= self._adversaries(params, seen, count, labels.shape[1:])
    if self.adapts and self.c.entropy.weight:
      keys = parallel.example_keys(now.key, target["index"], target.get("draw"))
      value = self._selective(params, state, seen.logits[count:], images, keys)
      terms["selective"] = Term(*value, self._ramp(now) * self.c.entropy.weight)
    aligned, memory, metrics = self._aligned(seen, labels, count, state, now)
    return {**terms, **aligned}, Aux(statistics, memory, metrics)

  # Labelled pixels of the source.

  def segmentation(
    self, seen: Seen, labels: Array, count: int
  ) -> dict[str, Term]:
    """Terms of the first `count` images, which have labels."""
    sides, k = labels.shape[1:], self.network.classes
    weights = losses.class_weights(labels, k)
    made = [("", seen.logits, 1.0)]
    if seen.auxiliary is not None:
      made.append(("_auxiliary", seen.auxiliary, self.c.auxiliary.weight))
    terms = {}
    for suffix, logits, weight in made:
      at_pixels = resized(logits[:count], sides)
      entropy = losses.cross_entropy(at_pixels, labels, weights, weight)
      terms[f"pixels{suffix}"] = entropy
      terms[f"dice_loss{suffix}"] = losses.dice(at_pixels, labels, weight)
    return terms

  # The adversaries.

  def _adversaries(
    self, params: PyTree, seen: Seen, count: int, sides: tuple[int, ...]
  ) -> dict[str, Term]:
    if not self.network.adversarial:
      return {}
    c = self.c.adversary
    made = [("", "adversary", seen.logits, c.weight)]
    if seen.auxiliary is not None:
      name = "auxiliary_adversary"
      made.append(("_auxiliary", name, seen.auxiliary, c.auxiliary))
    terms = {}
    for suffix, name, logits, weight in made:
      maps = adversary.seen(resized(logits, sides), self.adapts, c.stride)
      fooled = self._judged(_constant(params[name]), maps[count:])
      total, number = adversary.cross_entropy(fooled, adversary.SOURCE)
      terms[f"fooling{suffix}"] = Term(total, number, weight)
      for domain, some in (("source", maps[:count]), ("target", maps[count:])):
        told = self._judged(params[name], _constant(some))
        truth = getattr(adversary, domain.upper())
        total, number = adversary.cross_entropy(told, truth)
        term = Term(total, number, _HALF)
        terms[f"telling_{domain}{suffix}"] = term
    return terms

  def _judged(self, params: PyTree, maps: Array) -> Array:
    return adversary.judged(self.network.adversary, params, maps)

  # Entropy.

  def _selective(
    self,
    params: PyTree,
    state: State,
    logits: Array,
    images: list[Array],
    keys: Array,
  ) -> tuple[Array, int]:
    """Entropy of the target's cells, by whether views of them agree."""
    source, target = images
    shown = selective.views(target, source, keys, self.c.entropy.views)
    found, _ = self.network.see(_constant(params), state.statistics, shown)
    own, seen = (jnp.argmax(x, axis=-1) for x in (logits, found.logits))
    return selective.entropy(logits, selective.agreed(own, seen))

  # Relations and centres.

  def _aligned(
    self, seen: Seen, labels: Array, count: int, state: State, now: Now
  ) -> tuple[dict[str, Term], PyTree, Mapping[str, Term]]:
    c, k = self.c, self.network.classes
    rows, columns = seen.embedding.shape[1:3]
    # Of the target the answers stand for labels.
    guessed = confident(_constant(seen.logits[count:]), c.adapt.confidence)
    cells = {"source": nearest(labels, rows, columns), "target": guessed}
    parts = {"source": slice(None, count), "target": slice(count, None)}
    memory = dict(state.memory)
    ramp = self._ramp(now)
    terms: dict[str, Term] = {}
    words = Memory(**memory["words"])
    for domain, part in parts.items():
      means = relations.class_means(seen.embedding[part], cells[domain], k)
      value, words = self._relation(means, words)
      if self.adapts and c.relations.weight:
        terms[f"relation_{domain}"] = of_whole_batch(
          value, ramp * c.relations.weight
        )
    memory["words"] = words._asdict()
    centres = {}
    for domain, part in parts.items():
      means = relations.class_means(seen.features[part], cells[domain], k)
      own = Memory(**memory[domain])
      moved = relations.blended(
        own.vectors, own.known, means, c.prototypes.decay
      )
      centres[domain] = Memory(*moved)
      memory[domain] = _constant(centres[domain]._asdict())
    known = jnp.asarray(centres["source"].known) & centres["target"].known
    total, each = relations.centre_distance(
      centres["source"].vectors, centres["target"].vectors, known
    )
    if self.adapts and c.prototypes.weight:
      terms["centres"] = of_whole_batch(total, ramp * c.prototypes.weight)
    memory["history"] = self._history(memory["history"], each, known, now)
    far = parallel.pmean(_constant(total))
    return terms, memory, {"centre_distance": Term(far, 1.0)}

  def _relation(self, means: Means, memory: Memory) -> tuple[Array, Memory]:
    c = self.c.relations
    return relations.compared(
      means, self.words, memory, c.mode, c.decay, c.detached
    )

  def _ramp(self, now: Now) -> Array:
    """0 at the stage's start, 1 behind its first part."""
    if not self.c.adapt.ramp:
      return jnp.ones(())
    return jnp.clip(now.share / self.c.adapt.ramp, 0, 1)

  def _history(self, kept: Any, each: Array, known: Array, now: Now) -> Array:
    """Distances of centres, at a place for each hundredth of the training."""
    c = self.c
    total = max(c.warm.steps + c.adapt.steps, 1)
    done = now.step + (c.warm.steps if self.adapts else 0)
    place = jnp.minimum(done * KEPT // total, KEPT - 1)
    row = jnp.where(known, _constant(each), -1.0)
    return jnp.asarray(kept).at[place].set(row)


def confident(
  logits: Float[Array, "b h w k"], least: float
) -> Int[Array, "b h w"]:
  """The answer of each cell; -1 where its probability is below `least`."""
  p = jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)
  answers = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  return jnp.where(p >= least, answers, -1)


def _constant(tree: PyTree) -> PyTree:
  return jax.lax.stop_gradient(tree)

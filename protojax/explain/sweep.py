"""One sweep over a stream: local scores of its batches, and the global ones.

Takes `importance` to all devices. The rows of a batch hold the most similar
prototypes of each image only; the global scores need no rows at all.
"""

from collections.abc import Iterable, Iterator
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.explain import totals
from protojax.explain.importance import Local, of_batch
from protojax.explain.totals import Replicates, Scores, Sums
from protojax.modify.presets import Preset
from protojax.prototypes import head, neighbours
from protojax.prototypes.bank import vectors
from protojax.prototypes.explainable import Scored
from protojax.prototypes.neighbours import Neighbours
from protojax.types import ArrayLike, Batch, PyTree, State


class Rows(NamedTuple):
  """One batch of local scores, its padding cut off.

  With several processes: of the whole batch, in every process.

  Attributes:
    index: positions of the images in their source.
    label: their classes, -1 where unknown.
    similarities: to all prototypes.
    logits: of the unchanged images.
    prototypes: the most similar prototypes alive, the most similar first, or
      those with most points; -1 where fewer are alive.
    similarity, score, cell, delta: of those prototypes.
    all_scores: similarity, cell and delta of all prototypes, if they were asked
      for.
    embedded: features, if they were asked for.
  """

  index: Int[np.ndarray, " b"]
  label: Int[np.ndarray, " b"]
  similarities: Float[np.ndarray, "b p"]
  logits: Float[np.ndarray, "b k"]
  prototypes: Int[np.ndarray, "b t"]
  similarity: Float[np.ndarray, "b t"]
  score: Float[np.ndarray, "b t"]
  cell: Int[np.ndarray, "b t"]
  delta: Float[np.ndarray, "b m t"]
  all_scores: Local | None
  embedded: Float[np.ndarray, "b h w d"] | None


class Totals(NamedTuple):
  """What a sweep adds up to.

  Attributes:
    all: global scores over every image.
    without_own: the same without the image that each prototype was pushed
      to. Its distance is 0, where the log similarity is steepest, so this
      one image has the largest weight and the largest drop.
    nearest: the images nearest to each prototype: distances are negated
      similarities, "cell" and "delta" ([p, k, m]) are known of each.
    counts: local scores of living prototypes by modification and bin.
    edges: of those bins.
  """

  all: Scores
  without_own: Scores
  nearest: Neighbours
  counts: Int[np.ndarray, "m bins"]
  edges: Float[np.ndarray, " edges"]


def sweep(
  model: Scored,
  state: State,
  batches: Iterable[Batch],
  preset: Preset,
  *,
  provenance: Int[ArrayLike, " p"],
  top: int = 10,
  nearest: int = 5,
  replicates: int = 200,
  keep_all: bool = False,
  by_points: bool = False,
  keep_features: bool = False,
) -> Iterator[Rows | Totals]:
  """Local and global scores in one pass, one compiled step per batch.

  Args:
    model: see `Scored`.
    state: its state.
    batches: all of one shape, the last one padded and masked; for a preset of
      mode "reference" with the copies that `reference_mode.attach` makes.
    preset: what is modified, and how it is scored.
    provenance: index, among the images of these batches, of the one each
      prototype was pushed to; -1 for none.
    top: how many prototypes of each image come back to the host.
    nearest: how many images of each prototype.
    replicates: bootstrap draws of the images, for confidence intervals.
    keep_all: bring back the scores of all prototypes.
    by_points: which of them come back is told by their points for the class
      predicted, of scores above 0, and not by similarity.
    keep_features: bring back the features, too.

  Yields:
    The rows of every batch, and at the end the totals.
  """
  count, length = len(provenance), _length(state)
  example = np.zeros(len(preset.names), np.float32)
  draws = Replicates.empty(replicates, len(example), count)
  carry = {
    "draws": {"all": draws, "without_own": draws},
    "nearest": neighbours.empty(
      count, nearest, {"cell": np.zeros((), np.int32), "delta": example}
    ),
    "counts": np.zeros((len(example), totals.BINS), np.int32),
  }
  step = functools.partial(
    _step, model, preset, top, keep_all, by_points, keep_features
  )
  run = parallel.Sweep(step, (state, jnp.asarray(provenance)), carry)
  sums: dict[str, Sums] = {}
  for _, found in run.rows(batches):
    # In float64, so that neither the order nor the number of devices tells.
    for name, parts in found["sums"].items():
      for part in range(len(parts.images)):
        sums[name] = _plus(sums.get(name), parts, part)
    yield _cut(found)
  if sums:
    carry = run.carry()
    scores = {
      name: sums[name].scores(Replicates(*(x.sum(axis=0) for x in draws)))
      for name, draws in carry["draws"].items()
    }
    yield Totals(
      scores["all"],
      scores["without_own"],
      neighbours.gathered(carry["nearest"]),
      carry["counts"].sum(axis=0, dtype=np.int64),
      totals.edges(model.similarity.span(length)),
    )


def _step(
  model: Scored,
  preset: Preset,
  top: int,
  keep_all: bool,
  by_points: bool,
  keep_features: bool,
  states: PyTree,
  carry: PyTree,
  batch: Batch,
):
  """Takes a batch into the totals; gives its local scores."""
  state, provenance = states
  local, embedded = of_batch(
    functools.partial(model.nearest, state),
    functools.partial(model.at, state),
    batch,
    preset,
    functools.partial(model.embed, state),
  )
  alive, length = state.buffers["alive"], _length(state)
  weight = jnp.ones_like(local.similarity)
  if preset.weighted:
    weight = model.similarity.weight(local.similarity, length)
  own = batch["index"][:, None] == provenance[None]
  weights = {"all": weight, "without_own": jnp.where(own, 0.0, weight)}
  rows = {name: batch[name] for name in ("index", "label", "valid")}
  rows["similarity"] = local.similarity
  scores = model.scores(state, embedded, local.similarity)
  points = head.logits(scores, model.weights(state), alive)
  rows["logits"] = points + model.bias(state)[None]
  ranked = local.similarity
  if by_points:
    # Of positive scores, as EPIC's algorithm 1 has it.
    answer = jnp.argmax(rows["logits"], axis=1)
    ranked = jnp.maximum(scores, 0.0) * model.weights(state)[answer]
  chosen, rows["top"] = _first(local, ranked, alive, top)
  rows["prototypes"] = chosen
  rows["score"] = jnp.take_along_axis(scores, jnp.maximum(chosen, 0), axis=1)
  if keep_all:
    rows["all_scores"] = local
  if keep_features:
    rows["embedded"] = embedded
  # One row for each device.
  rows["sums"] = {
    name: jax.tree.map(
      lambda x: x[None], Sums.of(local, w, batch["valid"], model.similarity)
    )
    for name, w in weights.items()
  }
  replicates = carry["draws"]["all"].weight.shape[0]
  drawn = totals.draws(batch["index"], batch["valid"], replicates)
  more = {"cell": local.cell, "delta": jnp.swapaxes(local.delta, 1, 2)}
  counted = batch["valid"][:, None] & jnp.asarray(alive)[None]
  span = model.similarity.span(length)
  return {
    "draws": {
      name: carry["draws"][name].add(local, w, drawn)
      for name, w in weights.items()
    },
    "nearest": neighbours.add(carry["nearest"], -local.similarity, batch, more),
    "counts": carry["counts"] + totals.counts(local, counted, span),
  }, rows


def _length(state: State) -> int:
  """Of a prototype, laid out flat."""
  return vectors(state)[0].size


def _first(local, ranked, alive, top):
  ranked = jnp.where(alive[None], ranked, -jnp.inf)
  ranked, chosen = jax.lax.top_k(ranked, min(top, ranked.shape[1]))
  rows = Local(
    jnp.take_along_axis(local.similarity, chosen, axis=1),
    jnp.take_along_axis(local.cell, chosen, axis=1),
    jnp.take_along_axis(local.delta, chosen[:, None], axis=2),
  )
  return jnp.where(jnp.isneginf(ranked), -1, chosen), rows


def _plus(total: Sums | None, parts: Sums, part: int) -> Sums:
  one = Sums(*(np.asarray(x[part], np.float64) for x in parts))
  return one if total is None else Sums(*map(np.add, total, one))


def _cut(found: PyTree) -> Rows:
  kept = found["valid"].astype(bool)
  names = ("index", "label", "similarity", "logits", "prototypes")
  index, label, all_, logits, prototypes = (found[x][kept] for x in names)
  similarity, cell, delta = (x[kept] for x in found["top"])
  score = found["score"][kept]
  all_scores = found.get("all_scores")
  if all_scores is not None:
    all_scores = Local(*(x[kept] for x in all_scores))
  embedded = found.get("embedded")
  if embedded is not None:
    embedded = embedded[kept]
  return Rows(
    index,
    label,
    all_,
    logits,
    prototypes,
    similarity,
    score,
    cell,
    delta,
    all_scores,
    embedded,
  )

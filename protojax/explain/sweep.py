"""One sweep over a stream: local scores of each batch, global scores of all.

Runs `importance` on all devices. The rows of a batch hold only the prototypes
that carry each answer; the global scores need no rows.
"""

from collections.abc import Iterable, Iterator
import functools
import itertools
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
from protojax.prototypes.explainable import Scored
from protojax.prototypes.neighbours import Neighbours
from protojax.types import ArrayLike, Batch, PyTree, State

# Points below it print as 0.00.
SILENT = 0.005


class Rows(NamedTuple):
  """Local scores of a batch, without its padding.

  With several processes, each has the scores of the whole batch.

  Attributes:
    index: positions of the images in their source.
    label: their classes, -1 if unknown.
    similarities: to all prototypes.
    logits: of the unchanged images.
    prototypes: the t living prototypes with most points for the predicted
      class, by their absolute values; -1 if fewer are alive.
    silent: how many living prototypes have points that print as 0.00.
    similarity, score, place, delta: of those prototypes.
    all_scores: similarity, place and delta of all prototypes, if they were
      asked for.
    embedded: features, if they were asked for.
  """

  index: Int[np.ndarray, " b"]
  label: Int[np.ndarray, " b"]
  similarities: Float[np.ndarray, "b p"]
  logits: Float[np.ndarray, "b k"]
  prototypes: Int[np.ndarray, "b t"]
  silent: Int[np.ndarray, " b"]
  similarity: Float[np.ndarray, "b t"]
  score: Float[np.ndarray, "b t"]
  place: PyTree
  delta: Float[np.ndarray, "b m t"]
  all_scores: Local | None
  embedded: Float[np.ndarray, "b h w d"] | None


class Totals(NamedTuple):
  """Global results of a sweep.

  Attributes:
    all: global scores over every image.
    without_own: the same without the image that each prototype was pushed
      to. Its distance is 0, where the log similarity is steepest, so this
      one image has the largest weight and the largest drop.
    nearest: the images nearest to each prototype, with their "place" [p k ...]
      and "delta" [p k m]; distances are negated similarities.
    counts: histograms of the local scores of living prototypes.
    edges: of their bins.
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
  keep_features: bool = False,
) -> Iterator[Rows | Totals]:
  """Local and global scores in one pass, one compiled step per batch.

  Args:
    model: see `Scored`.
    state: its state.
    batches: all of one shape, the last one padded; in mode "reference" with the
      copies of `reference_mode.attach`.
    preset: what is modified, and how it is scored.
    provenance: index of the image that each prototype was pushed to; -1 if it
      is not among the images of these batches.
    top: prototypes of each image in the rows.
    nearest: images of each prototype in the totals.
    replicates: bootstrap draws of the images, for confidence intervals.
    keep_all: give the scores for all prototypes, too.
    keep_features: give the features, too.

  Yields:
    The rows of every batch, and at the end the totals.
  """
  batches = iter(batches)
  # From its images the model says what a place is.
  first = next(batches, None)
  if first is None:
    return
  count, length = len(provenance), _length(model, state)
  example = np.zeros(len(preset.names), np.float32)
  draws = Replicates.empty(replicates, len(example), count)
  carry = {
    "draws": {"all": draws, "without_own": draws},
    "nearest": neighbours.empty(
      count, nearest, {"place": _place(model, state, first), "delta": example}
    ),
    "counts": np.zeros((len(example), totals.BINS), np.int32),
  }
  step = functools.partial(_step, model, preset, top, keep_all, keep_features)
  run = parallel.Sweep(step, (state, jnp.asarray(provenance)), carry)
  sums: dict[str, Sums] = {}
  for _, found in run.rows(itertools.chain([first], batches)):
    # In float64, so that order and number of devices do not change the sums.
    for name, by_device in found["sums"].items():
      for device in range(len(by_device.images)):
        sums[name] = _plus(sums.get(name), by_device, device)
    yield _cut(found)
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
  keep_features: bool,
  states: PyTree,
  carry: PyTree,
  batch: Batch,
):
  """Adds a batch to the totals; gives its local scores."""
  state, provenance = states
  local, embedded = of_batch(
    functools.partial(model.nearest, state),
    functools.partial(model.at, state),
    batch,
    preset,
    functools.partial(model.embed, state),
  )
  alive, length = model.bank(state).alive, _length(model, state)
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
  answer = jnp.argmax(rows["logits"], axis=1)
  ranked = jnp.abs(scores * model.weights(state)[answer])
  silent = alive[None] & (ranked < SILENT)
  rows["silent"] = jnp.sum(silent, axis=1, dtype=jnp.int32)
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
  more = {"place": local.place, "delta": jnp.swapaxes(local.delta, 1, 2)}
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


def _length(model: Scored, state: State) -> int:
  """Number of values of a prototype."""
  return model.bank(state).vectors[0].size


def _place(model: Scored, state: State, batch: Batch) -> PyTree:
  """Zeros like the place of one prototype in one image."""
  found = _places.eval_shape(model, state, batch["image"])
  return jax.tree.map(lambda x: np.zeros(x.shape[2:], x.dtype), found)


@functools.partial(jax.jit, static_argnums=0)
def _places(model: Scored, state: State, images: ArrayLike) -> PyTree:
  _, place = model.nearest(state, model.embed(state, images))
  return place


def _first(local, ranked, alive, top):
  ranked = jnp.where(alive[None], ranked, -jnp.inf)
  ranked, chosen = jax.lax.top_k(ranked, min(top, ranked.shape[1]))
  rows = Local(
    jnp.take_along_axis(local.similarity, chosen, axis=1),
    jax.tree.map(lambda x: _of_chosen(x, chosen), local.place),
    jnp.take_along_axis(local.delta, chosen[:, None], axis=2),
  )
  return jnp.where(jnp.isneginf(ranked), -1, chosen), rows


def _of_chosen(values, chosen):
  """Values [b p ...] of the chosen prototypes [b t]."""
  chosen = chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2))
  return jnp.take_along_axis(values, chosen, axis=1)


def _plus(total: Sums | None, by_device: Sums, device: int) -> Sums:
  one = Sums(*(np.asarray(x[device], np.float64) for x in by_device))
  return one if total is None else Sums(*map(np.add, total, one))


def _cut(found: PyTree) -> Rows:
  valid = found["valid"].astype(bool)
  names = ("index", "label", "similarity", "logits", "prototypes", "silent")
  found = {
    name: jax.tree.map(lambda x: x[valid], found.get(name))
    for name in (*names, "score", "top", "all_scores", "embedded")
  }
  return Rows(
    found["index"],
    found["label"],
    found["similarity"],
    found["logits"],
    found["prototypes"],
    found["silent"],
    found["top"].similarity,
    found["score"],
    found["top"].place,
    found["top"].delta,
    found["all_scores"],
    found["embedded"],
  )

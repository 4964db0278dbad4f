"""Overviews: scores, histograms, redundancy and samples of a whole split.

`prototypical` yields one `Overview` for every sweep over a data set.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax.explain import agreement, reference_mode, sanity, statistics
from protojax.explain import redundancy as redundancy_lib
from protojax.explain.context import Context
from protojax.explain.evidence import Histogram, Overview, Redundancy, Sample
from protojax.explain.redundancy import Correlation
from protojax.explain.sweep import Totals
from protojax.explain.totals import Scores
from protojax.modify import modification
from protojax.prototypes import head
from protojax.prototypes.bank import with_bank
from protojax.types import State

Evaluate = Callable[[State], float]

_SAMPLES = 3
# Most prototypes that are compared in pairs; more do not fit in memory.
_MOST_COMPARED = 5000


def overview(
  context: Context, totals: Totals, redundant: Redundancy | None
) -> Overview:
  """The overview of a sweep."""
  names = context.preset.names
  return Overview(
    split=context.split,
    images=totals.all.images,
    modifications=names,
    alive=context.bank.alive,
    scores=totals.all,
    without_own=totals.without_own if context.split == "train" else None,
    local={
      name: Histogram(totals.edges, row)
      for name, row in zip(names, totals.counts, strict=True)
    },
    samples=_samples(context),
    redundancy=redundant,
    alerts=sanity.check(context),
  )


def correlation(context: Context) -> Correlation | None:
  """An empty correlation of the living prototypes; None for too many."""
  alive = int(context.bank.alive.sum())
  return Correlation(alive) if alive <= _MOST_COMPARED else None


def redundancy(
  context: Context, totals: Totals, correlation: Correlation, evaluate: Evaluate
) -> Redundancy:
  """Groups of redundant prototypes, and the accuracy with one of each.

  Args:
    context: the model and the images.
    totals: of the same sweep as the correlation.
    correlation: of the similarities of the living prototypes.
    evaluate: state -> accuracy.
  """
  state, bank, names = context.state, context.bank, context.preset.names
  alive = np.flatnonzero(bank.alive)
  counted = [
    names.index(name) for name in modification.CHARACTERISTICS if name in names
  ]
  groups = redundancy_lib.groups(
    numbers=alive,
    class_of=bank.class_of[alive],
    image=bank.provenance.image[alive],
    cell=bank.provenance.cell[alive],
    prototypes=bank.vectors[alive].reshape(len(alive), -1),
    correlation=correlation.matrix(),
    importance=totals.all.importance[counted][:, alive],
  )
  before = evaluate(state)
  if not groups:
    return Redundancy(groups, before, before)
  weight, left = redundancy_lib.merge(context.weights, bank.alive, groups)
  params = {
    **state.params,
    "head": head.with_weights(state.params["head"], weight),
  }
  merged = with_bank(state.replace(params=params), bank.replace(alive=left))
  return Redundancy(groups, before, evaluate(merged))


def statistics_rows(overviews: Mapping[str, Overview]) -> list[dict[str, Any]]:
  """Statistics of each split, and of each earlier split against the last.

  Scores over training images come twice: with the image that each prototype
  was pushed to, which has the largest weight, and without it.
  """
  if not overviews:
    return []
  splits = {}
  for split, one in overviews.items():
    splits[split] = _of_living(one, one.scores)
    if one.without_own is not None:
      splits[f"{split} without source"] = _of_living(one, one.without_own)
  rows = []
  for name, split in splits.items():
    rows += statistics.rows(name, statistics.summarise(split))
  *first, last = splits
  for name in first if len(overviews) > 1 else ():
    pair = splits[name], splits[last]
    compared = [*agreement.compare(*pair), agreement.overall(*pair)]
    rows += statistics.rows(f"{name} against {last}", compared)
  return rows


def _of_living(one: Overview, scores: Scores) -> statistics.SplitScores:
  """The scores of the living prototypes."""
  return statistics.SplitScores(
    one.modifications,
    np.flatnonzero(one.alive),
    scores.importance[:, one.alive],
    scores.similarity[one.alive],
    scores.replicates[:, :, one.alive],
  )


def partners(found: Redundancy) -> dict[int, tuple[int, ...]]:
  """Prototype -> the others of its group."""
  return {
    j: tuple(other for other in group.prototypes if other != j)
    for group in found.groups
    for j in group.prototypes
  }


def _samples(context: Context) -> tuple[Sample, ...]:
  """A few images, evenly over the stream, with their modified copies."""
  stream = context.stream
  count = min(_SAMPLES, len(stream))
  chosen = np.linspace(0, len(stream) - 1, count).round().astype(int).tolist()
  names = [m.name for m in context.preset.modifications]
  return tuple(
    Sample(
      stream.source.name(index),
      dict(zip(names, _modified(context, index), strict=True)),
    )
    for index in chosen
  )


def _modified(
  context: Context, index: int
) -> UInt8[np.ndarray, "m size size 3"]:
  """An image under each modification, at the size of the network's input."""
  stream, preset = context.stream, context.preset
  if preset.mode == "fast":
    image = stream.examples([index])["image"]
    modified = [modification.modify(image, m) for m in preset.modifications]
    return np.concatenate([np.asarray(x) for x in modified])
  image = stream.source[index]["image"]
  _, rows = modification.stacked(preset.modifications)
  return reference_mode.copies(
    image, preset, stream.image_size, stream.resizing
  )[list(rows)]

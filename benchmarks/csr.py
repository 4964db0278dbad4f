"""CSR against its ablations and a bottleneck, and what corrections do.

python benchmarks/csr.py classify
python benchmarks/csr.py point
python benchmarks/csr.py look
python benchmarks/csr.py reject
python benchmarks/csr.py cells --root=DIR

On the composites, whose tag lies in training and tells nothing in the test:
how well classes are told, before and after a person covers the tag; how often
concepts point right; what boxes do where the model is unsure; what rejecting
concepts does that fire where they are not. On blood cells: pointing, and what
happens when what was seen is covered. Each prints a Markdown table of means and
deviations over the seeds; --json=FILE writes the same rows.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
import sys
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import csr_runs, harness
from benchmarks.csr_runs import Bottleneck, Trained, centre, padded
from configs import csr_bccd, csr_composites
from protojax.data.places import holds
from protojax.metrics import concept_scores as metrics
from protojax.prototypes import distance
from protojax.prototypes.bank import bank_of
from protojax.types import State

Figures = Mapping[str, Mapping[str, float]]
# The paper asks a person where the two best classes are so near (section 6).
_UNSURE = 0.3


def classify(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Observable a: how well classes are told where the tag misleads."""

  def measure(seed: int) -> Figures:
    trained = csr_runs.trained(_composites(args, seed))
    told, _ = Bottleneck(trained).figures(trained)
    covered = trained.importance(lambda i: (padded([]), _tag(trained, i)))
    refined, _ = trained.refined()
    return {
      "bottleneck": told,
      "CSR": trained.told(trained.answers().logits),
      "CSR, tag covered": trained.told(trained.answers(covered).logits),
      "CSR refined": trained.told(trained.answers(state=refined).logits),
    }

  return harness.over_seeds(args.seeds, measure)


def point(args: argparse.Namespace) -> list[harness.Row]:
  """Observables b and e: how often the best cell lies on the concept."""

  def measure(seed: int) -> Figures:
    trained = csr_runs.trained(_composites(args, seed))
    told, maps = Bottleneck(trained).figures(trained)
    refined, count = trained.refined()
    rows = {
      "chance": {"pointing": _chance(trained)},
      "bottleneck's maps": {"pointing": maps, **told},
      "CSR": _points(trained, trained.state),
      "CSR refined": _points(trained, refined),
    }
    rows["CSR"] |= {"removed": 0.0, **_single(trained)}
    rows["CSR refined"] |= {"removed": float(count)}
    return rows

  return _filled(harness.over_seeds(args.seeds, measure))


def _filled(rows: Iterator[harness.Row]) -> list[harness.Row]:
  """The rows, each with all columns; what one has not is empty."""
  found = list(rows)
  names = dict.fromkeys(name for row in found for name in row)
  return [{name: row.get(name, "") for name in names} for row in found]


def _points(trained: Trained, state: State) -> dict[str, float]:
  found = trained.answers(state=state)
  maps = found.maps.reshape(len(found.maps), -1, found.maps.shape[-1])
  grid = trained.network.grid
  hits = metrics.pointing(trained.source, maps.argmax(axis=1), grid)
  return {"pointing": hits, **trained.told(found.logits)}


def _chance(trained: Trained) -> float:
  """Pointing of a cell drawn at random."""
  rows, columns = trained.network.grid
  hits = [
    holds(trained.source.places(i).of(c), *centre(cell, trained.network))
    for i, c in np.argwhere(trained.present)
    for cell in range(rows * columns)
  ]
  return float(np.mean(hits))


def _single(trained: Trained) -> dict[str, float]:
  """Pointing of every prototype by itself, and of its image's raw vector.

  The raw one is the concept's vector of the training image that the atlas
  shows for the prototype, compared before the projector.
  """
  network, state = trained.network, trained.state
  train = trained.rows("train")
  make = jax.jit(lambda x: network.vector_rows(state, {"features": x}))
  vectors = np.asarray(make(train)["vectors"])
  class_of = np.asarray(bank_of(state).class_of)
  raw = vectors[bank_of(state).provenance.image, class_of]
  own = np.asarray(bank_of(state).vectors)[:, 0, 0]
  rates = {}
  for name, directions, cells in (
    ("by prototype", own, trained.embedded),
    ("by raw vector", raw, trained.features),
  ):
    directions, cells = map(distance.direction, (directions, cells))
    similar = np.einsum("nhwd,pd->nhwp", cells, directions, optimize=True)
    best = similar.reshape(len(similar), -1, len(own)).argmax(axis=1)
    rates[name] = float(
      np.mean(
        [
          metrics.pointing(trained.source, best[:, members], network.grid)
          for members in class_of.argsort(kind="stable")
          .reshape(len(network.concept_names), -1)
          .T
        ]
      )
    )
  return rates


def look(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Observable c: boxes drawn where the model is unsure."""

  def measure(seed: int) -> Figures:
    trained = csr_runs.trained(_composites(args, seed))
    plain = trained.answers()
    unsure = _margin(plain.logits) < _UNSURE
    rng = np.random.default_rng(seed)

    def places(i: int) -> list[np.ndarray]:
      return list(trained.source.places(i).boxes)

    def true(i: int) -> np.ndarray:
      return padded(places(i))

    def moved(i: int) -> np.ndarray:
      return padded(
        [_elsewhere(b, rng) for b in trained.source.places(i).boxes]
      )

    def tag(i: int) -> np.ndarray:
      return _tag(trained, i)

    def untrue(i: int) -> np.ndarray:
      box = trained.source.tag(i)
      return padded([] if box is None else [_elsewhere(box, rng)])

    none = padded([])
    drawn = {
      "nothing": lambda i: (none, none),
      "positive on the concepts": lambda i: (true(i), none),
      "positive at random": lambda i: (moved(i), none),
      "negative on the tag": lambda i: (none, tag(i)),
      "negative at random": lambda i: (none, untrue(i)),
      "both": lambda i: (true(i), tag(i)),
    }
    found = {}
    for name, boxes in drawn.items():
      logits = trained.answers(trained.importance(boxes)).logits
      unsure_told = trained.told(logits, unsure)
      found[name] = {
        "macro_f1, unsure": unsure_told["macro_f1"],
        "macro_f1, all": trained.told(logits)["macro_f1"],
        "unsure": float(unsure.mean()),
      }
    return found

  return harness.over_seeds(args.seeds, measure)


def reject(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Observable d: rejecting the concepts that fire where they are not."""

  def measure(seed: int) -> Figures:
    found = {}
    run = csr_runs.trained(_composites(args, seed))
    for rule in ("zero", "absent_mean"):
      for dropout in (0.0, 0.2):
        changes = {"reject": rule, "task.concept_dropout": dropout}
        trained = run.with_task(**changes)
        logits = trained.network.concept_logits(
          trained.state.params, trained.features
        )
        false = (np.asarray(logits) > 0) & ~trained.present
        before = trained.answers().logits
        after = trained.answers(rejected=false).logits
        labels = trained.source.labels
        was, now = (x.argmax(axis=1) == labels for x in (before, after))
        found[f"{rule}, dropout {dropout}"] = {
          "macro_f1 before": trained.told(before)["macro_f1"],
          "macro_f1 after": trained.told(after)["macro_f1"],
          "fixed": float(np.sum(now & ~was)),
          "broke": float(np.sum(was & ~now)),
          "images": float(np.sum(false.any(axis=1))),
        }
    return found

  return harness.over_seeds(args.seeds, measure)


def cells(args: argparse.Namespace) -> list[harness.Row]:
  """Blood cells: pointing, and the answer once what was seen is covered."""

  def measure(seed: int) -> Figures:
    changes = {"data.root": args.root}
    config = harness.changed(csr_bccd, args.variants, seed, changes)
    trained = csr_runs.trained(config)
    told, maps = Bottleneck(trained).figures(trained)
    found, rng = trained.answers(), np.random.default_rng(seed)
    right = found.logits.argmax(axis=1) == trained.source.labels
    rows = {
      "CSR": {**_points(trained, trained.state), "chance": _chance(trained)},
      "bottleneck": {"pointing": maps, **told},
    }
    for concept, name in enumerate(trained.network.concept_names):
      rows[f"{name} covered"] = _covered(trained, found, right, concept, rng)
    return rows

  return _filled(harness.over_seeds(args.seeds, measure))


def _covered(
  trained: Trained,
  found: Any,
  right: np.ndarray,
  concept: int,
  rng: np.random.Generator,
) -> dict[str, float]:
  """What is said of the images of a concept's class that are told rightly.

  Once its boxes are covered, and once equal ones are that lie at random.
  """
  name = trained.network.concept_names[concept]
  label = trained.network.class_names.index(name)
  rows = np.flatnonzero(right & (trained.source.labels == label))

  def boxes(i: int, moved: bool) -> np.ndarray:
    own = trained.source.places(i).of(concept)
    rows = [_elsewhere(b, rng) if moved else b for b in own]
    return np.pad(np.reshape(rows, (-1, 4)), ((0, 32 - len(rows)), (0, 0)))

  figures: dict[str, float] = {}
  for where, moved in (("there", False), ("elsewhere", True)):
    maps = trained.importance(lambda i, m=moved: (padded([]), boxes(i, m)))
    after = trained.answers(maps).logits
    changed = after[rows].argmax(axis=1) != label
    shift = _share(after)[rows, label] - _share(found.logits)[rows, label]
    figures |= {
      f"changed, {where}": float(changed.mean()),
      f"probability, {where}": float(shift.mean()),
    }
  return {**figures, "images": float(len(rows))}


def _elsewhere(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """A box of the same size at a random place."""
  height, width = box[2] - box[0], box[3] - box[1]
  top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
  return np.array([top, left, top + height, left + width])


def _tag(trained: Trained, i: int) -> np.ndarray:
  box = trained.source.tag(i)
  return padded([] if box is None else [box])


def _share(logits: np.ndarray) -> np.ndarray:
  return np.asarray(jax.nn.softmax(logits))


def _margin(logits: np.ndarray) -> np.ndarray:
  """How far apart the probabilities of the two best classes are."""
  ranked = np.sort(_share(logits), axis=1)
  return ranked[:, -1] - ranked[:, -2]


def _composites(args: argparse.Namespace, seed: int) -> ConfigDict:
  return harness.changed(csr_composites, args.variants, seed, {})


if __name__ == "__main__":
  harness.main(
    __doc__,
    {
      "classify": classify,
      "point": point,
      "look": look,
      "reject": reject,
      "cells": cells,
    },
    root="blood cells (images/ and boxes.csv), for cells",
  )

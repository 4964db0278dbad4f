"""Tests explanations on data whose labels have a known cause.

For each of five embedded data sets whose labels have one cause
(protojax.datasets.planted) a model is trained, and its prototypes are explained
over held-out images. The result is the share of the importance of each
characteristic. It should be the largest where the characteristic is the cause.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
import statistics
from typing import Any

import jax
from jaxtyping import Float
from ml_collections import ConfigDict
import numpy as np

from protojax import loading
from protojax.evaluation import recipes
from protojax.explain.sweep import Totals, sweep
from protojax.modify import presets
from protojax.modify.modification import CHARACTERISTICS, Modification
from protojax.modify.presets import Preset
from protojax.prototypes.explainable import Explainable
from protojax.types import State, UserError

# The first decides the verdict.
PRESETS = (presets.BALANCED, presets.REFERENCE)
# Number of explained images of each split.
IMAGES = 250
# Values that explanations must reach.
FIRST = 0.8
CORRELATION = 0.85

# Figures of a model: the share of each characteristic; the share of prototypes
# that have the cause first; the accuracy; the correlation of global scores over
# training images, all or without each prototype's own, with those over test
# images.
FIGURES = (
  "shares",
  "first",
  "accuracy",
  "train_test_correlation",
  "others_test_correlation",
)


def chosen(only: str) -> list[str]:
  """The characteristics of a list with commas, in their order; '': all.

  Raises:
    UserError: one does not exist.
  """
  names = [
    name.strip() for name in (only or ",".join(CHARACTERISTICS)).split(",")
  ]
  unknown = [name for name in names if name not in CHARACTERISTICS]
  if unknown:
    raise UserError(f"--only={only}: choose from {', '.join(CHARACTERISTICS)}")
  return [name for name in CHARACTERISTICS if name in names]


def config(method: str, name: str, seeds: int, debug: bool) -> ConfigDict:
  """The runs of a method on a planted characteristic.

  Raises:
    UserError: the method has no config for them.
  """
  variants = f"{name},debug" if debug else name
  return recipes.load(method, "planted", variants, {"seeds": seeds})


@dataclasses.dataclass(frozen=True)
class Measured:
  """The explanations of one run, as numbers.

  Attributes:
    accuracy: on the test images.
    scores: by preset and images: global scores of the living prototypes,
      columns as in `CHARACTERISTICS`. Images are "test", "train", and "others":
      the training images without the one in each prototype's provenance, where
      the similarity is steepest and one image may outweigh the rest.
    control: the largest score of the modification that changes nothing.
  """

  accuracy: float
  scores: Mapping[str, Mapping[str, Float[np.ndarray, "p c"]]]
  control: float


def measure(
  folder: Path, images: int = IMAGES, several: Sequence[Preset] = PRESETS
) -> Measured:
  """Explains a finished run over so many images of each split.

  Args:
    folder: of the run.
    images: of each split.
    several: the presets that it is explained with.
  """
  method, state, _ = loading.load(folder)
  model = recipes.explainable(method)
  preset = together(several)
  alive = np.asarray(model.bank(state).alive)
  train, test = (
    _totals(model, state, split, method.stream(split), preset, images)
    for split in ("train", "test")
  )
  found = {
    "train": train.all.importance[:, alive],
    "others": train.without_own.importance[:, alive],
    "test": test.all.importance[:, alive],
  }
  return Measured(
    method.evaluate(state, "test")["accuracy"],
    {
      one.name: {
        name: scores[_rows(one, preset)].T for name, scores in found.items()
      }
      for one in several
    },
    max(float(np.abs(scores[0]).max()) for scores in found.values()),
  )


def together(several: Sequence[Preset]) -> Preset:
  """One preset with the modifications of several, each once.

  They share most of them, so a sweep costs little more than for one preset.
  """
  each = {_name(m): m for preset in several for m in preset.modifications}
  return Preset(
    "+".join(preset.name for preset in several),
    tuple(dataclasses.replace(m, name=name) for name, m in each.items()),
    sides=tuple(
      (f"{preset.name} {name}", tuple(_name(m) for m in _of_sides(preset, of)))
      for preset in several
      for name, of in preset.sides
    ),
  )


def _of_sides(preset: Preset, names: Sequence[str]) -> list[Modification]:
  """The modifications of these names."""
  return [m for m in preset.modifications if m.name in names]


def _name(modification: Modification) -> str:
  return " ".join(map(str, (modification.change, *modification.strengths)))


def _rows(preset: Preset, joint: Preset) -> list[int]:
  """Positions of a preset's characteristics in the preset of `together`."""
  of = {m.name: _name(m) for m in preset.modifications}
  of |= {name: f"{preset.name} {name}" for name, _ in preset.sides}
  return [joint.names.index(of[name]) for name in CHARACTERISTICS]


def _totals(
  model: Explainable,
  state: State,
  split: str,
  stream: Any,
  preset: Preset,
  images: int,
) -> Totals:
  """Global scores over so many images of a split."""
  own = np.asarray(model.bank(state).provenance.image)
  results = sweep(
    model,
    state,
    stream.spread(images),
    preset,
    provenance=own if split == "train" else np.full_like(own, -1),
    replicates=1,
  )
  (totals,) = (result for result in results if isinstance(result, Totals))
  return totals


def outcome(measured: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
  """The content of the JSON file.

  Args:
    measured: planted characteristic -> the measurements of its seeds.
  """
  balanced, reference = (table(measured, p.name) for p in PRESETS)
  by_seed = [
    {name: [one] for name, one in zip(measured, row, strict=True)}
    for row in zip(*measured.values(), strict=True)
  ]
  return {
    **balanced,
    "verdicts": verdicts(balanced),
    "reference": {**reference, "verdicts": verdicts(reference)},
    "seeds": {
      p.name: [table(of_seed, p.name) for of_seed in by_seed] for p in PRESETS
    },
    "control": max(m.control for row in measured.values() for m in row),
  }


def table(
  measured: Mapping[str, Sequence[Measured]], preset: str
) -> dict[str, dict[str, Any]]:
  """Name of a figure -> planted characteristic -> its mean over the seeds."""
  rows = {
    name: [_figures(name, one, preset) for one in of_seeds]
    for name, of_seeds in measured.items()
  }
  return {
    figure: {
      name: jax.tree.map(
        lambda *x: statistics.fmean(x), *[r[figure] for r in row]
      )
      for name, row in rows.items()
    }
    for figure in FIGURES
  }


def _figures(name: str, measured: Measured, preset: str) -> dict[str, Any]:
  """Figures of one run; a share is a mean score over the sum of all five."""
  scores = measured.scores[preset]
  test = scores["test"]
  means = test.mean(axis=0)
  shares = (means / means.sum()).tolist()
  best = np.argmax(test, axis=1) == CHARACTERISTICS.index(name)
  return {
    "shares": dict(zip(CHARACTERISTICS, shares, strict=True)),
    "first": float(best.mean()),
    "accuracy": measured.accuracy,
    "train_test_correlation": _correlation(scores["train"], test),
    "others_test_correlation": _correlation(scores["others"], test),
  }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
  return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def verdicts(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Whether the explanations are right.

  Args:
    found: figure -> planted characteristic -> its value, as from `table`.

  Returns:
    "columns": characteristic -> whether its share is largest where it is the
    cause; "rows": cause -> whether enough prototypes have it first;
    "correlations": cause -> whether train and test agree.
  """
  shares = found["shares"]
  return {
    "columns": {
      name: max(shares, key=lambda planted: shares[planted][name]) == name
      for name in shares
    },
    "rows": {name: value >= FIRST for name, value in found["first"].items()},
    "correlations": {
      name: value >= CORRELATION
      for name, value in found["train_test_correlation"].items()
    },
  }

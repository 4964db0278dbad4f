"""Tests explanations where it is known what they must say.

  python -m protojax evaluate --planted

trains a model on each of five embedded data sets whose labels have one cause
(protojax.data.planted), explains the prototypes over images held out, and
prints which share of the importance falls on each characteristic. Each should
have its largest share where it is the cause. The runs are those of

  python train.py --config=configs/protopnet_planted.py:CHARACTERISTIC

and go on where the command was interrupted. A JSON file holds "shares",
"first" (of the prototypes, those with the cause before all else), "accuracy"
and "train_test_correlation" of the preset "balanced", means over the seeds;
under "reference" the same of that preset, and under "seeds" every single one.
"""

import argparse
from collections.abc import Mapping, Sequence
import dataclasses
import importlib
from pathlib import Path
import statistics
from typing import Any

import jax
from jaxtyping import Float
from ml_collections import ConfigDict
import numpy as np
from rich.console import Console
from rich.table import Table

from protojax import loading, parallel, training
from protojax.explain import presets
from protojax.explain.perturb import CHARACTERISTICS, Modification
from protojax.explain.presets import Preset
from protojax.explain.sweep import Totals, sweep
from protojax.train import seeds, workdir
from protojax.types import State, UserError

_CONFIG = "configs.protopnet_planted"
# The first decides.
_PRESETS = (presets.BALANCED, presets.REFERENCE)
# Images explained of each split, and if all is shrunk.
_IMAGES, _FEW = 250, 16
# What explanations must reach.
FIRST = 0.8
CORRELATION = 0.85

# What is said of a model: the share of each characteristic, how many of the
# prototypes have the cause first, how good it is, and how far global scores
# over training images, all or without each prototype's own, agree with those
# over test images.
FIGURES = (
  "shares",
  "first",
  "accuracy",
  "train_test_correlation",
  "others_test_correlation",
)


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "--planted",
    action="store_true",
    required=True,
    help="test explanations on labels with a known cause",
  )
  parser.add_argument(
    "--seeds",
    default=3,
    type=int,
    metavar="N",
    help="seeds 0..N-1; 3 if not given",
  )
  parser.add_argument(
    "--only",
    default=",".join(CHARACTERISTICS),
    metavar="NAMES",
    help="some of the characteristics, with commas between them",
  )
  parser.add_argument(
    "--workdir",
    default="runs/planted",
    metavar="DIR",
    help="folder of the runs; runs/planted if not given",
  )
  parser.add_argument(
    "--json", default="", metavar="FILE", help="write the figures to FILE, too"
  )
  parser.add_argument(
    "--debug",
    action="store_true",
    help="shrink all to seconds, to see that it works",
  )


def run(args: argparse.Namespace) -> int:
  """Trains, explains, prints the table and the verdicts.

  Raises:
    UserError: no such characteristic, no config, or a folder with other runs.
  """
  parallel.setup()
  measured: dict[str, list[Measured]] = {}
  for name in _chosen(args.only):
    config = _config(name, args.seeds, args.debug)
    measured[name] = []
    for folder, of_seed in seeds.runs(
      Path(args.workdir) / name, config
    ).items():
      if status := training.train(folder, of_seed):
        return status
      measured[name].append(measure(folder, _FEW if args.debug else _IMAGES))
  content = outcome(measured)
  if args.json and parallel.is_primary():
    workdir.write_json(Path(args.json), content)
  if parallel.is_primary():
    show(content, Console())
  return 0


def _chosen(only: str) -> list[str]:
  names = [name.strip() for name in only.split(",")]
  unknown = [name for name in names if name not in CHARACTERISTICS]
  if unknown:
    raise UserError(f"--only={only}: choose from {', '.join(CHARACTERISTICS)}")
  return [name for name in CHARACTERISTICS if name in names]


def _config(name: str, count: int, debug: bool) -> ConfigDict:
  try:
    module = importlib.import_module(_CONFIG)
  except ModuleNotFoundError as error:
    raise UserError(
      "there is no configs/protopnet_planted.py here: run the command in the"
      " folder of protojax's repository"
    ) from error
  config = module.get_config(f"{name},debug" if debug else name).unlock()
  config.seeds = count
  return config.lock()


@dataclasses.dataclass(frozen=True)
class Measured:
  """What the explanations of one run say.

  Attributes:
    accuracy: on the test images.
    scores: by preset and images: global scores of the living prototypes,
      columns as in `CHARACTERISTICS`. Images are "test", "train", and "others":
      the training images without each prototype's own source, where the
      similarity is steepest and one image may outweigh the rest.
    control: the largest score of the modification that changes nothing.
  """

  accuracy: float
  scores: Mapping[str, Mapping[str, Float[np.ndarray, "p c"]]]
  control: float


def measure(folder: Path, images: int = _IMAGES) -> Measured:
  """Explains a finished run over so many images of each split."""
  method, state, _ = loading.load(folder)
  preset = together(_PRESETS)
  alive = np.asarray(state.buffers["alive"])
  train, test = (
    _totals(method, state, split, preset, images) for split in ("train", "test")
  )
  found = {
    "train": train.all.importance[:, alive],
    "others": train.others.importance[:, alive],
    "test": test.all.importance[:, alive],
  }
  return Measured(
    method.evaluate(state, method.stream("test"))["accuracy"],
    {
      one.name: {
        name: scores[_rows(one, preset)].T for name, scores in found.items()
      }
      for one in _PRESETS
    },
    max(float(np.abs(scores[0]).max()) for scores in found.values()),
  )


def together(parts: Sequence[Preset]) -> Preset:
  """The modifications of several presets, each once, named by what they do.

  Most are common to them, so that one sweep is little more than that of one.
  """
  each = {_name(m): m for part in parts for m in part.modifications}
  return Preset(
    "+".join(part.name for part in parts),
    tuple(dataclasses.replace(m, name=name) for name, m in each.items()),
  )


def _name(modification: Modification) -> str:
  return " ".join(map(str, (modification.change, *modification.strengths)))


def _rows(preset: Preset, whole: Preset) -> list[int]:
  """Where a preset's characteristics stand in what `together` made."""
  of = {m.name: whole.names.index(_name(m)) for m in preset.modifications}
  return [of[name] for name in CHARACTERISTICS]


def _totals(
  method: Any, state: State, split: str, preset: Preset, images: int
) -> Totals:
  """Global scores over so many images of a split."""
  source = np.asarray(state.buffers["provenance"].image)
  parts = sweep(
    method.network,
    state,
    method.stream(split).spread(images),
    preset,
    source=source if split == "train" else np.full_like(source, -1),
    replicates=1,
  )
  (totals,) = (part for part in parts if isinstance(part, Totals))
  return totals


def outcome(measured: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
  """What the JSON file holds: see the module's first lines.

  Args:
    measured: planted characteristic -> the measurements of its seeds.
  """
  balanced, reference = (table(measured, p.name) for p in _PRESETS)
  by_seed = [
    {name: [one] for name, one in zip(measured, row, strict=True)}
    for row in zip(*measured.values(), strict=True)
  ]
  return {
    **balanced,
    "verdicts": verdicts(balanced),
    "reference": {**reference, "verdicts": verdicts(reference)},
    "seeds": {
      p.name: [table(of_seed, p.name) for of_seed in by_seed] for p in _PRESETS
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
  """Of one run; a share is what a mean score is of the sum of all five."""
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
  """Whether the explanations say what they must.

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


def show(content: Mapping[str, Any], console: Console) -> None:
  """Prints the tables of both presets, the one that decides first."""
  for preset in _PRESETS:
    decides = preset is _PRESETS[0]
    _show(preset.name, content if decides else content[preset.name], console)
  console.print(
    "In bold the largest of a column: it should stand where row and column"
    f" meet. First: share of the prototypes with the cause before all else;"
    f" {FIRST} is asked for. r: of global scores over training images with"
    f" those over test images; {CORRELATION} is asked for. r*: without each"
    f" prototype's own image. Identity control: {content['control']:.2g}."
  )


def _show(title: str, found: Mapping[str, Any], console: Console) -> None:
  shares, told = found["shares"], found["verdicts"]
  names = list(next(iter(shares.values())))
  largest = {c: max(shares, key=lambda row: shares[row][c]) for c in names}
  columns = ("planted", *names, "first", "r", "r*", "right")
  rows = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0))
  for planted, row in shares.items():
    cells = [
      f"[bold]{row[c]:.2f}[/]" if largest[c] == planted else f"{row[c]:.2f}"
      for c in names
    ]
    marks = (
      f"{found[figure][planted]:.2f}{'' if told[verdict][planted] else ' (!)'}"
      for figure, verdict in (
        ("first", "rows"),
        ("train_test_correlation", "correlations"),
      )
    )
    others = f"{found['others_test_correlation'][planted]:.2f}"
    accuracy = f"{found['accuracy'][planted]:.1%}"
    rows.add_row(planted, *cells, *marks, others, accuracy)
  console.print(f"\nShare of the importance, preset {title}:", highlight=False)
  console.print(rows)

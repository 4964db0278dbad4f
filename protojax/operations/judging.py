"""Judging: trained runs, or methods that are trained first -> figures."""

import argparse
from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from protojax import datasets, parallel, printing
from protojax.console import Console
from protojax.engine import seeds, workdir
from protojax.evaluation import (
  compare,
  generated,
  known_causes,
  measure,
  printed_tables,
  recipes,
  robustness,
)
from protojax.metrics import generation_features
from protojax.operations.training import train
from protojax.types import UserError

# Images that are explained or judged with --debug.
_FEW = 16


def run(args: argparse.Namespace) -> int:
  """Trains if it has to, measures, and prints a table.

  Raises:
    UserError: there is no such method, characteristic, config or run, or the
      folder holds other runs.
  """
  parallel.setup()
  _require_used(args)
  try:
    content = _content(args)
  except compare.Stopped as stopped:
    return stopped.code
  if args.json and parallel.is_primary():
    workdir.write_json(Path(args.json), content)
  if parallel.is_primary():
    if args.planted:
      printed_tables.show_planted(content, Console())
    elif args.robustness:
      _say(printed_tables.robustness(content["robustness"]))
    elif args.generated:
      values = {"value": content["figures"]}
      _say(printed_tables.markdown(values, generated.FIGURES))
    else:
      _say(printed_tables.markdown(content["methods"]))
  return 0


def _require_used(args: argparse.Namespace) -> None:
  """Refuses what only figures of runs have, where others are asked for."""
  kinds = ("planted", "robustness", "generated")
  kind = next((name for name in kinds if getattr(args, name)), "")
  if kind and (args.by_branch or args.own_size or args.sanity):
    raise UserError(
      "--by-branch, --own-size and --sanity are for figures of --workdir and"
      f" --methods; --{kind} has none of them"
    )


def _say(table: str) -> None:
  printing.say("", *table.splitlines())


def _content(args: argparse.Namespace) -> Mapping[str, Any]:
  """What the JSON file holds."""
  if args.generated:
    return _compared(args)
  if args.real or args.weights:
    raise UserError(
      "--real and --weights are of --generated=PATH, which is not given: name"
      " the generated images"
    )
  if args.robustness:
    return _corrupted(args)
  return _planted(args) if args.planted else _judged(args)


def _corrupted(args: argparse.Namespace) -> Mapping[str, Any]:
  """Figures of one run on corrupted images."""
  if not args.workdir:
    raise UserError("--robustness needs a run to judge: give --workdir=DIR")
  return {"robustness": robustness.measure(Path(args.workdir))}


def _compared(args: argparse.Namespace) -> Mapping[str, Any]:
  """Figures of generated images."""
  if not args.real and not args.workdir:
    raise UserError(
      "--generated needs real images to compare with: give --workdir=RUN, whose"
      " data are taken, or --real=PATH"
    )
  name = args.backbone or generation_features.DEFAULT
  extractor = generation_features.load(name, args.weights, args.image_size)
  return generated.measure(
    args.generated, args.real, args.workdir, args.split, extractor
  )


def _judged(args: argparse.Namespace) -> Mapping[str, Any]:
  """Figures of one run, or of several methods, which are trained first."""
  judge = functools.partial(
    measure.measure,
    outliers=args.ood,
    images=min(args.images, _FEW) if args.debug else args.images,
    by_branch=args.by_branch,
    own_size=args.own_size,
    sanity=args.sanity,
  )
  # Such figures are not those of the same names without.
  asked = {"by_branch": args.by_branch, "own_size": args.own_size}
  asked = {name: True for name, given in asked.items() if given}
  if names := compare.chosen(args.methods):
    root = Path(args.workdir or "runs/compared")
    return compare.methods(_configs(names, args), root, judge) | asked
  if not args.workdir:
    raise UserError(
      "nothing to evaluate: give --workdir=DIR of a run, --methods=NAMES to"
      " train and compare some, or --planted"
    )
  return compare.one(Path(args.workdir), judge) | asked


def _configs(
  names: Sequence[str], args: argparse.Namespace
) -> dict[str, ConfigDict]:
  """Method -> its config, with the changes that were typed."""
  given = {
    "data.root": args.data,
    "data.image_size": args.image_size,
    "backbone.name": args.backbone,
  }
  changes = {"seeds": args.seeds} | {k: x for k, x in given.items() if x}
  variants = "debug" if args.debug else ""
  configs = {
    name: recipes.load(name, args.recipe, variants, changes) for name in names
  }
  data = [config.data for config in configs.values()]
  if any(datasets.in_folder(d.name) and not d.root for d in data):
    raise UserError(
      "--methods needs images to train on: give --data=DIR, or"
      " --recipe=composites for embedded ones"
    )
  return configs


def _planted(args: argparse.Namespace) -> Mapping[str, Any]:
  """Figures of models with a known cause, which are trained first."""
  root = Path(args.workdir or f"runs/planted/{args.method}")
  measured: dict[str, list[known_causes.Measured]] = {}
  for name in known_causes.chosen(args.only):
    config = known_causes.config(args.method, name, args.seeds, args.debug)
    measured[name] = []
    for folder, of_seed in seeds.runs(root / name, config).items():
      if code := train(folder, of_seed):
        raise compare.Stopped(code)
      images = _FEW if args.debug else known_causes.IMAGES
      measured[name].append(known_causes.measure(folder, images))
  return known_causes.outcome(measured)

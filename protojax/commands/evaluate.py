"""Judges models and their explanations, and compares methods.

  python -m protojax evaluate --workdir=DIR [--ood=DIR]

measures a trained run, or all seeds of one: how often it is right and how sure
it may be, how many prototypes a decision takes, and whether heat maps point at
what carries it. Where the data tell the place of the object or of its parts,
also whether prototypes lie on it, and stand for the same part.

  python -m protojax evaluate --methods=protopnet,st_protopnet --data=DIR

trains these methods on the same images (configs/METHOD_folder.py) with the
same seeds, goes on where it was interrupted, and prints one table, mean and
deviation over the seeds.

  python -m protojax evaluate --planted [--method=NAME]

asks explanations for what is known: a model is trained on each of five
embedded data sets whose labels have one cause, and its prototypes explained
over images held out. The share of the importance should be largest for the
cause. The runs are those of configs/METHOD_planted.py:CHARACTERISTIC.

With --json=FILE the figures are written, too: {"methods": {NAME: {METRIC:
{"mean", "std", "n", "left_out"}}}}, where left_out is the share of the cases in
which the metric is not defined; or, planted, "shares", "first" (of the
prototypes, those with the cause before all else), "accuracy" and
"train_test_correlation" of the preset "balanced", means over the seeds, under
"reference" the same of that preset, and under "seeds" every single one.
"""

import argparse
from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from protojax import parallel
from protojax.commands.train import train
from protojax.engine import seeds, workdir
from protojax.evaluation import compare, known_causes, measure, recipes, tables
from protojax.modify.perturb import CHARACTERISTICS
from protojax.types import UserError

# Images explained or judged if all is shrunk.
_FEW = 16


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  kind = parser.add_mutually_exclusive_group()
  kind.add_argument(
    "--planted",
    action="store_true",
    help="test explanations on labels with a known cause",
  )
  kind.add_argument(
    "--methods",
    default="",
    metavar="NAMES",
    help="train and compare these, with commas between them",
  )
  parser.add_argument(
    "--workdir",
    default="",
    metavar="DIR",
    help="the run to judge; with --planted or --methods the folder of the runs"
    " (runs/planted/METHOD, runs/compared)",
  )
  parser.add_argument(
    "--seeds",
    default=3,
    type=int,
    metavar="N",
    help="seeds 0..N-1; 3 if not given",
  )
  _of_judging(parser)
  _of_methods(parser)
  _of_planted(parser)
  parser.add_argument(
    "--json", default="", metavar="FILE", help="write the figures to FILE, too"
  )
  parser.add_argument(
    "--debug",
    action="store_true",
    help="shrink all to seconds, to see that it works",
  )


def _of_judging(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--ood",
    default="",
    metavar="DIR",
    help="images of none of the classes, which a model should not be sure of",
  )
  parser.add_argument(
    "--images",
    default=measure.IMAGES,
    type=int,
    metavar="N",
    help="judge the heat maps of N test images, evenly chosen;"
    f" {measure.IMAGES} if not given",
  )


def _of_methods(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--recipe",
    default="folder",
    metavar="NAME",
    help="train by configs/METHOD_NAME.py; folder if not given",
  )
  parser.add_argument(
    "--data",
    default="",
    metavar="DIR",
    help="the images: <class>/* or train/<class>/* and test/<class>/*",
  )
  parser.add_argument(
    "--backbone",
    default="",
    metavar="NAME",
    help="of all methods; that of the configs if not given",
  )
  parser.add_argument(
    "--image-size",
    default=0,
    type=int,
    metavar="PIXELS",
    help="side of the network's input; that of the configs if not given",
  )


def _of_planted(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--method",
    default="protopnet",
    metavar="NAME",
    help="the method whose explanations are tested; protopnet if not given",
  )
  parser.add_argument(
    "--only",
    default=",".join(CHARACTERISTICS),
    metavar="NAMES",
    help="some of the characteristics, with commas between them",
  )


def run(args: argparse.Namespace) -> int:
  """Trains what is asked for, measures, prints a table.

  Raises:
    UserError: no such method, characteristic, config or run, or a folder with
      other runs.
  """
  parallel.setup()
  try:
    content = _planted(args) if args.planted else _judged(args)
  except compare.Stopped as stopped:
    return stopped.code
  if args.json and parallel.is_primary():
    workdir.write_json(Path(args.json), content)
  if parallel.is_primary():
    if args.planted:
      tables.show_planted(content, Console())
    else:
      print(f"\n{tables.markdown(content['methods'])}")
  return 0


def _judged(args: argparse.Namespace) -> Mapping[str, Any]:
  """One run, or methods that are trained first."""
  judge = functools.partial(
    measure.measure,
    outliers=args.ood,
    images=min(args.images, _FEW) if args.debug else args.images,
  )
  if names := compare.chosen(args.methods):
    root = Path(args.workdir or "runs/compared")
    return compare.methods(_configs(names, args), root, judge)
  if not args.workdir:
    raise UserError(
      "nothing to evaluate: give --workdir=DIR of a run, --methods=NAMES to"
      " train and compare some, or --planted"
    )
  return compare.one(Path(args.workdir), judge)


def _configs(
  names: Sequence[str], args: argparse.Namespace
) -> dict[str, ConfigDict]:
  """Method -> its config, as the flags have it."""
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
  if any(c.data.name == "folder" and not c.data.root for c in configs.values()):
    raise UserError(
      "--methods needs images to train on: give --data=DIR, or"
      " --recipe=composites for embedded ones"
    )
  return configs


def _planted(args: argparse.Namespace) -> Mapping[str, Any]:
  """Models of known causes, trained first."""
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

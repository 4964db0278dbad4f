"""Judges models and their explanations, and compares methods.

  python -m protojax evaluate --workdir=DIR [--ood=DIR]

measures a trained run, or all seeds of one: how often it is right, whether its
probabilities can be trusted, how many prototypes a decision needs, and whether
heat maps show the pixels that the decision depends on. If the data say where
the object and its parts are, it also measures whether prototypes lie on the
object and always show the same part.

  python -m protojax evaluate --methods=protopnet,st_protopnet --data=DIR

trains these methods on the same images (configs/METHOD_folder.py) with the
same seeds, and prints one table with means and deviations over the seeds. If it
was interrupted, the same command continues.

  python -m protojax evaluate --planted [--method=NAME]

tests explanations where the right answer is known. There are five embedded data
sets; in each of them a single characteristic decides the label. A model is
trained on each, by configs/METHOD_planted.py:CHARACTERISTIC, and its prototypes
are explained over images that it was not trained on. The characteristic that
decides should have the largest share of the importance.

--json=FILE also writes the figures, {"methods": {NAME: {METRIC: {"mean", "std",
"n", "left_out"}}}}. left_out is the share of cases for which the metric is not
defined. With --by-branch or --own-size it also has "by_branch" or "own_size":
true. With --planted it writes "shares", "first" (the share of prototypes for
which the deciding characteristic comes first), "accuracy" and
"train_test_correlation". They are means over the seeds, for the preset
"balanced"; "reference" holds those for the preset "reference", and "seeds" the
figures of each seed.
"""

import argparse
from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from protojax import cli, datasets, parallel, printing, ranges
from protojax.commands.train import train
from protojax.console import Console
from protojax.engine import seeds, workdir
from protojax.evaluation import (
  compare,
  known_causes,
  measure,
  printed_tables,
  recipes,
)
from protojax.modify.modification import CHARACTERISTICS
from protojax.types import UserError

# Images that are explained or judged with --debug.
_FEW = 16


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  kind = parser.add_mutually_exclusive_group()
  kind.add_argument(
    "--planted",
    action="store_true",
    help="test explanations on data in which the cause of the label is known",
  )
  kind.add_argument(
    "--methods",
    default="",
    metavar="NAMES",
    help="train and compare these methods, with commas in between; your own by"
    " the name of its module",
  )
  parser.add_argument(
    "--workdir",
    default="",
    type=cli.path,
    metavar="DIR",
    help="the run to judge. With --planted or --methods: the folder for the"
    " runs, by default runs/planted/METHOD or runs/compared",
  )
  parser.add_argument(
    "--seeds",
    default=3,
    type=cli.whole_number(1, 10_000),
    metavar="N",
    help="train with the seeds 0 to N-1; 3 seeds by default",
  )
  _of_judging(parser)
  _of_methods(parser)
  _of_planted(parser)
  parser.add_argument(
    "--json",
    default="",
    type=cli.path,
    metavar="FILE",
    help="also write the figures to FILE",
  )
  parser.add_argument(
    "--debug",
    action="store_true",
    help="make everything small, to see in seconds that it works",
  )


def _of_judging(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--ood",
    default="",
    type=cli.path,
    metavar="DIR",
    help="images that belong to no class; the model should be unsure of them",
  )
  parser.add_argument(
    "--images",
    default=measure.IMAGES,
    type=cli.whole_number(1),
    metavar="N",
    help="judge the heat maps of N test images, evenly chosen;"
    f" {measure.IMAGES} by default",
  )

  parser.add_argument(
    "--by-branch",
    action="store_true",
    help="deletion and insertion by the mean of the probabilities of each"
    " branch, as in ST-ProtoPNet's code; by default by those that predict"
    " gives. The same for methods of one branch",
  )
  parser.add_argument(
    "--own-size",
    action="store_true",
    help="compare heat with objects at the size of each image, as in"
    " ST-ProtoPNet's code; by default at that of the network's input",
  )


def _of_methods(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--recipe",
    default="folder",
    metavar="NAME",
    help="use configs/METHOD_NAME.py, or config_NAME.py beside the module of"
    " your own method; folder by default",
  )
  parser.add_argument(
    "--data",
    default="",
    type=cli.path,
    metavar="DIR",
    help="the images: <class>/* or train/<class>/* and test/<class>/*",
  )
  parser.add_argument(
    "--backbone",
    default="",
    metavar="NAME",
    help="backbone of all methods; by default the one in each config",
  )
  parser.add_argument(
    "--image-size",
    default=0,
    type=cli.whole_number(1, int(ranges.SIDE.high)),
    metavar="PIXELS",
    help="side of the network's input; by default the one in each config",
  )


def _of_planted(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--method",
    default="protopnet",
    metavar="NAME",
    help="the method whose explanations are tested; protopnet by default",
  )
  parser.add_argument(
    "--only",
    default=",".join(CHARACTERISTICS),
    metavar="NAMES",
    help="test only these characteristics, with commas in between",
  )


def run(args: argparse.Namespace) -> int:
  """Trains if it has to, measures, and prints a table.

  Raises:
    UserError: there is no such method, characteristic, config or run, or the
      folder holds other runs.
  """
  parallel.setup()
  if args.planted and (args.by_branch or args.own_size):
    raise UserError(
      "--by-branch and --own-size change figures of --workdir and --methods;"
      " --planted has none of them"
    )
  try:
    content = _planted(args) if args.planted else _judged(args)
  except compare.Stopped as stopped:
    return stopped.code
  if args.json and parallel.is_primary():
    workdir.write_json(Path(args.json), content)
  if parallel.is_primary():
    if args.planted:
      printed_tables.show_planted(content, Console())
    else:
      table = printed_tables.markdown(content["methods"])
      printing.say("", *table.splitlines())
  return 0


def _judged(args: argparse.Namespace) -> Mapping[str, Any]:
  """Figures of one run, or of several methods, which are trained first."""
  judge = functools.partial(
    measure.measure,
    outliers=args.ood,
    images=min(args.images, _FEW) if args.debug else args.images,
    by_branch=args.by_branch,
    own_size=args.own_size,
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

"""Judges models and their explanations, and compares methods.

  python -m protojax evaluate --workdir=DIR [--ood=DIR]

measures a trained run, or all seeds of one: how often it is right, whether its
probabilities can be trusted, how many prototypes a decision needs, and whether
heat maps show the pixels that the decision depends on. If the data say where
the object and its parts are, it also measures whether prototypes lie on the
object and always show the same part. Of a run that gives each pixel a class it
measures IoU, and how many prototypes the classes rest on.

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

  python -m protojax evaluate --generated=DIR --workdir=RUN

compares generated images, such as those that `sample` wrote, with the images of
the run's data, or with --real=DIR2 with others: Frechet and kernel distance,
precision and recall of the features of a backbone, Inception score.

  python -m protojax evaluate --robustness --workdir=DIR

measures a classifier on its test images after JPEG, blur, resizing and noise of
several strengths, at the size of the network's input.

--json=FILE also writes the figures, {"methods": {NAME: {METRIC: {"mean", "std",
"n", "left_out"}}}}. left_out is the share of cases for which the metric is not
defined. With --by-branch or --own-size it also has "by_branch" or "own_size":
true. With --planted it writes "shares", "first" (the share of prototypes for
which the deciding characteristic comes first), "accuracy" and
"train_test_correlation". They are means over the seeds, for the preset
"balanced"; "reference" holds those for the preset "reference", and "seeds" the
figures of each seed. With --generated it is {"generated", "real", "features",
"image_size", "counts", "figures": {METRIC: {"mean", "std", "n"}}}; std is over
n parts of the images. With --robustness it is {"robustness": {CORRUPTION:
{STRENGTH: {"accuracy", "ap"}}}}; "ap" is there for two classes.
"""

import argparse

from protojax import cli
from protojax.ranges import SIDE

# `measure.IMAGES`, which takes long to import.
_IMAGES = 100


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
  kind.add_argument(
    "--generated",
    default="",
    type=cli.path,
    metavar="PATH",
    help="compare these images with real ones: a folder, that of `sample` or"
    " any other, or an npz with arr_0 [N H W 3]",
  )
  kind.add_argument(
    "--robustness",
    action="store_true",
    help="judge the classifier of --workdir on corrupted test images",
  )
  parser.add_argument(
    "--workdir",
    default="",
    type=cli.path,
    metavar="DIR",
    help="the run to judge. With --generated: the run whose data are the real"
    " images. With --planted or --methods: the folder for the runs, by default"
    " runs/planted/METHOD or runs/compared",
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
  _of_generated(parser)
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
    default=_IMAGES,
    type=cli.whole_number(1),
    metavar="N",
    help="judge the heat maps of N test images, evenly chosen;"
    f" {_IMAGES} by default",
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
  parser.add_argument(
    "--sanity",
    action="store_true",
    help="also check heat maps of classes: max-sensitivity, ROAD, and likeness"
    " to the map of the same network with random parameters (MPRT)",
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
    help="backbone of all methods; by default the one in each config. With"
    " --generated: of the features; efficientnet_lite0_head by default",
  )
  parser.add_argument(
    "--image-size",
    default=0,
    type=cli.whole_number(1, int(SIDE.high)),
    metavar="PIXELS",
    help="side of the network's input; by default the one in each config, and"
    " with --generated the one that its weights were trained at",
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
    default="",
    metavar="NAMES",
    help="test only these characteristics, with commas in between; all by"
    " default",
  )


def _of_generated(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--real",
    default="",
    type=cli.path,
    metavar="PATH",
    help="the real images: as --generated, or an npz with their mu and sigma;"
    " by default those of the data of --workdir",
  )
  parser.add_argument(
    "--split",
    default="train",
    choices=["train", "validation", "test"],
    help="of the data of --workdir; train by default",
  )
  parser.add_argument(
    "--weights",
    default="",
    type=cli.at_home,
    metavar="WEIGHTS",
    help="of the backbone of the features; for --backbone=inception_v3_fid the"
    " file pt_inception-2015-12-05",
  )


def run(args: argparse.Namespace) -> int:
  """Trains if it has to, measures, and prints a table."""
  return cli.operation("judging").run(args)

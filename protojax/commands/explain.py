"""Explains a trained run: checkpoint -> explanations -> report.

  python explain.py
  python explain.py --workdir=DIR --scope=global --split=train
  python explain.py --images='holiday/*.jpg'
  python explain.py --preset=reference --format=html,csv,json

Says which of hue, shape, texture, contrast and saturation makes images look
like the prototypes, or anomalous. Writes WORKDIR/explanations/report.html and
tables. `python -m protojax explain` is the same command.
"""

import argparse

from protojax import cli

# `heat.maps.ATTRIBUTIONS`, which takes long to import.
_HEATS = (
  "upsampling",
  "receptive_field",
  "saliency",
  "smoothgrad",
  "integrated_gradients",
  "occlusion",
  "grad_cam",
  "prp",
)


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  _of_images(parser)
  _of_explanations(parser)
  parser.add_argument(
    "--format",
    default="html,csv",
    type=_names,
    metavar="NAMES",
    help="what to write, with commas in between; html,csv by default. html: the"
    " report; csv: tables; json: everything, line by line; npz: all scores of"
    " all images; png: pictures",
  )
  parser.add_argument(
    "--allow-stale",
    action="store_true",
    help="explain prototypes even if they have moved since the push",
  )
  parser.add_argument(
    "--distributed",
    action="store_true",
    help="this process is one of several that explain together",
  )


def _of_images(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--scope",
    default="both",
    choices=["local", "global", "both"],
    help="explain images (local), prototypes (global) or both, the default",
  )
  parser.add_argument(
    "--split",
    default="both",
    choices=["train", "test", "both"],
    help="the images to use. With both, the default, prototypes are explained"
    " once over the training images and once over the test images, and only"
    " test images are explained one by one",
  )
  parser.add_argument(
    "--images",
    default="",
    type=cli.path,
    metavar="PATH",
    help="explain images of your own instead: a file, a folder or a pattern",
  )
  parser.add_argument(
    "--limit",
    type=cli.whole_number(1),
    metavar="N",
    help="use at most N images of a split, evenly chosen; all by default",
  )


def _of_explanations(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--preset",
    default="two_sided",
    type=cli.at_home,
    metavar="NAME",
    help="what is modified and how strongly: two_sided (the default: every"
    " characteristic in two directions), reference (as the paper), balanced,"
    " v1, a JSON file of your own, or one characteristic at several strengths,"
    " such as contrast=0.2,0.45,0.7",
  )
  parser.add_argument(
    "--mode",
    default="fast",
    choices=["fast", "reference"],
    help="fast, the default: modify images at the size of the network's input."
    " reference: modify them at their own size and resize them afterwards, as"
    " the paper's code does",
  )
  parser.add_argument(
    "--codec",
    default="none",
    choices=["none", "reference"],
    help="reference: with --mode=reference, save images as JPEG and read them"
    " again, as the paper's code does; none by default",
  )
  parser.add_argument(
    "--heat",
    default="upsampling",
    choices=_HEATS,
    help="what heat maps show: the similarity map (upsampling, the default),"
    " what a cell can see (receptive_field), gradients (saliency, smoothgrad)"
    " or relevance (prp)",
  )


def _names(text: str) -> list[str]:
  names = list(filter(None, map(str.strip, text.split(","))))
  if not names:
    raise argparse.ArgumentTypeError("nothing would be written: name a format")
  return list(dict.fromkeys(names))


def run(args: argparse.Namespace) -> int:
  """Explains a run; writes WORKDIR/explanations."""
  return cli.operation("explaining").run(args)

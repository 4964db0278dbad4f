"""Draws labelled images anew in other conditions, and keeps their objects.

  python -m protojax generate --workdir=RUN --images=DIR --labels=DIR \\
    --condition=snow,fog,night --output=DIR

RUN is a text-to-image model that can be steered; --model=DIR2 takes a Stable
Diffusion in its place, in a folder of diffusers. Each image is turned into
noise and drawn again by a text with the condition. Objects in the boxes of the
labels are held by self-prototypes of the image, and by the boxes themselves
(DriveGEN, CVPR 2025), so that the labels fit the new image, too. Nothing is
trained.

Images and labels are as in KITTI: IMAGES/000300.png and LABELS/000300.txt, a
line of 15 columns for each object. OUTPUT has the same for each condition, as
in OUTPUT/snow/image_2/000300.png; labels are copied byte by byte.

OUTPUT/report shows what was held where, and says how much of the objects is
still there and how often the model itself takes the rest for the condition.

What stands is not made again, so an interrupted command goes on. The numbers
below are those of the authors' code, for Stable Diffusion.
"""

import argparse

from protojax import cli
from protojax.shown import shown

# `regions.KINDS`, which takes long to import.
_REGIONS = ("both", "cross", "layout", "inside", "none")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--model",
    default="",
    type=cli.path,
    metavar="DIR",
    help="folder of diffusers, with Stable Diffusion; in place of --workdir",
  )
  for name, what, needed in (
    ("images", "folder of images", True),
    ("labels", "folder of their labels", True),
    ("calibration", "folder of their calibration, to be copied, too", False),
    ("output", "folder to write to", True),
  ):
    parser.add_argument(
      f"--{name}",
      default="",
      required=needed,
      type=cli.path,
      metavar="DIR",
      help=what,
    )
  parser.add_argument(
    "--condition",
    required=True,
    type=_names,
    metavar="NAMES",
    help="what to draw images in, with commas between: snow,fog,night",
  )
  parser.add_argument(
    "--objects",
    default=(),
    type=_names,
    metavar="NAMES",
    help="names of the labels to hold, such as Car,Pedestrian; all but DontCare"
    " by default",
  )
  parser.add_argument(
    "--size",
    type=cli.size,
    metavar="HxW",
    help="at which images are drawn, such as 368x1240; that of training by"
    " default. Results have the size of their image",
  )
  for name, default, most, what in (
    ("guidance", 7.5, 100.0, "weight of the text"),
    ("semantic", 600.0, 1e9, "weight of the keys of attention; 0: left out"),
    ("shallow", 1.0, 1e9, "weight of the noisy image in boxes; 0: left out"),
    ("threshold", 0.3, 100.0, "above which a place is of an object"),
  ):
    parser.add_argument(
      f"--{name}",
      default=default,
      type=cli.number(most),
      metavar="W",
      help=f"{what}; {default:g} by default",
    )
  parser.add_argument(
    "--region",
    default=_REGIONS[0],
    choices=_REGIONS,
    help="where keys are compared: by attention and layout (both, the default),"
    " one of them, inside of boxes, or everywhere (none)",
  )
  for name, default, most, what in (
    ("steps", 200, 100_000, "of the sampler"),
    ("components", 16, 10_000, "self-prototypes of a block and step"),
    ("shown", 8, 10_000, "images of each condition that the report shows"),
    ("seed", 2025, 2**31 - 1, "of what an autoencoder draws"),
  ):
    parser.add_argument(
      f"--{name}",
      default=default,
      type=cli.whole_number(0 if name in ("shown", "seed") else 1, most),
      metavar="N",
      help=f"{what}; {default} by default",
    )
  parser.add_argument(
    "--batch-size",
    default=8,
    type=cli.whole_number(1, 1_000_000),
    metavar="B",
    help="images that are made at once, on all devices; 8 by default",
  )


def _names(text: str) -> tuple[str, ...]:
  names = tuple(name.strip() for name in text.split(","))
  if not all(names) or len(set(names)) < len(names):
    raise argparse.ArgumentTypeError(
      f"{shown(text)} is no list of different names, such as snow,fog"
    )
  if bad := [n for n in names if not n.replace(" ", "").isidentifier()]:
    raise argparse.ArgumentTypeError(
      f"{shown(bad[0])} is no name: give letters, digits, _ and blanks"
    )
  return names


def run(args: argparse.Namespace) -> int:
  """Writes the images that do not stand yet, and the report."""
  return cli.operation("regenerating").run(args)

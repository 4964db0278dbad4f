"""Generates images with a trained model.

  python -m protojax sample --workdir=DIR --number=N --seed=S
  python -m protojax sample --workdir=DIR --class=NAME --guidance=1.5
  python -m protojax sample --workdir=DIR --prompt="a red cup" --number=N
  python -m protojax sample --base=DIR --prompt="a red cup" --output=DIR2

writes into WORKDIR/samples: images/000000.png and so on, grid.png with the
first of them, and samples.npz for evaluators of others. It has `arr_0`, uint8
[N H W 3], and `arr_1`, the labels. `evaluate --generated` compares the images
with real ones.

Classes come in turns, so that all have the same number of images. A model that
draws by texts has no classes: without --prompt it draws by the captions of test
images in turns, and prompts.txt has the text of each image. --base draws with a
Stable Diffusion 1.x or 2.x that you have as a folder of diffusers; with it,
--size=512x768 and --dtype=bfloat16 can be given.

An image depends on the seed and on its number alone: a larger --number leaves
the first ones as they are, on any number of devices. What stands in the folder
is not made again, so an interrupted command goes on.
"""

import argparse

from protojax import cli

_MOST_GUIDANCE = 100.0
DTYPES = ("float32", "bfloat16")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--base",
    default="",
    type=cli.path,
    metavar="DIR",
    help="folder of diffusers to draw with, in place of a run; with --prompt"
    " and --output",
  )
  parser.add_argument(
    "--size",
    type=cli.size,
    metavar="HxW",
    help="height and width in pixels of images of --base, such as 512x768; that"
    " of training by default",
  )
  parser.add_argument(
    "--dtype",
    choices=DTYPES,
    help="what U-Net and text tower of --base compute in, and have weights in;"
    " float32 by default",
  )
  parser.add_argument(
    "--number",
    default=100,
    type=cli.whole_number(1, 10_000_000),
    metavar="N",
    help="of images, with those that stand; 100 by default",
  )
  parser.add_argument(
    "--seed",
    default=0,
    type=cli.whole_number(0, 2**31 - 1),
    metavar="S",
    help="of the randomness; 0 by default",
  )
  parser.add_argument(
    "--class",
    dest="class_name",
    default="",
    metavar="NAME",
    help="of all images; by default all classes in turns",
  )
  parser.add_argument(
    "--prompt",
    default="",
    metavar="TEXT",
    help="what all images show, of a model that draws by texts",
  )
  parser.add_argument(
    "--guidance",
    type=cli.number(_MOST_GUIDANCE),
    metavar="W",
    help="how strongly images show their class or text; as in the run's config"
    " by default. 1: as the model has learned; more: clearer and less varied;"
    " 0: not at all",
  )
  parser.add_argument(
    "--steps",
    type=cli.whole_number(1, 100_000),
    metavar="T",
    help="of the sampler, for each image; as in the run's config by default",
  )
  parser.add_argument(
    "--batch-size",
    default=0,
    type=cli.whole_number(1, 1_000_000),
    metavar="B",
    help="images that are made at once, on all devices; that of training by"
    " default, one on each device with --base",
  )
  parser.add_argument(
    "--output",
    default="",
    type=cli.path,
    metavar="DIR2",
    help="folder to write to; WORKDIR/samples by default",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the images that do not stand yet, the grid, and the arrays."""
  return cli.operation("sampling").run(args)

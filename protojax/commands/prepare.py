"""Writes a data set into a few large files, ready for training.

  python -m protojax prepare cub200 --source=CUB_200_2011.tgz --output=DIR
  python -m protojax prepare folder --source=DIR_OR_ARCHIVE --output=DIR

reads a data set as it was downloaded, unpacked or not, and writes it as a TFDS
data set. Train on it with --config.data.root=DIR.

  python -m protojax prepare anomaly --source=DIR --output=DIR

reads a folder with the layout of MVTec-AD, VisA or Real-IAD, or with one folder
for each kind of image (see protojax.datasets.layouts).

  python -m protojax prepare latents --autoencoder=FILE --source=DIR ...

encodes the images of a folder of classes, and their mirror images, for a
diffusion in the space of the autoencoder. It goes on where it was stopped.

  python -m protojax prepare slides --backbone=NAME --source=DIR --output=DIR

cuts whole slides into tiles and makes a bag of features of each slide. It goes
on where it was stopped, too.

  python -m protojax prepare community_forensics --source=DIR --output=DIR

writes the images of Community Forensics' Parquet files into folders of
generators, and goes on where it was stopped.

  python -m protojax prepare segmentation --source=DIR --output=DIR

writes images with masks, of any layout that is read, as one plain folder.

  python -m protojax prepare volumes --source=DIR --output=DIR

does the same of volumes, as NIfTI files.

  python -m protojax prepare compositional --source=DIR --output=DIR

keeps the best of candidates: images of texts with masks of their things (see
protojax.datasets.compositional).
"""

import argparse

from protojax import cli, datasets, finding


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "data",
    metavar="DATA",
    help="name of a data set, from the list below, or of a module of your own"
    " that can prepare one, such as mypackage.shapes",
  )
  parser.add_argument(
    "--source",
    required=True,
    type=cli.path,
    metavar="PATH",
    help="a folder or an archive",
  )
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="DIR",
    help="folder to write to",
  )
  parser.add_argument(
    "--autoencoder",
    default="",
    type=cli.path,
    metavar="FILE",
    help="of latents: weights of an AutoencoderKL, such as the"
    " diffusion_pytorch_model.safetensors of sd-vae-ft-mse",
  )
  parser.add_argument(
    "--backbone",
    default="",
    metavar="NAME",
    help="of slides: what makes a vector of a tile, such as vit_large",
  )
  parser.add_argument(
    "--weights",
    default="",
    type=cli.at_home,
    metavar="WEIGHTS",
    help="of slides: weights of the backbone, a file or hf:NAME; those that it"
    " comes with by default",
  )
  parser.add_argument(
    "--image-size",
    default=256,
    type=cli.whole_number(1),
    metavar="N",
    help="of latents and slides: pixels on a side of an image or tile; 256 by"
    " default",
  )
  parser.add_argument(
    "--batch-size",
    default=16,
    type=cli.whole_number(1),
    metavar="N",
    help="of latents and slides: images that go through together; 16 by"
    " default",
  )
  known = finding.constants(datasets.__name__, "PREPARES")
  width = max(map(len, known)) + 2
  lines = (f"  {name:{width}}{what}" for name, what in known.items())
  parser.epilog = "\n".join(("data sets:", *lines))


def run(args: argparse.Namespace) -> int:
  """Writes the data set."""
  return cli.operation("preparing").run(args)

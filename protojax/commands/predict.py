"""Predicts the class or the labels of images, or whether they are defective.

  python -m protojax predict IMAGE... [--workdir=DIR]

The model is the newest checkpoint of the run. The training images are not
needed. The result is CSV. For a classifier its columns are

  image,class,probability,rank,prototype,prototype_class,similarity,points,
  familiarity

with one row for each of the most similar prototypes of each image. Rank 1 is
the most similar one. The points are what the prototype adds to the logit of the
predicted class. If prototypes belong to concepts, prototype_class is the
concept. With --top=0 each image has one row, and its columns of prototypes are
empty. The familiarity is a percentile: below 5, the image is unlike those that
the model knows. JSON has the same for each image, and the
probabilities of all classes.

For a model that gives several labels, the columns are

  image,label,probability,rank,present

with one row for each of the most probable labels of each image, and for each
that is present: whose probability is above 1/2. JSON has those of all labels.

For a model that detects anomalies, each image has one row:

  image,score,threshold,defective

where defective is 1 if the score is above the threshold, else 0.

For a model that gives each pixel a class, the columns are

  image,class,share

with one row for each class that the image shows, and the share of its pixels.
--masks=DIR writes two files for each image at its own size: NAME.png, whose
values are the classes in the order of the run's classes.json (255 where the
model does not look), with a palette of their colours, and NAME-overlay.png. A
model that tells objects apart writes panoptic/NAME.png and panoptic.json, too,
as COCO-panoptic has them.

For a model that finds objects, the columns are

  image,class,score,top,left,bottom,right

with one row for each object, its box in shares of the image. --labels=DIR
writes label_2/NAME.txt for each image, as KITTI has its results, and
pictures/NAME.png. Places in space are known of images in a folder beside one
with their cameras, as training/image_2 and training/calib.

A run on volumes takes NIfTI files and folders of DICOM series. Each slice has
its rows, and --masks=DIR writes NAME.nii.gz for each volume, with the affine,
the axes and the size of the file that was read.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "paths",
    nargs="+",
    type=cli.path,
    metavar="PATH",
    help="an image, a folder (with its subfolders) or a pattern",
  )
  cli.add_workdir(parser)
  parser.add_argument(
    "--format",
    default="csv",
    choices=["csv", "json"],
    help="of the result; csv by default",
  )
  parser.add_argument(
    "--top",
    default=3,
    type=cli.whole_number(0),
    metavar="N",
    help="list N prototypes, or labels, for each image; 3 by default",
  )
  parser.add_argument(
    "--output",
    default="",
    type=cli.path,
    metavar="FILE",
    help="write to FILE instead of the terminal. FILE is written completely or"
    " not at all",
  )
  parser.add_argument(
    "--masks",
    default="",
    type=cli.path,
    metavar="DIR",
    help="write the class of each pixel as index PNG and colour overlay to DIR",
  )
  parser.add_argument(
    "--labels",
    default="",
    type=cli.path,
    metavar="DIR",
    help="write the objects of each image to DIR, as KITTI's label file and in"
    " a picture",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the predictions to stdout or a file, and the progress to stderr."""
  return cli.operation("predicting").run(args)

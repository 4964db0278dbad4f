"""Simulates what a characterized device makes of a scene.

  python -m protojax simulate --workdir DIR --cube FILE.npy --output FILE.npy

CUBE is an array [rows columns wavenumbers], the spectrum of each pixel. The
result is an array [rows columns interferometers], the interferogram of each
pixel. With --sheet=FILE.json, which describes the device, it is the image on
the sensor instead, with a sub-image for each interferometer.
"""

import argparse

from protojax import cli


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  cli.add_workdir(parser)
  parser.add_argument(
    "--cube",
    required=True,
    type=cli.path,
    metavar="FILE",
    help="the scene: an array of NumPy [rows columns wavenumbers]",
  )
  parser.add_argument(
    "--wavenumbers",
    default="",
    type=cli.path,
    metavar="FILE",
    help="of the cube's bands in 1/um, an array of NumPy; those of the run's"
    " sources by default",
  )
  parser.add_argument(
    "--output",
    required=True,
    type=cli.path,
    metavar="FILE",
    help="the array to write",
  )
  parser.add_argument(
    "--field-of-view",
    type=float,
    default=0.0,
    metavar="DEGREES",
    help="field angle of the first pixel; 0 by default: all light comes along"
    " the axis",
  )
  parser.add_argument(
    "--sheet",
    default="",
    type=cli.path,
    metavar="FILE",
    help="write the image on the sensor of the device that this file describes",
  )


def run(args: argparse.Namespace) -> int:
  """Writes the interferograms, or the image on the sensor."""
  return cli.operation("simulating").run(args)

"""Simulates what a characterized device makes of a scene.

  python -m protojax simulate --workdir DIR --cube FILE.npy --output FILE.npy

CUBE is an array [rows columns wavenumbers], the spectrum of each pixel. The
result is an array [rows columns interferometers], the interferogram of each
pixel. With --sheet=FILE.json, which describes the device, it is the image on
the sensor instead, with a sub-image for each interferometer.
"""

import argparse
from pathlib import Path

import numpy as np

from protojax import cli, loading, parallel
from protojax.datasets import array_file, device_sheet
from protojax.engine import workdir
from protojax.methods.base import needed
from protojax.writing import replacing, require_apart


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
  """Writes the interferograms, or the image on the sensor.

  Raises:
    UserError: there is no run, it does not simulate, the scene does not fit
      it, or the file cannot be written.
  """
  parallel.setup()
  require_apart(args.output, [args.cube, args.wavenumbers, args.sheet])
  cube = array_file.read(args.cube)
  sheet = device_sheet.read(Path(args.sheet)) if args.sheet else None
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, _ = loading.load(folder)
  simulates = needed(method, "simulates")
  inputs = {"cube": cube, "field_of_view": np.array(args.field_of_view)}
  if args.wavenumbers:
    inputs["wavenumbers"] = array_file.read(args.wavenumbers)
  found = simulates.simulate(state, inputs)["interferograms"]
  if sheet is not None:
    found = device_sheet.mosaic(found, sheet)
  if parallel.is_primary():
    with replacing(Path(args.output), "wb") as file:
      np.save(file, found)
    parallel.say(f"{args.output}: {' x '.join(map(str, found.shape))}")
  return 0

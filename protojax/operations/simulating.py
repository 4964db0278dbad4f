"""Simulating: a scene -> what a calibrated device would measure."""

import argparse
from pathlib import Path

import numpy as np

from protojax import loading, parallel
from protojax.datasets import array_file, device_sheet
from protojax.engine import workdir
from protojax.methods.base import needed
from protojax.writing import replacing, require_apart


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

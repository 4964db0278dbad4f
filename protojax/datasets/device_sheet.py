"""The sheet of a multi-aperture spectrometer: its gaps and its sub-images.

A JSON file in the form of github.com/Danaroth83/irca, data/device.
"""

from pathlib import Path
from typing import NotRequired, TypedDict

from jaxtyping import Float, Int
import numpy as np

from protojax import json_files
from protojax.types import ArrayLike, UserError

# Thickness in nm -> OPD in um: light crosses the gap and comes back.
_OPD_PER_THICKNESS = 1 / 500


class Gaps(TypedDict):
  """Thickness of the first gap, and from one to the next, in nm."""

  thickness_minimum: float
  thickness_step: float


class Sheet(TypedDict):
  """Where the sub-image of each interferometer lies, in pixels.

  Pairs are rows and columns; rows count from the bottom of the sensor.
  """

  image_size: list[int]
  subimage_size: list[int]
  subimage_amount: list[int]
  subimage_center: list[float]
  subimage_arrangement: NotRequired[str]


def opds(path: Path, count: int) -> Float[np.ndarray, " i"]:
  """Nominal OPD of each interferometer in um.

  Raises:
    UserError: the sheet cannot be read, or says nothing of the gaps.
  """
  gaps = json_files.read_json(path, Gaps)
  steps = np.arange(count) * gaps["thickness_step"]
  return (gaps["thickness_minimum"] + steps) * _OPD_PER_THICKNESS


def read(path: Path) -> Sheet:
  """The sub-images of a sheet.

  Raises:
    UserError: it cannot be read, or a pair is not two numbers above 0.
  """
  sheet = json_files.read_json(path, Sheet)
  for name in ("image_size", "subimage_size", "subimage_amount"):
    if len(sheet[name]) != 2 or min(sheet[name]) < 1:
      raise UserError(
        f"{path}: {name} is {sheet[name]}; expected two numbers above 0, rows"
        " and columns"
      )
  if len(sheet["subimage_center"]) != 2:
    raise UserError(
      f"{path}: subimage_center is {sheet['subimage_center']}; expected the row"
      " and the column of the first sub-image"
    )
  return sheet


def centres(sheet: Sheet) -> Int[np.ndarray, "i 2"]:
  """Row and column of the middle of each interferometer's sub-image.

  In the arrangement "vertical" interferometers go up column by column, from the
  last column to the first. In any other they go row by row from the last one,
  and every second row the other way round.
  """
  rows, columns = sheet["subimage_amount"]
  row, column = np.indices((rows, columns))
  if sheet.get("subimage_arrangement") == "vertical":
    row, column = row.T.ravel(), columns - 1 - column.T.ravel()
  else:
    column[1::2] = column[1::2, ::-1]
    row, column = row[::-1, ::-1].ravel(), column[::-1, ::-1].ravel()
  first, size = sheet["subimage_center"], sheet["subimage_size"]
  found = [first[0] + size[0] * row, first[1] + size[1] * column]
  # Whole pixels, as the sheet's authors count them.
  return np.stack(found, axis=1).astype(int)


def mosaic(
  interferograms: Float[ArrayLike, "H W i"], sheet: Sheet
) -> Float[np.ndarray, "R C"]:
  """The image on the sensor: a sub-image for each interferometer.

  Rows of the sensor count from the bottom, so the scene's last row comes first.
  What lies outside of the sensor is cut off.

  Raises:
    UserError: the sheet has another number of sub-images, or smaller ones.
  """
  found = np.asarray(interferograms)[::-1]
  height, width, count = found.shape
  middles = centres(sheet)
  if len(middles) != count:
    raise UserError(
      f"the sheet has {len(middles)} sub-images, the run {count}"
      " interferometers; expected as many"
    )
  if height > sheet["subimage_size"][0] or width > sheet["subimage_size"][1]:
    raise UserError(
      f"the cube has {height} by {width} pixels and the sub-images of the sheet"
      f" {' by '.join(map(str, sheet['subimage_size']))}: cut the cube"
    )
  rows, columns = sheet["image_size"]
  image = np.zeros((rows, columns))
  for i, (row, column) in enumerate(middles.tolist()):
    top, left = row - height // 2, column - width // 2
    above, before = max(-top, 0), max(-left, 0)
    below = max(top + height - rows, 0)
    after = max(left + width - columns, 0)
    image[
      top + above : top + height - below, left + before : left + width - after
    ] = found[above : height - below, before : width - after, i]
  return image

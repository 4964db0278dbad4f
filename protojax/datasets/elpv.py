"""2,624 solar cells, with and without defects, from the package elpv-dataset.

Electroluminescence images, each with the probability that its cell is
defective. Experts were sure of some cells: probability 0 is normal, 1 is
defective, and the others are left out. The cells of mono- and polycrystalline
silicon are two categories. The defective pixels are not known. Deitsch et al.,
"Automatic classification of defective photovoltaic module cells in
electroluminescence images", Solar Energy 185 (2019); CC BY-NC-SA 4.0.
"""

import importlib.util
import os
from typing import Any

from protojax import text_files
from protojax.datasets.collection import NORMAL, Entry, FileCollection
from protojax.types import UserError

_KIND = "defective"
_INSTALL = "python -m pip install 'protojax[elpv]'"


def collect(data: Any) -> FileCollection:
  """The cells; no key of the config changes them."""
  del data
  return listed()


def listed() -> FileCollection:
  """Lists the cells, sorted by category and name.

  Raises:
    UserError: the package is not installed, or not as expected.
  """
  # The package is found, not imported: only its files are read.
  spec = importlib.util.find_spec("elpv_dataset")
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      f"the solar cells need the package elpv-dataset (90 MB): {_INSTALL}"
    )
  root = os.path.join(spec.submodule_search_locations[0], "data")
  try:
    lines = text_files.read(os.path.join(root, "labels.csv")).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    cells = [(cell, float(chance), name) for name, chance, cell in rows]
  except (UserError, ValueError) as e:
    raise UserError(
      f"the labels of elpv-dataset in {root} cannot be read ({e}): install it"
      f" again with {_INSTALL} --force-reinstall"
    ) from e
  entries = [
    Entry(name, cell, _KIND, "test")
    if chance
    else Entry(name, cell, NORMAL, "")
    for cell, chance, name in sorted(cells)
    if chance in (0, 1)
  ]
  return FileCollection(
    root, tuple(entries), ("",) * len(entries), has_truth=False
  )

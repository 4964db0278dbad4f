"""Photographs of scikit-image and scikit-learn (the `demo` extra)."""

import functools
import importlib.util
from pathlib import Path

from jaxtyping import UInt8
import numpy as np

from protojax.data import images as images_lib
from protojax.types import UserError

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
_FILES = {
  "astronaut": ("skimage", "astronaut.png"),
  "brick": ("skimage", "brick.png"),
  "chelsea": ("skimage", "chelsea.png"),
  "china": ("sklearn", "china.jpg"),
  "coffee": ("skimage", "coffee.png"),
  "flower": ("sklearn", "flower.jpg"),
  "grass": ("skimage", "grass.png"),
  "gravel": ("skimage", "gravel.png"),
  "hubble_deep_field": ("skimage", "hubble_deep_field.jpg"),
  "immunohistochemistry": ("skimage", "ihc.png"),
  "retina": ("skimage", "retina.jpg"),
  "rocket": ("skimage", "rocket.jpg"),
  "stereo_motorcycle": ("skimage", "motorcycle_left.png"),
  # No classes of `photos`: other data sets use pieces of them.
  "coins": ("skimage", "coins.png"),
  "moon": ("skimage", "moon.png"),
  "page": ("skimage", "page.png"),
}


def photograph(name: str) -> UInt8[np.ndarray, "H W 3"]:
  """One of `_FILES` in full, RGB.

  Raises:
    UserError: the package that holds it is not installed.
  """
  package, file = _FILES[name]
  # The package is found, not imported: that takes a second.
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      "the photos need scikit-image and scikit-learn: python -m pip install"
      " 'protojax[demo]', or use a folder of your own with"
      " --config.data.name=folder --config.data.root=DIR"
    )
  path = Path(spec.submodule_search_locations[0]) / _FOLDERS[package] / file
  try:
    return images_lib.decode(path)
  except ValueError as e:
    raise UserError(
      f"this {package} does not hold {path.name} ({e}): install the 'demo'"
      " extra's version, python -m pip install --upgrade 'protojax[demo]'"
    ) from e


def half_crop(
  name: str, split: str, side: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "s s 3"]:
  """A square of a photograph, of its left half to train on, or its right one.

  Args:
    name: of the photograph.
    split: "train", or another name for the right half.
    side: in pixels.
    generator: draws the place.
  """
  whole = _kept(name)
  height, width, _ = whole.shape
  left, right = (0, width // 2) if split == "train" else (width // 2, width)
  y = int(generator.integers(0, height - side + 1))
  x = int(generator.integers(left, right - side + 1))
  return whole[y : y + side, x : x + side]


_kept = functools.cache(photograph)

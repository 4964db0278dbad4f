"""The embedded brain: the MNI ICBM152 template, with grey and white matter.

It is an average of 152 heads, skull-stripped, at 1 mm (Fonov et al., 2011); the
three volumes come in the wheel of nilearn (the `medical` extra), which is not
imported. Four classes: outside; fluid and whatever else is inside; grey and
white matter, by the larger of the two maps where one is at least 1/2.

There is one brain only. Of the 135 axial slices that show more than 2,000
pixels of grey and white matter, nine blocks of nine slices with gaps of six are
taken. `data.domain` is

  whole    T1; every fifth block is for testing, seven others for training
  source   T1 of four blocks; the test blocks are those of "target"
  target   three other blocks to adapt to and two to test on, after a change of
           contrast: tissues inverted as in T2, a bias field and Rician noise

No monotone change of grey values undoes the last: the outside stays the
darkest, and white matter becomes darker than the rest.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

from jaxtyping import Float, Integer, UInt8
import numpy as np

from protojax.datasets import slices, study_files, volume_file
from protojax.datasets.slices import Slices, Study
from protojax.datasets.volume_file import Volume
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FIELDS = slices.FIELDS

CLASS_NAMES = ("outside", "fluid and other", "grey matter", "white matter")
# Domain -> blocks of each split.
_BLOCKS = {
  "whole": {"train": (0, 1, 3, 4, 5, 6, 8), "test": (2, 7)},
  "source": {"train": (0, 3, 5, 8), "test": (2, 6)},
  "target": {"train": (1, 4, 7), "test": (2, 6)},
}
_FIRST, _LAST = 13, 147  # of the 135 axial slices
_HALF = 128  # of maps 0..255
_NOTE = (
  "There is one brain only, an average of 152: the splits are blocks of nine"
  " axial slices, six slices apart. What is found is about the mechanism, not"
  " about patients."
)
# The change of contrast: intensity of an inverted voxel, strength of the bias
# field, and deviation of the noise, of grey values 0..255.
_TOP, _SLOPE, _BIAS, _NOISE = 235.0, 0.85, 0.2, 6.0
_FILES = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def load(data: Any, split: str, seed: int) -> Slices:
  """Opens the training or test split of a domain.

  Args:
    data: `domain`, `masks` ('': without labels), `axis` and `window`.
    split: "train" or "test".
    seed: without effect: blocks and noise are fixed.

  Raises:
    UserError: the volumes are not installed, or the config names a root, or a
      domain or axis that there is not.
  """
  del seed
  if data.root:
    raise UserError(
      f"--config.data.root={data.root} does not hold the embedded brain: leave"
      " it out, or read volumes of your own with"
      " --config.data.name=volume_folder"
    )
  domain = study_files.one_of(_BLOCKS, data.domain)
  if slices.axis_of(data) != 2:
    raise UserError(f"--config.data.axis={data.axis}: these blocks are axial")
  whole = slices.opened([_study(domain, bool(data.masks))], CLASS_NAMES, data)
  inner = slices.blocks(_LAST - _FIRST + 1)
  kept = {i: [_FIRST + n for n in inner[i]] for i in _BLOCKS[domain][split]}
  return slices.of_blocks(whole, kept, _NOTE)


def _study(domain: str, labelled: bool) -> Study:
  path = str(_path("t1"))
  shape = volume_file.space(path).shape
  read = _shifted if domain == "target" else _plain
  known = _classes if labelled else None
  return Study(f"mni-{domain}", read, known, shape, path)


def _path(kind: str) -> Path:
  # The package is found, not imported.
  spec = importlib.util.find_spec("nilearn")
  for folder in (spec.submodule_search_locations or ()) if spec else ():
    path = Path(folder) / _FILES.format(kind)
    if path.is_file():
      return path
  raise UserError(
    "the embedded brain is in nilearn: python -m pip install"
    " 'protojax[medical]'"
  )


@functools.cache
def _plain() -> Volume:
  return volume_file.read(str(_path("t1")))


@functools.cache
def _classes() -> Integer[np.ndarray, "x y z"]:
  inside = _plain().values > 0
  grey, white = (
    volume_file.read(str(_path(kind))).values for kind in ("gm", "wm")
  )
  tissue = np.where(grey >= white, 2, 3)
  tissue = np.where(np.maximum(grey, white) >= _HALF, tissue, 1)
  return np.where(inside, tissue, 0).astype(np.uint8)


@functools.cache
def _shifted() -> Volume:
  plain = _plain()
  values = shifted(plain.values, np.random.default_rng(0))
  return Volume(values, plain.affine)


def shifted(
  values: UInt8[np.ndarray, "x y z"], generator: np.random.Generator
) -> Float[np.ndarray, "x y z"]:
  """T1 with the contrast of tissues inverted, as a T2 image has it.

  Args:
    values: of T1, 0 outside of the brain.
    generator: of the bias field and of the noise.
  """
  inside = values > 0
  found = np.where(inside, _TOP - _SLOPE * values.astype(np.float32), 0)
  found *= 1 + bias(values.shape, _BIAS, generator)
  return rician(found, _NOISE, generator)


def bias(
  shape: tuple[int, ...], strength: float, generator: np.random.Generator
) -> Float[np.ndarray, "x y z"]:
  """A smooth field between -strength and strength: a cosine along each axis."""
  waves = []
  for axis, count in enumerate(shape):
    phase = generator.uniform(0, 2 * np.pi)
    along = np.cos(np.pi * np.arange(count) / max(count, 1) + phase)
    waves.append(along.reshape([-1 if i == axis else 1 for i in range(3)]))
  return (strength / 3 * (waves[0] + waves[1] + waves[2])).astype(np.float32)


def rician(
  values: Float[np.ndarray, "x y z"],
  deviation: float,
  generator: np.random.Generator,
) -> Float[np.ndarray, "x y z"]:
  """The magnitude of complex values with normal noise, as MR has it."""
  real, imaginary = (
    generator.normal(0, deviation, values.shape).astype(np.float32)
    for _ in range(2)
  )
  return np.hypot(values + real, imaginary)

"""What Dice on the embedded brain can be at all, for answers in coarse cells.

python benchmarks/cell_bound.py

The true classes of an image's cells, enlarged as a method enlarges its answers,
are compared with the truth at 1 mm: the mean over structures and both test
blocks. Nobody who answers by cells comes above it, but by chance. Needs
pip install 'protojax[medical]'.
"""

from collections.abc import Iterator
from pathlib import Path
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import noisy_pseudo_label_diffusion_mni
from protojax.datasets import mni
from protojax.layers.sampling import nearest

# Pixels of an image, and cells on its side.
_SIZES = ((64, 16), (64, 32), (64, 64), (96, 24), (128, 32))
_CLASSES = len(mni.CLASS_NAMES)


def rows() -> Iterator[harness.Row]:
  """A row for each size."""
  data = mni.load(noisy_pseudo_label_diffusion_mni.get_config().data, "test", 0)
  truth = np.stack([data[i]["mask"] for i in range(len(data))])
  for size, cells in _SIZES:
    said = np.split(_said(truth, size, cells), 2)
    dice = [
      _dice(a == k, b == k)
      for a, b in zip(said, np.split(truth, 2), strict=True)
      for k in range(1, _CLASSES)
    ]
    yield {"pixels": size, "cells": cells, "Dice": f"{np.mean(dice):.3f}"}


def _said(truth: np.ndarray, size: int, cells: int) -> np.ndarray:
  """The truth of the cells, at the size of the truth."""
  small = nearest(nearest(jnp.asarray(truth), size, size), cells, cells)
  hot = jax.nn.one_hot(small, _CLASSES)
  shape = len(truth), size, size, _CLASSES
  large = jax.image.resize(hot, shape, "linear", antialias=False)
  return np.asarray(nearest(jnp.argmax(large, axis=-1), *truth.shape[1:]))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
  return float(2 * (a & b).sum() / (a.sum() + b.sum()))


if __name__ == "__main__":
  harness.tell(rows())

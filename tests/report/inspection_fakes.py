"""Inspections of real photographs with blobs pasted in, without a model."""

import dataclasses
import functools

import numpy as np
import skimage.data

from protojax.explain.inspection import Inspection, Intrinsic, Threshold
from protojax.modify.presets import REFERENCE
from protojax.types import Box

SIZE, GRID = 64, 8
THRESHOLD = Threshold(0.25, 0.05, 39)
BECAUSE = dict(
  zip(REFERENCE.names, (0.0, 0.31, 0.02, -0.04, 0.15, 0.0, 0.03), strict=True)
)


def inspection(score=0.41, kind="stain", **changes):
  """One with numbers only, the anomaly of its worst cell being 0.5."""
  plain = Inspection(
    image="stain/003.png",
    index=3,
    split="test",
    category="",
    kind=kind,
    score=score,
    threshold=THRESHOLD,
    because=BECAUSE,
    worst_value=0.5,
    size=SIZE,
    worst=Box(8, 32, 24, 64),
  )
  return dataclasses.replace(plain, **changes)


def inspections(count=8, seed=0):
  """With pictures, of two categories, every other one defective."""
  rng = np.random.default_rng(seed)
  made = []
  for i in range(count):
    category = ("brick", "coffee")[i // 2 % 2]
    kind = ("normal", "stain", "normal", "hole")[i % 4]
    top, left = rng.integers(4, 36, 2).tolist()
    truth = np.zeros((SIZE, SIZE), bool)
    truth[top : top + 20, left : left + 16] = kind != "normal"
    picture = _crop(category, rng)
    picture[truth] = picture[truth] // 3
    anomaly = rng.uniform(0, 0.15, (32, 32)).astype(np.float32)
    anomaly[top // 2 : top // 2 + 10, left // 2 : left // 2 + 8] += (
      0.1 + 0.05 * i
    )
    assignment = picture.reshape(GRID, 8, GRID, 8, 3).mean((1, 3, 4)) // 52 + 1
    made.append(
      inspection(
        image=f"{category}/{kind}/{i:03d}.png",
        index=i,
        category=category,
        kind=kind,
        score=float(np.sort(anomaly, axis=None)[-10:].mean()),
        worst=Box(top, left, top + 20, left + 16),
        prototypes=_prototypes(assignment),
        picture=picture,
        anomaly_map=anomaly,
        assignment=assignment.astype(np.int32),
        truth=truth,
      )
    )
  return made


def _prototypes(assignment):
  found = []
  for number in range(1, 6):
    cells = np.argwhere(assignment == number)
    patches = tuple(
      Box(8 * row, 8 * column, 8 * row + 8, 8 * column + 8)
      for row, column in cells[:3].tolist()
    )
    share = len(cells) / assignment.size
    distance = 0.01 * number if patches else float("nan")
    found.append(Intrinsic(number, share, distance, patches))
  return tuple(found)


def _crop(category, rng):
  image = _photograph(category)
  top, left = (int(rng.integers(0, n - 4 * SIZE)) for n in image.shape[:2])
  return image[top : top + 4 * SIZE : 4, left : left + 4 * SIZE : 4].copy()


@functools.cache
def _photograph(name):
  image = getattr(skimage.data, name)()
  return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

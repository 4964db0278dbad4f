"""Dice, IoU and distances of surfaces, against loops over all voxels."""

import itertools
import math

import numpy as np
import pytest

from protojax.metrics import surfaces


def border(inside):
  """Voxels with a face neighbour outside, one by one."""
  found = []
  for place in zip(*np.nonzero(inside), strict=True):
    for axis, step in itertools.product(range(inside.ndim), (-1, 1)):
      if inside.shape[axis] == 1:
        continue
      other = list(place)
      other[axis] += step
      beyond = not 0 <= other[axis] < inside.shape[axis]
      if beyond or not inside[tuple(other)]:
        found.append(place)
        break
  return np.array(found)


def all_pairs(a, b, spacing):
  """From each voxel of a's surface to the nearest of b's, and back."""
  x, y = (border(each) * np.array(spacing) for each in (a, b))
  far = np.linalg.norm(x[:, None] - y[None], axis=-1)
  return far.min(axis=1), far.min(axis=0)


def blobs(seed, shape=(9, 10, 6)):
  rng = np.random.default_rng(seed)
  noise = rng.normal(size=shape)
  for axis in range(3):
    noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
  return noise > np.quantile(noise, 0.7)


@pytest.mark.parametrize("shape", [(9, 10, 6), (9, 10, 1)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 2.0, 5.0)])
def test_distances_are_those_of_all_pairs(shape, spacing):
  a, b = blobs(0, shape), blobs(1, shape)
  assert {tuple(x) for x in border(a)} == set(
    zip(*(x.tolist() for x in np.nonzero(surfaces.surface(a))), strict=True)
  )
  there, back = all_pairs(a, b, spacing)
  found = surfaces.agreement(a, b, spacing)
  assert math.isclose(found.surface, (there.mean() + back.mean()) / 2)
  wanted = max(np.percentile(there, 95), np.percentile(back, 95))
  assert math.isclose(found.hd95, wanted)
  both, either = (a & b).sum(), (a | b).sum()
  assert math.isclose(found.dice, 2 * both / (a.sum() + b.sum()))
  assert math.isclose(found.iou, both / either)
  assert not found.missed


def test_by_hand():
  """Two slabs of one voxel, two voxels of 3 mm apart."""
  a = np.zeros((4, 4, 7), bool)
  b = a.copy()
  a[:, :, 1], b[:, :, 3] = True, True
  found = surfaces.agreement(a, b, (1.0, 1.0, 3.0))
  assert found == (0.0, 0.0, 6.0, 6.0, False)
  same = surfaces.agreement(a, a, (1.0, 1.0, 3.0))
  assert same == (1.0, 1.0, 0.0, 0.0, False)


def test_distances_scale_with_the_voxels_and_turn_with_the_axes():
  a, b = blobs(2), blobs(3)
  one = surfaces.agreement(a, b, (1.0, 2.0, 3.0))
  two = surfaces.agreement(a, b, (2.0, 4.0, 6.0))
  assert math.isclose(two.surface, 2 * one.surface)
  assert math.isclose(two.hd95, 2 * one.hd95)
  turned = surfaces.agreement(
    a.transpose(2, 0, 1), b.transpose(2, 0, 1), (3.0, 1.0, 2.0)
  )
  np.testing.assert_allclose(turned[:4], one[:4])
  assert surfaces.agreement(b, a, (1.0, 2.0, 3.0)) == pytest.approx(one)


def test_as_the_package_surface_distance_has_it():
  """Of a thin plane its elements are those of voxels: only there they agree."""
  package = pytest.importorskip("surface_distance")
  a, b = blobs(4), blobs(5)
  found = surfaces.agreement(a, b, (1.0, 1.0, 1.0))
  assert math.isclose(found.dice, package.compute_dice_coefficient(a, b))


def test_what_is_empty_has_no_distance():
  a, nothing = blobs(0), np.zeros((9, 10, 6), bool)
  for x, y in ((a, nothing), (nothing, a)):
    found = surfaces.agreement(x, y, (1.0, 1.0, 1.0))
    assert (found.dice, found.iou, found.missed) == (0, 0, True)
    assert math.isnan(found.surface)
    assert math.isnan(found.hd95)
  none = surfaces.agreement(nothing, nothing, (1.0, 1.0, 1.0))
  assert math.isnan(none.dice)
  assert not none.missed


def test_a_summary_has_means_over_volumes_and_structures():
  rng = np.random.default_rng(0)
  truths = rng.integers(0, 3, (2, 4, 5, 3))
  answers = rng.integers(0, 3, (2, 4, 5, 3))
  truths[0, 0] = 255
  found = [
    surfaces.of_volume(a, t, (1, 2), (1.0, 1.0, 1.0))
    for a, t in zip(answers, truths, strict=True)
  ]
  summary = surfaces.summary(found, ("air", "heart", "liver"))
  dices = np.zeros((2, 2))
  for v, k in itertools.product(range(2), (1, 2)):
    known = truths[v] != 255
    a, b = (answers[v] == k) & known, truths[v] == k
    dices[v, k - 1] = 2 * (a & b).sum() / (a.sum() + b.sum())
  assert math.isclose(summary["dice heart"], dices[:, 0].mean())
  assert math.isclose(summary["dice liver sd"], dices[:, 1].std(ddof=1))
  assert math.isclose(summary["dice"], dices.mean())
  assert summary["missed"] == 0
  truths[:] = 0
  answers[:] = 0
  empty = [surfaces.of_volume(answers[0], truths[0], (1, 2), (1.0, 1.0, 1.0))]
  assert math.isnan(surfaces.summary(empty, ("a", "b", "c"))["surface_mm"])

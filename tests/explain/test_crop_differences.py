"""Distances between crops against naive forms, on pieces of photographs."""

import colorsys

import numpy as np
from numpy.testing import assert_allclose
from PIL import Image
from scipy import ndimage, stats
from scipy.spatial import distance

from protojax.datasets import photos
from protojax.explain import crop_differences
from protojax.modify.modification import CHARACTERISTICS

SIDE = crop_differences.SIDE
COLUMN = {name: i for i, name in enumerate(CHARACTERISTICS)}


def _differences(a, b):
  describe = crop_differences.describe
  found = crop_differences.differences(describe([a]), describe([b]))[0]
  return dict(zip(CHARACTERISTICS, found, strict=True))


def _flat(*color):
  return np.full((SIDE, SIDE, 3), color, np.uint8)


def _crop(name, x=100, y=80, side=SIDE):
  return photos.photograph(name)[y : y + side, x : x + side]


def test_equal_crops_do_not_differ_and_order_does_not_matter():
  crops = [_crop(name) for name in photos.CLASS_NAMES] + [_flat(9, 9, 9)]
  a = crop_differences.describe(crops)
  assert not crop_differences.differences(a, a).any()
  b = crop_differences.describe(crops[::-1])
  there, back = (
    crop_differences.differences(a, b),
    crop_differences.differences(b, a),
  )
  assert_allclose(there, back, atol=1e-12)
  assert np.all(there >= 0)


def test_many_crops_are_as_each_alone():
  image = photos.photograph("chelsea")
  crops = [image[i : i + 20, i : i + 30] for i in range(260)]
  together = crop_differences.describe(crops)
  for i in (0, 255, 256, 259):
    alone = crop_differences.describe([crops[i]])
    for many, one in zip(together, alone, strict=True):
      assert_allclose(many[i], one[0], atol=1e-12)


def test_crops_of_other_sizes_are_compared():
  large = _crop("coffee", side=3 * SIDE)
  small = np.asarray(Image.fromarray(large).resize((SIDE, SIDE), 2))
  assert max(_differences(large, small).values()) == 0
  wide = np.asarray(Image.fromarray(large).resize((200, 90), 2))
  near = np.array(list(_differences(large, wide).values()))
  assert np.all(near < crop_differences.HARDLY_SEEN)
  other = _crop("flower", side=3 * SIDE)
  far = np.array(list(_differences(large, other).values()))
  assert np.all(far > crop_differences.HARDLY_SEEN)


def test_contrast_is_the_log_of_a_ratio():
  image = _crop("chelsea").astype(int)
  grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
  low = (100 + (grey - grey.mean()) / 4).round().astype(np.uint8)
  high = (100 + (grey - grey.mean()) / 2).round().astype(np.uint8)
  found = _differences(low, high)
  assert_allclose(found["contrast"], np.log(low.std() / high.std()) * -1)
  assert_allclose(found["contrast"], np.log(2), rtol=0.02)
  assert_allclose(found["saturation"], 0, atol=1e-3)
  assert found["texture"] < 0.2  # the lower one's bytes are coarser
  # Two nearly grey crops do not differ in spite of rounding.
  assert _differences(_flat(9, 9, 9), _flat(90, 90, 90))["contrast"] == 0


def test_hue_is_the_angle_weighed_by_chroma():
  red, green, grey = _flat(200, 40, 40), _flat(40, 200, 40), _flat(90, 90, 90)
  found = _differences(red, green)
  matrix = crop_differences._YCBCR[1:]
  a, b = (matrix @ crop[0, 0] for crop in (red, green))
  angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
  bins = np.radians(10)
  chroma = np.sqrt(np.linalg.norm(a) * np.linalg.norm(b))
  low, high = (2 * chroma * np.sin((angle + s) / 2) for s in (-bins, bins))
  assert low < found["hue"] < high
  assert_allclose(
    found["saturation"], abs(np.linalg.norm(a) - np.linalg.norm(b))
  )
  assert found["contrast"] == found["shape"] == 0
  # Grey has no hue; only its chroma differs.
  assert_allclose(_differences(red, grey)["hue"], 0, atol=1e-5)
  assert_allclose(_differences(red, grey)["saturation"], np.linalg.norm(a))


def test_turn_is_the_earth_movers_distance_on_the_circle():
  generator = np.random.default_rng(0)
  a, b = generator.dirichlet(np.full(36, 0.2), (2, 20))
  found = crop_differences._turn(a, b)
  places = np.arange(36.0)
  for i in range(20):
    # The distance is the smallest over all places to cut the circle.
    cuts = [
      stats.wasserstein_distance(
        places, places, np.roll(a[i], cut), np.roll(b[i], cut)
      )
      for cut in range(36)
    ]
    assert_allclose(np.degrees(found[i]), 10 * min(cuts), atol=1e-9)
  moved = crop_differences._turn(a, np.roll(a, 5, axis=1))
  assert np.all(np.degrees(moved) <= 50 + 1e-9)


def test_turned_hues_are_that_far_apart():
  def painted(turn):
    hues = np.linspace(0, 0.15, SIDE) + turn
    row = [colorsys.hsv_to_rgb(h % 1, 0.8, 0.8) for h in hues]
    return np.round(255 * np.array(row)).astype(np.uint8)[None].repeat(SIDE, 0)

  far = [
    _differences(painted(0), painted(t))["hue"] for t in (0, 0.1, 0.2, 0.5)
  ]
  assert far[0] == 0
  assert np.all(np.diff(far) > 5)


def test_shape_is_the_chamfer_distance_of_outlines():
  crops = [_crop("coffee"), _crop("chelsea"), _crop("coffee", x=102)]
  described = crop_differences.describe(crops)
  shares = described.outline.mean(axis=(1, 2))
  assert np.all((shares > 0.05) & (shares < 0.15))
  first = crop_differences.Descriptors(
    *(x[:1].repeat(2, axis=0) for x in described)
  )
  second = crop_differences.Descriptors(*(x[1:] for x in described))
  found = crop_differences.differences(first, second)[:, COLUMN["shape"]]
  for i in (1, 2):
    apart = distance.cdist(*(np.argwhere(described.outline[j]) for j in (0, i)))
    capped = np.minimum(apart, SIDE / 12)
    naive = (capped.min(axis=0).mean() + capped.min(axis=1).mean()) / 2
    assert_allclose(found[i - 1], naive)
  assert found[1] < found[0]  # moved by two pixels; another photograph


def test_a_crop_without_outline_is_far_from_one_that_has_some():
  grey = _flat(90, 90, 90)
  assert _differences(grey, _crop("coffee"))["shape"] == SIDE / 12
  assert _differences(grey, _flat(10, 10, 10))["shape"] == 0


def test_texture_is_where_the_energy_lies():
  noise = np.random.default_rng(0).normal(size=(SIDE, SIDE, 1))
  grain = np.clip(128 + 20 * noise, 0, 255).astype(np.uint8).repeat(3, 2)
  fainter = np.clip(128 + 10 * noise, 0, 255).astype(np.uint8).repeat(3, 2)
  assert _differences(grain, fainter)["texture"] < 0.1
  blurred = [
    ndimage.gaussian_filter(grain, (sigma, sigma, 0))
    for sigma in (0, 0.5, 1, 2)
  ]
  steps = [_differences(grain, one)["texture"] for one in blurred]
  assert steps[0] == 0
  assert np.all(np.diff(steps) > 0.3)
  # The direction of waves is shape, not texture.
  wave = 128 + 40 * np.sin(2 * np.pi * np.arange(SIDE) / 8)
  down = np.tile(wave[:, None, None], (1, SIDE, 3)).astype(np.uint8)
  turned = _differences(down, down.swapaxes(0, 1))
  assert turned["texture"] < 1e-9 < turned["shape"]

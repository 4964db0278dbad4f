"""Inspections of images: the sweep, against one image at a time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from protojax.data import stream as stream_lib
from protojax.data.resizing import Resizing
from protojax.explain.inspection import Threshold
from protojax.explain.request import Request
from protojax.methods.inp_former import explanation
from protojax.modify import modification
from protojax.types import Box, State
from tests.explain import explain_fakes as fakes

SIZE, GRID, TILE = 32, 4, 8
STATE = State(params={"gain": np.float32(0.7)}, statistics={}, buffers={})
THRESHOLD = Threshold(0.2, 0.05, 19)


class Oddness:
  """A tile is as odd as its colour is far from the image's mean colour."""

  image_size, grid, count = SIZE, (GRID, GRID), 3

  def values(self, state, images):
    images = jnp.asarray(images, jnp.float32) / 255
    tiles = images.reshape(len(images), GRID, TILE, GRID, TILE, 3)
    tiles = tiles.mean(axis=(2, 4)).reshape(len(images), -1, 3)
    away = tiles - tiles.mean(axis=1, keepdims=True)
    return state.params["gain"] * jnp.abs(away).sum(axis=-1)

  def inspect(self, state, images):
    values = self.values(state, images)
    cells = values.reshape(-1, GRID, GRID)
    dark = jnp.mean(jnp.asarray(images, jnp.float32), axis=(1, 2, 3)) < 128
    return {
      "map": cells.repeat(4, axis=1).repeat(4, axis=2),
      "score": values.max(axis=1),
      "distance": values / 2,
      # The second of three prototypes is nowhere the nearest.
      "assignment": jnp.where(
        jnp.arange(GRID**2)[None] % 3 == dark[:, None], 2, 0
      ).astype(jnp.int32),
    }


MODEL = Oddness()


class Known(fakes.Images):
  """Images with categories, kinds, and the truth in twice the size."""

  class_names = ("normal", "crack", "hole")
  category_names = ("bottle", "cable")
  has_truth = True

  def __init__(self, images, labels):
    super().__init__(images, labels)
    self.categories = np.arange(len(images)) % 2

  def truth(self, i):
    truth = np.zeros((2 * SIZE, 2 * SIZE), bool)
    truth[3 * i : 3 * i + 7, 10:31] = self.labels[i] > 0
    return truth


def stream(count=10):
  return fakes.Images(fakes.photographs(count, seed=2), [-1] * count)


def explain(images, model=MODEL, preset=fakes.PRESET, **options):
  return list(
    explanation.explain(
      model, STATE, images, THRESHOLD, Request(preset=preset, **options)
    )
  )


@functools.cache
def inspected():
  """Ten images in batches of four, on two devices."""
  done = []
  return explain(stream(), progress=done.append), done


def test_padding_leaves_no_inspection():
  found, done = inspected()
  assert done == [4, 4, 2]
  assert [e.index for e in found] == list(range(10))
  assert [e.image for e in found] == [f"image-{i}" for i in range(10)]
  for e, image in zip(found, stream().images, strict=True):
    assert_array_equal(e.picture, image)
    assert (e.split, e.category, e.kind) == ("test", "", None)
    assert e.truth is None
    assert e.size == SIZE
    assert e.threshold == THRESHOLD


def test_because_is_the_fall_at_the_worst_cell():
  """Against one device, one change and one image at a time."""
  values = jax.jit(MODEL.values)
  images = stream().images
  before = np.asarray(values(STATE, images))
  changed = {
    m.name: np.asarray(values(STATE, modification.modify(images, m)))
    for m in fakes.PRESET.modifications
  }
  found, _ = inspected()
  for k, e in enumerate(found):
    worst = before[k].argmax()
    assert_allclose(e.worst_value, before[k, worst], rtol=1e-6)
    assert_allclose(e.score, before[k].max(), rtol=1e-6)
    assert tuple(e.because) == fakes.FEW
    for name, fall in e.because.items():
      expected = before[k, worst] - changed[name][k, worst]
      assert_allclose(fall, expected, atol=1e-6, err_msg=name)
  assert any(abs(e.because["saturation"]) > 1e-3 for e in found)


def test_images_modified_at_their_own_size():
  # Which is that of the network here, so that the bytes are the same.
  preset = dataclasses.replace(fakes.PRESET, mode="reference")
  fast, _ = inspected()
  for e, own in zip(fast, explain(stream(), preset=preset), strict=True):
    for name, fall in own.because.items():
      assert_allclose(fall, e.because[name], atol=1e-6, err_msg=name)
    assert_array_equal(own.picture, e.picture)


def test_the_control_is_exactly_zero():
  found, _ = inspected()
  assert all(e.because["identity"] == 0.0 for e in found)


def test_maps_are_those_of_the_model():
  rows = jax.jit(MODEL.inspect)(STATE, stream().images)
  found, _ = inspected()
  for k, e in enumerate(found):
    assert_allclose(e.anomaly_map, rows["map"][k], rtol=1e-6)
    expected = np.asarray(rows["assignment"][k]).reshape(GRID, GRID) + 1
    assert_array_equal(e.assignment, expected)


def test_prototypes_are_regions_with_their_nearest_cells():
  rows = jax.device_get(jax.jit(MODEL.inspect)(STATE, stream().images))
  found, _ = inspected()
  for k, e in enumerate(found):
    assert [p.number for p in e.prototypes] == [1, 2, 3]
    assert_allclose(sum(p.share for p in e.prototypes), 1)
    assert e.prototypes[1].share == 0
    assert np.isnan(e.prototypes[1].distance)
    assert e.prototypes[1].patches == ()
    for m in (0, 2):
      own = np.flatnonzero(rows["assignment"][k] == m)
      far = rows["distance"][k, own]
      p = e.prototypes[m]
      assert_allclose(p.share, len(own) / GRID**2)
      assert_allclose(p.distance, far.mean(), rtol=1e-6)
      nearest = [divmod(int(own[i]), GRID) for i in far.argsort()[:3]]
      assert [(b.top // TILE, b.left // TILE) for b in p.patches] == nearest
      assert {(b.bottom - b.top, b.right - b.left) for b in p.patches} == {
        (TILE, TILE)
      }


def test_the_box_is_around_the_worst_region_alone():
  image = np.full((SIZE, SIZE, 3), 100, np.uint8)
  # Two tiles that touch, one beside them that is not half as odd, and one
  # somewhere else.
  image[8:16, 16:32] = 220
  image[16:24, 16:24] = 165
  image[24:32, 0:8] = 200
  # One tile in the corner of the image.
  corner = np.full((SIZE, SIZE, 3), 100, np.uint8)
  corner[24:32, 24:32] = 220
  found = explain(fakes.Images(np.stack([image, corner]), [-1, -1]))
  assert [e.worst for e in found] == [Box(8, 16, 16, 32), Box(24, 24, 32, 32)]


def test_an_even_image_has_no_worst_place():
  even = np.full((2, SIZE, SIZE, 3), 90, np.uint8)
  for e in explain(fakes.Images(even, [-1, -1])):
    assert e.worst is None
    assert abs(e.worst_value) < 1e-6
    assert e.shares == {}


def test_what_the_source_knows_is_told():
  labels = np.arange(10) % 3
  source = Known(fakes.photographs(10, seed=2), labels)
  found = explain(source, split="train", limit=5)
  assert [e.index for e in found] == [0, 2, 4, 7, 9]
  for e in found:
    assert e.split == "train"
    assert e.category == ("bottle", "cable")[e.index % 2]
    assert e.kind == ("normal", "crack", "hole")[labels[e.index]]
    assert e.truth.shape == (SIZE, SIZE)
    whole = Image.fromarray(np.uint8(255 * source.truth(e.index)))
    small = whole.resize((SIZE, SIZE), Image.Resampling.NEAREST)
    assert_array_equal(e.truth, np.asarray(small) > 0)
    assert e.truth.any() == (labels[e.index] > 0)
    same, _ = inspected()
    assert_allclose(e.score, same[e.index].score, rtol=1e-6)
    for name, fall in e.because.items():
      assert_allclose(fall, same[e.index].because[name], atol=1e-6)


def test_one_category_is_not_named_and_labels_need_no_truth():
  source = Known(fakes.photographs(4, seed=2), [0, 1, 2, 0])
  source.category_names = ("bottle",)
  source.categories = np.zeros(4, int)
  source.has_truth = False
  for e in explain(source):
    assert e.category == ""
    assert e.kind is not None
    assert e.truth is None
    assert e.met is None


class Marked:
  """Grey images of two shapes with one odd place, which is a defect."""

  class_names, category_names = ("normal", "crack"), ("tile",)
  skipped, has_truth = (), True
  shapes = ((80, 160), (160, 80), (160, 80))
  places = (slice(16, 32), slice(64, 80)), (slice(68, 84), slice(60, 76))
  places = (*places, (slice(8, 24), slice(30, 46)))
  labels = np.ones(3, np.int32)
  categories = np.zeros(3, int)

  def __len__(self):
    return 3

  def name(self, i):
    return f"{i}.png"

  def truth(self, i):
    truth = np.zeros(self.shapes[i], bool)
    truth[self.places[i]] = True
    return truth

  def __getitem__(self, i):
    image = np.full((*self.shapes[i], 3), 90, np.uint8)
    image[self.truth(i)] = 250
    return {"image": image, "label": 1, "name": self.name(i)}


def test_a_defect_is_found_where_it_is_in_the_image_itself():
  """The middle 32 of 40 pixels of the shorter side are seen: 64 of 80."""
  source = Marked()
  images = stream_lib.ordered(source, SIZE, 4, resizing=Resizing("aspect", 40))
  found = explain(images)
  seen = [Box(8, 48, 72, 112), Box(48, 8, 112, 72), Box(48, 8, 112, 72)]
  for i, (e, window) in enumerate(zip(found, seen, strict=True)):
    assert e.original.shape == source.shapes[i]
    assert e.original.seen == window
    assert not e.original.whole
    whole = source.truth(i)
    part = whole[window.top : window.bottom, window.left : window.right]
    assert_array_equal(e.truth, part.reshape(32, 2, 32, 2).all((1, 3)))
    assert e.original.hidden == 1 - part.sum() / whole.sum()
    small = e.picture[..., 0] > 170
    assert_array_equal(small, e.truth)
  assert [e.original.hidden for e in found] == [0, 0.25, 1]
  # Cells of 8 x 8 pixels are 16 x 16 pixels of the image.
  assert found[0].original.worst == Box(8, 64, 40, 80)
  top, left, bottom, right = found[1].original.worst
  assert max(top, 68) < min(bottom, 84)
  assert max(left, 60) < min(right, 72)
  assert {bottom - top, right - left} <= {16, 32}
  assert found[2].original.worst is None
  assert found[2].met is None

"""Fields: what is read, padded and moved together, and what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax import parallel
from protojax.data import columns, fields, splits, transforms
from protojax.data import stream as stream_lib
from protojax.data.source import subset
from protojax.types import UserError
from tests.data.field_fakes import COUNT, KINDS, Bags, Everything, Unlabelled


def test_a_source_without_fields_has_an_image_and_a_label(array_source):
  source = array_source(6)
  for found in (source, subset(source, [1, 2])):
    expected = {"image": fields.Pixels(3), "label": fields.Label()}
    assert fields.of(found) == expected
  assert columns.groups(source) is None


def test_a_batch_holds_each_field_in_its_layout():
  source = Everything()
  (batch,) = stream_lib.ordered(source, 24, COUNT).batches()
  assert set(batch) == {*KINDS, "index", "valid"}
  for name, field in KINDS.items():
    layout, found = field.layout(24), batch[name]
    assert jax.tree.structure(layout) == jax.tree.structure(found)
    for x, rows in zip(
      jax.tree.leaves(layout), jax.tree.leaves(found), strict=True
    ):
      assert rows.shape == (COUNT, *x.shape), name
      assert rows.dtype == x.dtype, name
  for i in range(COUNT):
    assert_array_equal(batch["image"][i, ..., 2], 255 * source.disc(i))
    assert_array_equal(batch["depth"][i, ..., 1], -1.0 * source.disc(i))
    assert_array_equal(batch["surface"][i], source.disc(i))
    assert_array_equal(batch["things"]["masks"][i, 0], source.disc(i))
    assert_array_equal(
      batch["words"]["tokens"][i, : 1 + i % 5], 1 + np.r_[: 1 + i % 5]
    )
  assert not batch["things"]["masks"][:, 1:].any()
  for name in ("things", "boxes"):
    assert_array_equal(batch[name]["valid"], [[True, False, False]] * COUNT)
    assert_array_equal(batch[name]["classes"], [[1, 0, 0]] * COUNT)
  assert_array_equal(batch["words"]["valid"].sum(1), 1 + np.arange(COUNT) % 5)
  assert_array_equal(batch["label"], source.labels)
  assert_array_equal(batch["kind"], np.arange(COUNT) % 3)
  assert_array_equal(batch["slide"], np.arange(COUNT) // 3)
  assert_array_equal(batch["record"][:, 0], np.arange(COUNT))


def test_spatial_fields_are_resized_alike():
  (batch,) = stream_lib.ordered(Everything(), 12, COUNT).batches()
  seen = batch["image"][..., 0] > 127
  for plane in (batch["surface"] == 1, batch["things"]["masks"][:, 0]):
    assert (plane != seen).mean() < 0.05
  assert_allclose(
    batch["depth"][..., 0], batch["image"][..., 0] / 255, atol=0.01
  )


def test_one_draw_moves_all_spatial_fields_and_no_other():
  source = Everything()
  stream = stream_lib.shuffled(source, 24, COUNT, 0, "crop,colour")
  (batch,) = stream.batches(0, 1)
  moved = jax.device_get(jax.jit(stream.varied)(batch, parallel.key(1)))
  image = moved["image"][..., 0]
  disc = image > (image.min((1, 2)) + image.max((1, 2)))[:, None, None] / 2
  depth, masks = moved["depth"], moved["things"]["masks"][:, 0]
  for plane in (depth[..., 0] > 0.5, moved["surface"] == 1, masks):
    assert (disc & plane).sum() > 0.9 * (disc | plane).sum()
  assert_allclose(depth[..., 1], -depth[..., 0], atol=1e-6)  # no colour
  for mask, box in zip(masks, moved["boxes"]["boxes"][:, 0], strict=True):
    y, x = np.nonzero(mask)
    # The box of a turned box is larger than that of a turned disc.
    assert (24 * box[:2] <= np.array([y.min(), x.min()]) + 1).all()
    assert (24 * box[2:] >= np.array([y.max(), x.max()])).all()
  assert (moved["surface"] != batch["surface"]).any((1, 2)).mean() > 0.8
  for name in (
    "label", "kind", "attributes", "slide", "words", "record", "index", "valid"
  ):  # fmt: skip
    jax.tree.map(assert_array_equal, moved[name], batch[name])


def test_what_leaves_the_picture_is_no_longer_valid():
  # The lower right quarter, enlarged.
  crop, box = transforms.AUGMENTATIONS["crop"], jnp.array([0.5, 0.5, 0.5, 0.5])
  field, drawn = fields.Instances(2), transforms.Drawn(((crop, box),))
  masks = np.zeros((2, 8, 8), bool)
  masks[0, :3, :3] = masks[1, 5:, 5:] = True
  value = {"masks": masks, "classes": np.arange(2), "valid": np.ones(2, bool)}
  moved = jax.jit(lambda x: field.moved(x, drawn))(value)
  assert moved["valid"].tolist() == [False, True]
  boxes = np.float32([[0, 0, 0.375, 0.375], [0.625, 0.625, 1, 1]])
  value = {"boxes": boxes, "classes": np.arange(2), "valid": np.ones(2, bool)}
  moved = jax.jit(lambda x: fields.Boxes(2).moved(x, drawn))(value)
  assert moved["valid"].tolist() == [False, True]
  assert_allclose(moved["boxes"][1], [0.25, 0.25, 1, 1], atol=1e-6)


def test_fields_are_read_once_and_kept_within_the_limit():
  source = Everything()
  one = sum(
    x.dtype.itemsize * x.size
    for name, field in KINDS.items()
    if name not in ("label", "slide")
    for x in jax.tree.leaves(field.layout(24))
  )
  stream = stream_lib.ordered(source, 24, 6, cache_bytes=7 * one)
  first, again = list(stream.batches()), list(stream.batches())
  jax.tree.map(assert_array_equal, first, again)
  assert sorted(source.read) == sorted([*range(COUNT), *range(7, COUNT)])


def test_what_is_known_is_read_from_no_file():
  source = Everything()
  stream = stream_lib.shuffled(source, 24, 6, seed=0)
  (batch,) = stream.batches(0, 1, read_images=False)
  assert set(batch) == {"label", "slide", "index", "valid"}
  assert source.read == []


def test_sources_without_images_or_labels_are_streams():
  source = Unlabelled()
  (batch, *_) = stream_lib.ordered(source, 1, 4).batches()
  assert set(batch) == {"record", "index", "valid"}
  assert_array_equal(batch["record"][:, 2], [0, 1, 2, 3])
  given = np.arange(9) % 2
  stream = stream_lib.shuffled(source, 1, 4, 0, labels=given)
  (batch,) = stream.batches(0, 1)
  assert_array_equal(batch["label"], given[batch["index"]])
  assert_array_equal(stream.examples([8])["record"], [[8, 8, 8]])


@pytest.mark.parametrize("count", [1, 2])
def test_bags_pad_to_one_power_of_two_in_all_processes(count, monkeypatch):
  source = Bags()
  lengths = []
  for number in range(count):
    monkeypatch.setattr(
      parallel, "process_index_count", lambda n=number: (n, count)
    )
    own = []
    for batch in stream_lib.ordered(source, 1, 4).batches():
      cells = batch["cells"]
      own.append(cells["vectors"].shape[1])
      assert cells["vectors"].shape == (4 // count, own[-1], 2)
      for i, vectors, valid in zip(
        batch["index"], cells["vectors"], cells["valid"], strict=True
      ):
        assert_array_equal(valid, np.arange(own[-1]) <= 3 * i)
        assert_array_equal(vectors, np.where(valid, i, 0)[:, None] * [1, 1])
    lengths.append(own)
  # The largest bags have 10 and 22 vectors.
  assert lengths == [[16, 32]] * count
  (batch,) = stream_lib.ordered(source, 1, 4).some([0])
  assert batch["cells"]["vectors"].shape[1] == 1


def test_mistakes_of_bags():
  source = Bags()
  source.counts = source.counts + 1
  with pytest.raises(UserError, match=r"'bag 0', field 'cells': found 1 vec"):
    list(stream_lib.ordered(source, 1, 4).batches())
  source.counts = 0 * source.counts
  with pytest.raises(UserError, match=r"'bag 0', .* found no vector, expected"):
    stream_lib.ordered(source, 1, 4, cache_bytes=1)
  source = Unlabelled()
  source.fields = {"cells": fields.Bag(2)}
  with pytest.raises(UserError, match=r"bags 'cells' but no `sizes"):
    stream_lib.ordered(source, 1, 4)


class _Wrong(Everything):
  """Example 1 has another value in a field."""

  def __init__(self, **wrong):
    super().__init__(4)
    self.wrong = wrong

  def __getitem__(self, i):
    found = super().__getitem__(i)
    if i == 1:
      found.update(self.wrong)
      found = {k: v for k, v in found.items() if v is not None}
    return found


def _masks(*shape):
  return np.zeros(shape, bool)


def _box(*box):
  return np.array([box], float)


@pytest.mark.parametrize(
  ("name", "value", "message"),
  [
    ("image", _masks(4, 5), r"bool \[4, 5\], expected uint8 \[H, W, 3\]"),
    ("image", np.zeros((4, 5, 3)), r"float64 \[4, 5, 3\], expected uint8"),
    ("image", None, r"only \['attributes', .*expected this field"),
    ("depth", _masks(4, 4, 2), r"bool .* expected float \[H, W, 2\]"),
    ("depth", np.full((4, 4, 2), np.nan), "32 values that are not finite"),
    ("surface", np.full((4, 4), -1), "values from -1 to -1, expected"),
    ("surface", np.zeros((4, 4)), r"float64 .* expected int \[H, W\]"),
    ("things", 1, r"int, expected a mapping of \['masks', 'classes'\]"),
    (
      "things",
      {"masks": _masks(4, 2, 2), "classes": [0] * 4},
      "4 rows, expected at most 3",
    ),
    (
      "things",
      {"masks": np.zeros((1, 2, 2)), "classes": [0]},
      r"float64 \[1, 2, 2\], expected bool \[t, H, W\]",
    ),
    (
      "boxes",
      {"boxes": _box(0, 0, 2, 1), "classes": [0]},
      "values from 0.0 to 2.0, expected values from 0 to 1",
    ),
    ("boxes", {"boxes": _box(0.5, 0, 0.5, 1), "classes": [0]}, "an empty box"),
    (
      "boxes",
      {"boxes": _box(0, 0, 1, 1), "classes": [0, 1]},
      r"int64 \[2\], expected int \[1\]",
    ),
    ("kind", 0.5, r"float64 \(one number\), expected int \(one number\)"),
    ("kind", -2, "values from -2 to -2, expected values from -1"),
    ("attributes", np.array([0, 1, 2, 0]), "values from 0 to 2, expected"),
    ("words", np.arange(6), "6 rows, expected at most 5"),
    ("record", np.array([np.inf, 0]), "1 values that are not finite"),
  ],
)
def test_a_mistake_names_example_field_and_what_is_expected(
  name, value, message
):
  with pytest.raises(
    UserError, match=f"'example 1', field '{name}': found {message}"
  ):
    list(stream_lib.ordered(_Wrong(**{name: value}), 24, 4).batches())


def test_names_that_every_batch_has_are_refused():
  source = Unlabelled()
  # "copies" are of an explanation, "parts" of an evaluation.
  for name in ("valid", "copies", "parts"):
    source.fields = {name: fields.Vector(3)}
    with pytest.raises(UserError, match=f"field '{name}', which batches have"):
      stream_lib.ordered(source, 1, 4)
  source.groups = np.zeros(3, int)
  with pytest.raises(
    UserError, match=r"groups .* shape \(3,\), expected int of"
  ):
    splits.divided(source, 0.5, 0)
  del source.groups
  source.fields = {"slide": fields.Group()}
  with pytest.raises(UserError, match="'slide' of groups but no `groups`"):
    stream_lib.ordered(source, 1, 4)


class _Eight(Everything):
  def __len__(self):
    return 8


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ([7] * 8, "labels .* from 7 to 7, expected -1 .unknown. to 1$"),
    ([-2] * 8, "labels .* from -2 to -2, expected -1"),
    (np.full(8, 0.9), r"labels .* float64 .* expected int of shape \(8,\)"),
    (np.zeros(8, bool), "labels .* bool .* expected int"),
    (np.zeros(100, int), r"labels .* shape \(100,\), expected .* \(8,\), one"),
    (np.zeros((8, 2), int), r"labels .* shape \(8, 2\), expected"),
  ],
)
def test_labels_of_a_source_are_its_classes(given, message):
  source = _Eight(8)
  source.labels = given
  for use in (
    lambda: stream_lib.ordered(source, 4, 4),
    lambda: stream_lib.shuffled(source, 4, 4, 0),
    lambda: splits.divided(source, 0.5, 0),
  ):
    with pytest.raises(UserError, match=message):
      use()


def test_labels_of_a_source_may_be_any_list_of_its_classes():
  source = Everything(8)
  source.labels = [-1, 0, 1, 1, 0, 0, 1, -1]
  stream = stream_lib.ordered(source, 4, 8)
  (batch,) = stream.batches(read_images=False)
  assert_array_equal(batch["label"], source.labels)
  assert_array_equal(stream.labels, source.labels)
  train, validation = splits.divided(source, 0.5, 0)
  assert len(train) + len(validation) == 8
  source.class_names, source.labels = (), [900] * 8
  (batch,) = stream_lib.ordered(source, 4, 8).batches(read_images=False)
  assert_array_equal(batch["label"], [900] * 8)


def test_groups_that_would_wrap_are_refused():
  source = Everything(8)
  source.groups = np.arange(8) << 32
  with pytest.raises(UserError, match=r"groups .* 30064771072, expected -2"):
    stream_lib.ordered(source, 4, 4)


@pytest.mark.parametrize("seed", range(4))
def test_splits_keep_groups_whole(seed):
  source = Everything(60)
  source.groups = np.arange(60) // 2 % 10  # mixed classes: the first counts
  train, validation = splits.divided(source, 0.3, seed)
  sides = [set(columns.groups(part).tolist()) for part in (train, validation)]
  assert not sides[0] & sides[1]
  assert len(sides[1]) == 3
  assert len(train) + len(validation) == 60
  again = splits.divided(source, 0.3, seed)[1]
  assert_array_equal(again.rows, validation.rows)
  # Subsets know their own groups.
  assert_array_equal(columns.groups(train), source.groups[train.rows])


def test_a_group_is_of_its_most_frequent_class():
  source = Everything(8)
  source.groups = np.array([0, 0, 0, 1, 1, 1, 2, 3])
  source.labels = np.array([1, 1, 0, 1, 1, 1, 0, -1], np.int32)
  # Class 0 has group 2 alone, class 1 has 0 and 1, and 3 is unknown.
  _, validation = splits.divided(source, 0.5, 0)
  assert validation.rows.tolist() in ([0, 1, 2], [3, 4, 5])


def test_a_source_without_classes_is_divided_as_one():
  train, validation = splits.divided(Unlabelled(), 0.34, 0)
  assert (len(train), len(validation)) == (6, 3)

"""Views: who goes on from whom, draws of their own, JPEG that repeats."""

import functools

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax import parallel
from protojax.data import fields, images, views
from protojax.data import stream as stream_lib
from protojax.types import UserError
from tests.data.field_fakes import KINDS, Bags, Everything, Unlabelled

VIEWS = {
  "strong": "weak+colour",
  "weak": "flip",
  "other": "flip",
  "web": "jpeg,flip",
}


class Pictures(Everything):
  fields = {  # noqa: RUF012
    name: KINDS[name] for name in ("image", "surface", "label", "words")
  }


@functools.cache
def stream():
  return stream_lib.shuffled(Pictures(), 24, 6, 3, views=VIEWS)


@functools.cache
def varied():
  """Host batches of two steps, and the same on the device."""
  read = list(stream().batches(1, 3))
  step = jax.jit(stream().varied)
  return read, [
    jax.device_get(step(batch, parallel.key(n))) for n, batch in enumerate(read)
  ]


def test_each_view_is_a_whole_batch():
  assert stream().varies
  for read, batch in zip(*varied(), strict=True):
    assert set(batch) == set(VIEWS)
    for view in batch.values():
      assert set(view) == set(read) - {views.JPEG}
      for name in ("index", "label", "valid", "words"):
        jax.tree.map(assert_array_equal, view[name], read[name])


def test_a_layout_has_the_shapes_of_a_batch():
  def of(batch):
    return jax.tree.map(lambda x: (x.shape, x.dtype), batch)

  (read, _), _ = varied()
  assert of(stream().layout()) == of(read)
  (known,) = stream().batches(0, 1, read_images=False)
  assert of(stream().layout(read_images=False)) == of(known)
  weighted = stream_lib.shuffled(Pictures(), 24, 6, 3, weights=np.ones(12))
  (batch,) = weighted.batches(0, 1)
  assert of(weighted.layout()) == of(batch) == of(weighted.examples(range(6)))


def test_a_layout_of_bags_is_that_of_the_largest():
  bags = stream_lib.ordered(Bags(), 0, 64)
  (batch,) = bags.batches()
  shapes = jax.tree.map(lambda x: x.shape, batch)
  assert jax.tree.map(lambda x: x.shape, bags.layout()) == shapes


def test_a_view_goes_on_from_another_and_keeps_its_geometry():
  _, (batch, _) = varied()
  weak, strong = batch["weak"], batch["strong"]
  assert_array_equal(weak["surface"], strong["surface"])
  assert (weak["image"] != strong["image"]).any()
  # The colour of the weak one, not of the image: places agree.
  ends = strong["image"].min((1, 2)), strong["image"].max((1, 2))
  disc = strong["image"] > sum(ends)[:, None, None] / 2
  assert ((weak["image"] > 127) != disc).mean() < 0.02


def test_views_draw_by_keys_of_their_own():
  _, found = varied()
  weak, other = (
    np.concatenate([batch[name]["surface"] for batch in found])
    for name in ("weak", "other")
  )
  assert 0.1 < (weak != other).any((1, 2)).mean() < 0.9
  alone = stream_lib.shuffled(
    Pictures(), 24, 6, 3, views={"weak": VIEWS["weak"]}
  )
  (read,) = alone.batches(1, 2)
  again = jax.jit(alone.varied)(read, parallel.key(0))
  assert_array_equal(again["weak"]["surface"], weak[:6])


def test_a_jpeg_repeats_on_resume_and_differs_by_epoch():
  read, (batch, _) = varied()
  (again,) = stream().batches(2, 3)
  jax.tree.map(assert_array_equal, again, read[1])
  index = int(read[0]["index"][0])
  # Two steps to an epoch: one of the first, and others.
  saved = {}
  for step, found in enumerate(stream().batches(0, 20)):
    for row in np.flatnonzero(found["index"] == index):
      saved[step // 2] = found[views.JPEG]["web"]["image"][row]
  plain = stream().source[index]["image"]
  qualities = [images.through_jpeg(plain, q) for q in range(30, 96)]
  for image in saved.values():
    assert any(np.array_equal(image, made) for made in qualities)
  assert len({image.tobytes() for image in saved.values()}) > 5
  flipped = (
    batch["web"]["image"][:, :, ::-1] == read[0][views.JPEG]["web"]["image"]
  )
  same = batch["web"]["image"] == read[0][views.JPEG]["web"]["image"]
  assert (flipped.all((1, 2, 3)) | same.all((1, 2, 3))).all()


def test_jpeg_alone_without_views():
  stream = stream_lib.shuffled(Pictures(), 24, 6, 3, "jpeg")
  assert stream.varies
  (read,) = stream.batches(0, 1)
  batch = stream.varied(read, parallel.key(0))
  assert_array_equal(batch["image"], read[views.JPEG][""]["image"])
  assert (batch["image"] != read["image"]).any()
  # Chosen examples are read as they are.
  assert views.JPEG not in stream.examples([1])


class Noise(Pictures):
  fields = {"image": KINDS["image"]}  # noqa: RUF012

  def __getitem__(self, i):
    noise = np.random.default_rng(int(i)).integers(0, 256, (24, 24, 3))
    return {"image": noise.astype(np.uint8)}


@pytest.mark.parametrize(
  "choice",
  [
    {"weights": [1.0, 1.0, *[0.0] * 10], "rows": range(12)},
    {"rows": [0] * 6 + [1] * 6},
  ],
)
@pytest.mark.parametrize("views", [None, {"a": "crop", "b": "a+colour"}])
def test_copies_of_an_example_in_a_batch_vary_each_for_itself(choice, views):
  stream = stream_lib.shuffled(
    Noise(), 24, 12, 3, "" if views else "crop", views=views, **choice
  )
  (read,) = stream.batches(0, 1)
  assert set(read["index"]) == {0, 1}
  varied = jax.jit(stream.varied)
  batch = varied(read, parallel.key(1))
  for found in batch.values() if views else [batch]:
    images = np.asarray(found["image"])
    assert len({image.tobytes() for image in images}) == 12
  # Noise follows the draw and not its place in the batch, and repeats.
  order = np.arange(12)[::-1]
  (again,) = stream.batches(0, 1)
  again = varied({k: v[order] for k, v in again.items()}, parallel.key(1))
  jax.tree.map(lambda x, y: assert_array_equal(x[order], y), batch, again)


@pytest.mark.parametrize(
  "choice",
  [{"weights": [1.0, 1.0, *[0.0] * 58]}, {"rows": [0] * 30 + [1] * 30}],
)
def test_copies_of_an_example_in_an_epoch_are_of_many_qualities(choice):
  def read(start, stop):
    stream = stream_lib.shuffled(Noise(60), 24, 6, 3, "jpeg", **choice)
    return list(stream.batches(start, stop))

  batches = read(0, 10)  # an epoch
  saved = [image for b in batches for image in b[views.JPEG][""]["image"]]
  # 66 qualities, 30 copies of each of two examples.
  assert len({image.tobytes() for image in saved}) > 30
  draws = [
    (i, d)
    for batch in batches
    for i, d in zip(
      batch["index"].tolist(), batch["draw"].tolist(), strict=True
    )
  ]
  assert len(set(draws)) == 60
  jax.tree.map(assert_array_equal, read(7, 9), batches[7:9])


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({}, "views={} has no view: name one, or leave views out"),
    ({"a": ""}, r"view 'a' = '' is empty: give it a name and augmentations"),
    ({"a": "flip", "b": "a+"}, r"view 'b' = 'a\+' is empty"),
    ({"a": "+flip"}, r"view 'a' = '\+flip' is empty"),
    ({"": "flip"}, "view '' = 'flip' is empty"),
    (
      {"index": "flip"},
      "a view is called 'index', which batches have for them",
    ),
    ({"a": "b+flip"}, "'a' goes on from 'b', which is no view; there are a"),
    ({"a": "a+flip"}, r"views a -> a go on from each other: start one"),
    (
      {"a": "c+flip", "b": "a+crop", "c": "b+crop"},
      "views a -> c -> b -> a go on from each other",
    ),
    ({"a": "flop"}, "no augmentation 'flop'; there are flip"),
    ({"a": "flip,jpeg"}, "'jpeg' in 'flip,jpeg' follows what .* put it first"),
    ({"a": "flip", "b": "a+jpeg"}, r"'jpeg' in 'a\+jpeg' follows what"),
  ],
)
def test_views_that_cannot_be_made(given, message):
  with pytest.raises(UserError, match=message):
    stream_lib.shuffled(Everything(), 24, 6, 0, views=given)


class Channels(Unlabelled):
  def __init__(self, channels):
    super().__init__()
    self.fields = {"left": fields.Pixels(channels), "map": fields.Grid(2)}

  def __getitem__(self, i):
    side = self.fields["left"].channels
    left = np.full((6, 6, side), 20 * i, np.uint8)
    return {"left": left, "map": np.ones((6, 6, 2))}


@pytest.mark.parametrize("views", [None, {"a": "flip", "b": "a+crop,colour"}])
@pytest.mark.parametrize("channels", [2, 4])
def test_colour_of_channels_that_have_none_is_refused(views, channels):
  with pytest.raises(
    UserError,
    match=f"'colour' needs an image of 1 or 3 .* 'left' has {channels}",
  ):
    stream_lib.shuffled(
      Channels(channels), 6, 4, 0, "" if views else "flip,colour", views=views
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_of_grey_and_of_colours(channels):
  stream = stream_lib.shuffled(Channels(channels), 6, 4, 0, "colour")
  (read,) = stream.batches(0, 1)
  batch = jax.jit(stream.varied)(read, parallel.key(0))
  assert batch["left"].shape == (4, 6, 6, channels)
  assert (batch["left"] != read["left"]).any()
  assert_array_equal(batch["map"], read["map"])


def test_other_mistakes():
  with pytest.raises(UserError, match=r"'colour' .*, and there is none"):
    stream_lib.shuffled(Bags(), 1, 4, 0, "colour")
  with pytest.raises(UserError, match="augment='flip' and views are given"):
    stream_lib.shuffled(Everything(), 24, 6, 0, "flip", views=VIEWS)
  with pytest.raises(UserError, match="'jpeg' in 'flip,jpeg' follows"):
    stream_lib.shuffled(Everything(), 24, 6, 0, "flip,jpeg")
  with pytest.raises(UserError, match=r"'jpeg' needs an image .* only cells"):
    stream_lib.shuffled(Bags(), 1, 4, 0, "jpeg")

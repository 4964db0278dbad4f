"""Resizing and cropping against Pillow, and places in them against pixels."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
import pytest

from protojax import methods
from protojax.data import resizing
from protojax.data import stream as stream_lib
from protojax.data.resizing import SQUASH, Frame, Preprocessing, Resizing
from protojax.types import Box, UserError
from tests.data.field_fakes import COUNT, Everything

FILTERS = {
  "bilinear": Image.Resampling.BILINEAR,
  "bicubic": Image.Resampling.BICUBIC,
  "lanczos": Image.Resampling.LANCZOS,
}
SHAPES = [(37, 53), (53, 37), (61, 61), (20, 91), (24, 24)]


def photograph(height, width, channels=3):
  rng = np.random.default_rng(height * width)
  return rng.integers(0, 256, (height, width, channels), np.uint8)


def by_hand(image, shorter, size, resample):
  """Pillow's resize of the shorter side, and the middle of it.

  The longer side is cut to whole pixels, and the middle begins at the nearest
  even half, as torchvision's Resize and CenterCrop have it.
  """
  picture = Image.fromarray(image)
  width, height = picture.size
  if width <= height:
    picture = picture.resize((shorter, int(shorter * height / width)), resample)
  else:
    picture = picture.resize((int(shorter * width / height), shorter), resample)
  left = round((picture.width - size) / 2)
  top = round((picture.height - size) / 2)
  return np.asarray(picture.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shorter_side_and_middle_are_pillows_to_the_last_grey_level(
  shape, name
):
  image = photograph(*shape)
  for shorter, size in ((24, 21), (29, 24), (24, 24)):
    frame = Resizing("aspect", shorter, name).frame(shape, size)
    assert frame.size == size
    assert min(frame.height, frame.width) == shorter
    expected = by_hand(image, shorter, size, FILTERS[name])
    assert_array_equal(frame.pixels(image), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_adm_halves_first(shape):
  """Dhariwal & Nichol (2021): box filter, bicubic, middle."""
  for size in (5, 9, 20):
    picture = Image.fromarray(photograph(*shape))
    halvings = 0
    while min(picture.size) >= 2 * size:
      picture = picture.resize([n // 2 for n in picture.size], Image.BOX)
      halvings += 1
    scale = size / min(picture.size)
    sides = [round(n * scale) for n in picture.size]
    pixels = np.asarray(picture.resize(sides, Image.BICUBIC))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    frame = resizing.ADM.frame(shape, size)
    assert frame.halvings == halvings
    assert_array_equal(
      frame.pixels(photograph(*shape)),
      pixels[top : top + size, left : left + size],
    )
  rule = resizing.chosen({"resize": "adm", "image_size": 4})
  assert rule == resizing.ADM


@pytest.mark.parametrize("shape", SHAPES)
def test_squashing_is_pillows_whole_or_cut(shape):
  image = photograph(*shape)
  whole = SQUASH.frame(shape, 24)
  assert whole.whole
  expected = Image.fromarray(image).resize((24, 24), FILTERS["bilinear"])
  assert_array_equal(whole.pixels(image), expected)
  cut = Resizing("squash", 32).frame(shape, 28)
  assert not cut.whole
  expected = Image.fromarray(image).resize((32, 32), FILTERS["bilinear"])
  assert_array_equal(cut.pixels(image), expected.crop((2, 2, 30, 30)))


def test_planes_of_any_number_and_floats():
  image, frame = (
    photograph(31, 45, 2),
    Resizing("aspect", 20).frame((31, 45), 16),
  )
  planes = np.moveaxis(image, -1, 0)
  expected = [by_hand(p, 20, 16, FILTERS["bilinear"]) for p in planes]
  assert_array_equal(frame.pixels(image), np.stack(expected, axis=-1))
  values = (image / 255).astype(np.float32)
  planes = np.moveaxis(values, -1, 0)
  expected = [by_hand(p, 20, 16, FILTERS["bilinear"]) for p in planes]
  assert_array_equal(frame.pixels(values), np.stack(expected, axis=-1))


RULES = [
  SQUASH,
  Resizing("squash", 32),
  Resizing("aspect"),
  Resizing("aspect", 37, "bicubic"),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(96, 128), (160, 80), (90, 90)])
def test_a_marked_place_is_found_where_it_should_be(rule, shape):
  """A bright square in the image, by pixels, by boxes and by masks."""
  height, width = shape
  rng, found = np.random.default_rng(3), 0
  frame = rule.frame(shape, 28)
  for _ in range(40):
    top, left = rng.integers(0, height - 24), rng.integers(0, width - 24)
    mask = np.zeros(shape, bool)
    mask[top : top + 24, left : left + 24] = True
    image = np.repeat(np.uint8(255 * mask)[..., None], 3, axis=-1)
    pixels = frame.pixels(image)[..., 0] > 127
    box = np.array([[top, left, top + 24, left + 24]])
    (share,), (seen,) = frame.boxes(box / np.tile(shape, 2))
    assert seen == (share[2] > share[0])
    near = frame.nearest(mask)
    # The edge may be a pixel off where it falls within one.
    assert (near ^ pixels).sum() <= 2 * (near.any(0).sum() + near.any(1).sum())
    if not pixels.any():
      assert np.prod(28 * (share[2:] - share[:2])) <= 1 * 28
      continue
    found += 1
    y, x = np.nonzero(pixels)
    ends = [y.min(), x.min(), y.max() + 1, x.max() + 1]
    assert_allclose(28 * share, ends, atol=1)
    # And back: the box of what was found, in pixels of the image.
    back = frame.original(Box(*map(int, ends)), (*shape, 3))
    step = max(frame_step(frame, shape))
    expected = np.array(box[0])
    for k, inner in enumerate((ends[0] > 0, ends[1] > 0, ends[2] < 28)):
      if inner:
        assert abs(back[k] - expected[k]) <= 2 * step
  assert found >= 20


def frame_step(frame, shape):
  """Pixels of the image to one of the square, along both axes."""
  return shape[0] / frame.height, shape[1] / frame.width


@pytest.mark.parametrize("rule", RULES)
def test_places_go_out_and_come_back(rule):
  frame = rule.frame((50, 70), 28)
  places = np.random.default_rng(0).uniform(0, 1, (9, 2))
  out = frame.in_image(places)
  points = np.concatenate([out, np.ones((9, 1))], axis=1)
  assert_allclose(frame.points(points)[:, :2], places, atol=1e-12)
  assert frame.points(points)[:, 2].all()
  corners = frame.in_image(np.array([[0.0, 0], [1, 1]]))
  assert_allclose(corners.sum(0), 1, atol=0.03)  # the middle
  beyond = np.array([[-0.01, 0.5, 1], [0.5, 1.01, 1], [0.5, 0.5, 0]])
  beyond[:, :2] = frame.in_image(beyond[:, :2])
  assert not frame.points(beyond)[2, 2]
  if not frame.whole:
    assert not frame.points(beyond)[:, 2].any()


@pytest.mark.parametrize(
  ("box", "whole", "expected"),
  [
    (Box(0, 0, 32, 32), (300, 200, 3), Box(0, 0, 300, 200)),
    (Box(8, 16, 24, 32), (64, 96, 3), Box(16, 48, 48, 96)),
    (Box(1, 1, 2, 2), (33, 31, 3), Box(1, 0, 3, 2)),  # all of the pixels
    (Box(31, 31, 32, 32), (16, 1, 3), Box(15, 0, 16, 1)),
  ],
)
def test_boxes_of_the_original_of_a_squashed_image(box, whole, expected):
  assert SQUASH.frame(whole, 32).original(box, whole) == expected


def test_boxes_of_the_original_of_a_cropped_image():
  # 64 x 96 becomes 32 x 48, of which columns 10 to 38 and rows 2 to 30 stay.
  frame = Resizing("aspect", 32).frame((64, 96), 28)
  assert frame == Frame(32, 48, 2, 10, 28)
  assert frame.original(Box(0, 0, 28, 28), (64, 96)) == Box(4, 20, 60, 76)
  assert frame.original(Box(3, 5, 4, 6), (64, 96)) == Box(10, 30, 12, 32)


def test_all_fields_of_an_example_are_cut_alike():
  source = Everything(side=40)
  rule = Resizing("aspect", 30)
  (batch,) = stream_lib.ordered(source, 18, COUNT, resizing=rule).batches()
  seen = batch["image"][..., 0] > 127
  things, boxes = batch["things"], batch["boxes"]
  planes = batch["surface"] == 1, things["masks"][:, 0]
  for plane in (batch["depth"][..., 0] > 0.5, *planes):
    assert (plane != seen).mean() < 0.05
  for i in range(COUNT):
    y, x = np.nonzero(seen[i])
    ends = [y.min(), x.min(), y.max() + 1, x.max() + 1]
    assert_allclose(18 * boxes["boxes"][i, 0], ends, atol=1)
  assert boxes["valid"][:, 0].all()
  # A smaller square sees nothing of the disc, and says so.
  small = Resizing("squash", 40)
  (batch,) = stream_lib.ordered(source, 4, COUNT, resizing=small).batches()
  for name in ("things", "boxes"):
    hidden = ~(batch["image"][..., 0] > 127).any((1, 2))
    assert hidden.any()
    assert_array_equal(batch[name]["valid"][:, 0], ~hidden)


def test_streams_of_two_rules_do_not_share_what_they_keep():
  source, cut = Everything(), Resizing("squash", 48)
  (plain,) = stream_lib.ordered(source, 24, COUNT).batches()
  stream = stream_lib.ordered(source, 24, COUNT, resizing=cut)
  (other,) = stream.batches()
  assert (plain["image"] != other["image"]).any()
  (again,) = stream.once().in_order().batches()
  assert_array_equal(other["image"], again["image"])


def keys(**given):
  return {"image_size": 224, **given}


def weights():
  return Preprocessing(256, 224, "bicubic")


def test_a_config_chooses_the_rule():
  assert resizing.chosen({}) == SQUASH
  assert resizing.chosen(keys(resize="squash", resize_size=0)) == SQUASH
  found = resizing.chosen(keys(resize="squash", resize_size=256))
  assert found == Resizing("squash", 256)
  found = resizing.chosen(keys(resize="aspect", interpolation="lanczos"))
  assert found == Resizing("aspect", 0, "lanczos")
  own = resizing.chosen(keys(resize="weights"), weights)
  assert own == Resizing("aspect", 256, "bicubic")
  # The same share of an image at another size; a key counts more.
  own = resizing.chosen({"image_size": 448, "resize": "weights"}, weights)
  assert own == Resizing("aspect", 512, "bicubic")
  given = keys(resize="weights", resize_size=300, interpolation="bilinear")
  assert resizing.chosen(given, weights) == Resizing("aspect", 300)


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (keys(resize="fit"), "resize='fit': choose from squash"),
    (keys(interpolation="nearest"), "interpolation='nearest': choose from bil"),
    (keys(resize="aspect", resize_size=200), "resize_size is 200; .*224 or"),
    (keys(resize_size=-1), "resize_size is -1; the middle"),
    (keys(resize="weights"), "resize=weights: this method has no pretrained"),
  ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_key(data, message):
  with pytest.raises(UserError, match=message):
    resizing.chosen(data)


@pytest.mark.parametrize(
  "name", ["csr", "epic", "inp_former", "protopnet", "st_protopnet"]
)
def test_runs_without_the_keys_squash_as_they_did(name):
  later = methods.later(name)
  assert resizing.LATER.items() <= later.items()
  data = {key.removeprefix("data."): x for key, x in resizing.LATER.items()}
  assert resizing.chosen(keys(**data)) == SQUASH

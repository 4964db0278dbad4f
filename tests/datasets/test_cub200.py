"""CUB-200-2011 from its archive to crops, and every way it can be wrong."""

import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from protojax.data import objects, stream
from protojax.datasets import array_records, cub200, photo_records
from protojax.datasets import tfds as tfds_lib
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes

HOME = "CUB_200_2011/"


def write(tmp_path, tree, kind="tgz", **options):
  source = fakes.pack(tmp_path, tree, kind)
  return photo_records.write(
    cub200.read, source, str(tmp_path / "out"), **options
  )


def load(tmp_path, split, crop=True):
  return tfds_lib.opened("cub200", str(tmp_path / "out"), split, crop)


@pytest.mark.parametrize("kind", fakes.KINDS)
def test_crops_labels_and_splits_whatever_holds_them(tmp_path, kind):
  tree = fakes.cub()
  outcome = write(tmp_path, tree, kind)
  assert outcome == array_records.Outcome({"test": 2, "train": 4}, (), ())
  for split, numbers in (("train", (0, 1)), ("test", (2,))):
    source = load(tmp_path, split)
    assert source.class_names == fakes.BIRDS
    found = {source.name(i): source[i] for i in range(len(source))}
    names = [f"{b}/{b[4:]}_{i}.jpg" for b in fakes.BIRDS for i in numbers]
    assert set(found) == set(names)
    for name, item in found.items():
      whole = fakes.pixels(tree[f"{HOME}images/{name}"])
      x, y, w, h = map(int, fakes.BOXES[int(name[-5])])
      expected = whole[y : y + h, x : x + w]
      np.testing.assert_array_equal(item["image"], expected)
      assert fakes.BIRDS[item["label"]] == name.split("/")[0]
    whole = load(tmp_path, split, crop=False)
    assert whole[0]["image"].shape == (16, 20, 3)


def test_files_parts_and_digests_are_kept(tmp_path):
  tree = fakes.cub()
  write(tmp_path, tree)
  folder = array_records.home(tmp_path / "out", "cub200", photo_records.VERSION)
  builder = tfds.builder_from_directory(str(folder))
  assert builder.info.metadata["parts"] == ["back", "left eye"]
  encoded = {"image": tfds.decode.SkipDecoding()}
  (first, *_) = builder.as_data_source("train", decoders=encoded)
  content = tree[f"{HOME}images/{first['name'].decode()}"]
  assert first["image"] == content
  assert first["md5"].decode() == hashlib.md5(content).hexdigest()
  np.testing.assert_array_equal(first["parts"], [[2, 1.5, 1], [3, 1.5, 0]])


def test_boxes_and_parts_in_shares_of_what_is_left_of_an_image(tmp_path):
  """Of 20 x 16 pixels; the first box is 2, 3, 10, 9."""
  write(tmp_path, fakes.cub())
  left, top, width, height = map(float, fakes.BOXES[0])
  whole = load(tmp_path, "train", crop=False)
  (box,) = whole.places(0).boxes
  edges = top / 16, left / 20, (top + height) / 16, (left + width) / 20
  np.testing.assert_allclose(box, edges, rtol=1e-6)
  (row, column, seen), (_, _, hidden) = objects.parts(
    stream.ordered(whole, 8, 1), [0]
  )[0]
  np.testing.assert_allclose((row, column), (1.5 / 16, 2 / 20), rtol=1e-6)
  assert (seen, hidden) == (1, 0)
  cut = load(tmp_path, "train")
  seen = stream.ordered(cut, 8, 1)
  assert objects.masks(seen, [0]) is None
  (row, column, _), _ = objects.parts(seen, [0])[0]
  moved = (1.5 - int(top)) / int(height), (2 - int(left)) / int(width)
  np.testing.assert_allclose((row, column), moved, rtol=1e-6)


def test_the_same_file_in_train_and_test_is_reported(tmp_path):
  tree = fakes.cub()
  first, *_, last = (name for name in tree if name.endswith(".jpg"))
  tree[last] = tree[first]
  outcome = write(tmp_path, tree)
  (pair,) = outcome.overlap
  assert {f"{HOME}images/{name}" for name in pair} == {first, last}
  folder = array_records.home(tmp_path / "out", "cub200", photo_records.VERSION)
  builder = tfds.builder_from_directory(str(folder))
  assert builder.info.metadata["overlap"] == [list(pair)]


def test_broken_images_are_named_skipped_and_counted(tmp_path):
  tree, totals = fakes.cub(4), []
  images = [name for name in tree if name.endswith(".jpg")]
  tree[images[0]], tree[images[1]] = b"junk", b""
  lists = f"{HOME}bounding_boxes.txt"
  tree[lists] = tree[lists].replace(b"5 2.0 3.0", b"5 90.0 3.0")
  outcome = write(tmp_path, tree, begin=totals.append, advance=totals.clear)
  names = [name.removeprefix(f"{HOME}images/") for name in images]
  assert dict(outcome.skipped) == {
    names[0]: "not an image that Pillow can read",
    names[1]: "empty file",
    names[4]: "its box of 10 x 9 pixels at (90, 3) lies outside of its 20 x 16"
    " pixels",
  }
  assert outcome.counts == {"train": 3, "test": 2}
  assert len(load(tmp_path, "train")) == 3


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({f"{HOME}images.txt": None}, "has no images.txt: it is not CUB_200"),
    ({f"{HOME}classes.txt": None}, f"lacks {HOME}classes.txt, which"),
    ({f"{HOME}parts/part_locs.txt": None}, "lacks .*parts/part_locs.txt"),
    (
      {f"{HOME}images/{fakes.BIRDS[0]}/{fakes.BIRDS[0][4:]}_1.jpg": None},
      "lacks .*Albatross_1.jpg of the 6 images that its lists name",
    ),
    (
      {
        f"{HOME}images.txt": "\n".join(
          f"{n} {'../' * n}etc/passwd" for n in range(1, 7)
        ).encode()
      },
      "lacks .*images/../etc/passwd and 5 more of the 6 images",
    ),
    ({f"{HOME}bounding_boxes.txt": b"1 2 3\n"}, "do not fit together"),
    ({f"{HOME}train_test_split.txt": b"1 yes\n"}, "do not fit together"),
    ({f"{HOME}parts/part_locs.txt": b"7 1 2 3 1\n"}, "do not fit together"),
    ({f"{HOME}images.txt": b"\xff\xfe"}, "do not fit together"),
    (
      {
        f"{HOME}images/{fakes.BIRDS[1]}/{fakes.BIRDS[1][4:]}_{i}.jpg": b"junk"
        for i in range(3)
      },
      "class '002.L\"Auk_<b>é' in .* has no readable test image",
    ),
  ],
)
@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_what_is_no_cub_leaves_nothing(tmp_path, kind, change, message):
  tree = {**fakes.cub(), **change}
  tree = {
    name: content for name, content in tree.items() if content is not None
  }
  with pytest.raises(UserError, match=message) as error:
    write(tmp_path, tree, kind)
  assert "\n" not in str(error.value)
  assert not list((tmp_path / "out").glob("*")) + list(
    (tmp_path / "out").glob(".*")
  )


def test_tfds_own_birds_are_cut_too(tmp_path):
  """As TFDS describes `caltech_birds2011`, with an image that is not needed."""
  builder = tfds.builder("caltech_birds2011", data_dir=str(tmp_path))
  content = fakes.jpeg(1)
  example = {
    "image": content,
    "image/filename": "a/b.jpg",
    "label": 7,
    "label_name": "x",
    "bbox": tfds.features.BBox(3 / 16, 2 / 20, 12 / 16, 12 / 20),
    "segmentation_mask": content,
  }
  array_records.write(
    str(tmp_path),
    array_records.Content(
      name="caltech_birds2011",
      version=str(builder.version),
      description="",
      features=dict(builder.info.features),
      splits=["train"],
      examples=[("train", example)],
      metadata=dict,
    ),
  )
  source = tfds_lib.opened("caltech_birds2011", str(tmp_path), "train", True)
  expected = fakes.pixels(content)[3:12, 2:12]
  np.testing.assert_array_equal(source[0]["image"], expected)
  assert source.name(0) == "a/b.jpg"

"""Masks of predictions: at the image's own size, each in its own file."""

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.data import palette, stream
from protojax.data.resizing import Resizing
from protojax.datasets import panoptic_folder
from protojax.operations import mask_files
from protojax.types import UserError


class _Source:
  class_names, skipped = (), ()
  names = ("a/b 1.jpg", "a_b_1.png")

  def __init__(self, shape):
    self.labels = np.full(2, -1, np.int32)
    self.image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)

  def __len__(self):
    return 2

  def __getitem__(self, i):
    return {"image": self.image, "label": -1, "name": self.name(i)}

  def name(self, i):
    return self.names[i]


def _stream(shape):
  source = _Source((*shape, 3))
  return stream.ordered(source, 4, 2, cache_bytes=0)


def test_a_squashed_mask_is_stretched_back():
  classes = np.arange(16).reshape(4, 4)
  frame = Resizing().frame((8, 12, 3), 4)
  found = frame.at_own_size(classes, (8, 12, 3), 255)
  assert_array_equal(found, classes.repeat(2, axis=0).repeat(3, axis=1))


def test_what_was_cut_off_is_unseen():
  classes = np.arange(16).reshape(4, 4)
  frame = Resizing("aspect").frame((8, 12, 3), 4)
  found = frame.at_own_size(classes, (8, 12, 3), 255)
  assert_array_equal(found[:, 2:10], classes.repeat(2, 0).repeat(2, 1))
  assert (found[:, [0, 1, 10, 11]] == 255).all()


def test_files_have_indices_colours_and_names_of_their_own(tmp_path):
  data = _stream((8, 12))
  classes = np.arange(16).reshape(4, 4) % 3
  with mask_files.writer(str(tmp_path / "new")) as write:
    write(data, 0, {"classes": classes})
    with pytest.raises(
      UserError, match=r"two images would be written to .*a_b"
    ):
      write(data, 1, {"classes": classes})
  names = sorted(path.name for path in (tmp_path / "new").iterdir())
  assert names == ["a_b_1-overlay.png", "a_b_1.png"]
  with Image.open(tmp_path / "new" / "a_b_1.png") as found:
    assert found.mode == "P"
    expected = classes.repeat(2, axis=0).repeat(3, axis=1)
    assert_array_equal(np.asarray(found), expected)
    colour = np.asarray(found.convert("RGB"))[0, 0]
  assert_array_equal(colour, palette.colours(1)[0])
  with Image.open(tmp_path / "new" / "a_b_1-overlay.png") as over:
    assert over.size == (12, 8)


def test_segments_are_read_again_as_they_were_written(tmp_path):
  data = _stream((8, 12))
  plane = np.repeat(np.array([[0, 2, 300, 300]]), 4, axis=0)
  row = {
    "classes": np.zeros((4, 4), int),
    "segments": plane,
    "kinds": np.arange(300) % 3,
    "scores": np.full(300, 0.9, np.float32),
    "things": np.array([True, False, True]),
  }
  folder = tmp_path / "train"
  names = ("cat", "sky", "dog")
  with mask_files.writer(str(folder), lambda: names) as write:
    write(data, 0, row)
  (folder / "images").mkdir()
  image = Image.fromarray(data.source[0]["image"])
  image.save(folder / "images" / "b 1.jpg")
  config = ConfigDict({"root": str(tmp_path), "train": "train"})
  source = panoptic_folder.load(config, "train", 0)
  assert source.class_names == names
  assert source.things == (True, False, True)
  segments = source[0]["segments"]
  assert segments["classes"].tolist() == [1, 2]
  large = plane.repeat(2, axis=0).repeat(3, axis=1)
  for mask, number in zip(segments["masks"], (2, 300), strict=True):
    assert_array_equal(mask, large == number)


def test_a_file_in_the_way_is_told(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(UserError, match=r"--masks=.*file"),
    mask_files.writer(str(tmp_path / "file")),
  ):
    pass
  with mask_files.writer("") as write:
    assert write is None

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.datasets import composites
from protojax.types import UserError

TRAIN, TEST = (composites.opened(split, 0) for split in ("train", "test"))


def test_the_class_follows_from_the_concepts():
  for source in (TRAIN, TEST):
    for label, (coin, eye, text, _) in zip(
      source.labels, source.concepts, strict=True
    ):
      expected = "print" if text else "neither"
      expected = "coin and eye" if coin and eye else expected
      assert source.class_names[label] == expected


def test_the_tag_goes_with_print_in_training_alone():
  rates = {}
  for source in (TRAIN, TEST):
    tagged = np.array([source.tag(i) is not None for i in range(len(source))])
    text = source.concepts[:, 2]
    rates[source.split] = tagged[text].mean(), tagged[~text].mean()
  assert rates["train"][0] > 0.85
  assert rates["train"][1] < 0.15
  assert np.all(np.abs(np.array(rates["test"]) - 0.5) < 0.1)


def test_nothing_lies_over_anything():
  side = composites.SIDE
  for i in range(30):
    covered = np.zeros((side, side), int)
    tag = TRAIN.tag(i)
    boxes = [*TRAIN.places(i).boxes, *([] if tag is None else [tag])]
    for top, left, bottom, right in np.rint(np.array(boxes) * side).astype(int):
      covered[top:bottom, left:right] += 1
    assert covered.max() <= 1


def test_pieces_change_their_boxes_and_nothing_else():
  i = int(np.flatnonzero(TEST.concepts.all(axis=1))[0])
  image, side = TEST[i]["image"].astype(int), composites.SIDE
  inside = np.zeros((side, side), bool)
  tag = TEST.tag(i)
  boxes = [*TEST.places(i).boxes, *([] if tag is None else [tag])]
  for top, left, bottom, right in np.rint(np.array(boxes) * side).astype(int):
    inside[top:bottom, left:right] = True
  # Without the pieces the image is one of the test crops, perhaps mirrored.
  off = [
    np.abs(image - crop)[~inside].max()
    for whole in composites._crops("test")
    for crop in (whole.astype(int), whole[:, ::-1].astype(int))
  ]
  assert min(off) == 0


def test_images_are_drawn_from_seed_split_and_number():
  again = composites.opened("train", 0)
  assert_array_equal(again[3]["image"], TRAIN[3]["image"])
  other = composites.opened("train", 1)
  assert np.any(other[3]["image"] != TRAIN[3]["image"])
  assert TRAIN.name(3).startswith("train-003")


def test_splits_share_no_piece():
  for concept in composites.CONCEPTS:
    train, test = (
      {piece.tobytes() for piece in composites._pieces(concept, split)}
      for split in ("train", "test")
    )
    assert train.isdisjoint(test)


def test_wrong_settings_get_one_line():
  with pytest.raises(UserError, match="no split 'validation'"):
    composites.opened("validation", 0)
  with pytest.raises(UserError, match=r"tag=2\.0: give a share"):
    composites.opened("train", 0, tag=2.0)

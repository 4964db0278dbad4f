"""The embedded world of cars, cyclists and pedestrians before a camera."""

import ml_collections
import numpy as np
import pytest

from protojax.data import cuboids
from protojax.datasets import driving_scenes, driving_world, kitti
from protojax.datasets.driving_world import CAMERA, CONDITIONS
from protojax.types import UserError


def _scenes(split="train", count=4, conditions=CONDITIONS):
  return driving_scenes.Scenes(split, count, 0, conditions)


def test_boxes_are_around_the_cuboids_and_what_is_painted():
  scenes = _scenes(count=12, conditions=("clear",))
  for i in range(len(scenes)):
    scene = scenes.scene(i)
    objects = scene.objects
    around = cuboids.around(objects.sizes, objects.places, objects.yaws, CAMERA)
    cut, _ = cuboids.inside(around, 32, 64)
    np.testing.assert_allclose(objects.boxes, cut)
    empty = scene._replace(objects=cuboids.empty())
    with_them = driving_world.picture(scene, "train", "clear").astype(int)
    without = driving_world.picture(empty, "train", "clear")
    changed = np.argwhere(np.abs(with_them - without).sum(-1) > 0)
    left, top = objects.boxes[:, :2].min(0)
    right, bottom = objects.boxes[:, 2:].max(0)
    low, high = changed.min(0), changed.max(0)
    # All that differs lies in the boxes, and touches their edges.
    assert low[1] >= np.floor(left)
    assert low[0] >= np.floor(top)
    assert high[1] < np.ceil(right)
    assert high[0] < np.ceil(bottom)
    assert low[1] <= left + 1.5
    assert high[1] >= right - 2.5


def test_a_scene_is_the_same_in_all_conditions_but_for_its_look():
  scenes = _scenes()
  assert len(scenes) == 4 * len(CONDITIONS)
  same = [scenes.objects(i).boxes for i in range(len(CONDITIONS))]
  assert all(np.array_equal(same[0], x) for x in same)
  images = [scenes[i]["image"].astype(float) for i in range(len(CONDITIONS))]
  clear, snow, fog, night, noise = images
  assert night.mean() < 0.5 * clear.mean()
  assert fog.std() < clear.std()
  assert np.mean(snow == 247) > np.mean(clear == 247)
  assert np.abs(noise - clear).mean() > 10
  again = _scenes()[3]["image"]
  np.testing.assert_array_equal(again, images[3])
  assert not np.array_equal(scenes[0]["image"], _scenes("test")[0]["image"])


def test_captions_name_kinds_and_condition():
  assert (
    driving_world.caption(("Cyclist", "Car", "Car"), "fog")
    == "a car and a cyclist in the fog"
  )
  words = {w for text in _scenes().captions for w in text.split()}
  assert words <= set(_scenes().words)
  assert driving_world.caption(("Car",), "clear") == "a car"
  assert "fog" not in _scenes(conditions=("clear", "snow")).words


def test_written_scenes_are_read_as_kitti(tmp_path):
  steps = []
  done = driving_scenes.prepare(
    "2:1", str(tmp_path), lambda total: None, lambda: steps.append(1)
  )
  assert done.counts == {"train": 2, "test": 1}
  assert len(steps) == 2 * len(CONDITIONS) + 1
  data = ml_collections.ConfigDict(
    {"root": str(tmp_path), "train": "train", "test": "val", "added": ""}
  )
  data.update(test_fraction=0.5, kinds=driving_world.KINDS)
  train, scenes = kitti.load(data, "train", 0), _scenes(count=2)
  for i in range(2):
    ours, theirs = train[i], scenes[i * len(CONDITIONS)]
    np.testing.assert_array_equal(ours["image"], theirs["image"])
    # Two decimals are written.
    np.testing.assert_allclose(ours["cuboids"], theirs["cuboids"], atol=0.0051)
    np.testing.assert_allclose(ours["camera"], theirs["camera"])
  data.added = str(tmp_path / "conditions")
  assert len(kitti.load(data, "train", 0)) == 2 * len(CONDITIONS)


@pytest.mark.parametrize(
  ("key", "value", "said"),
  [
    ("scenes", (5,), "give how many scenes to train and to test on"),
    ("scenes", (0, 5), r"config.data.scenes is \(0, 5\); each must be"),
    ("conditions", ("rain",), "choose from clear, snow, fog, night, noise"),
    ("conditions", (), "choose from clear"),
  ],
)
def test_splits_and_conditions_that_there_are_not(key, value, said):
  data = ml_collections.ConfigDict({"scenes": (5, 2)})
  data.update(conditions=("clear",), test_conditions=("clear",))
  data.update(added="", root="")
  data[key] = value
  with pytest.raises(UserError, match=said):
    driving_scenes.load(data, "train", 0)


def test_prepare_wants_numbers(tmp_path):
  with pytest.raises(UserError, match="give how many to train"):
    driving_scenes.prepare("some", str(tmp_path), print, print)

"""Scenes with captions, and folders of images with texts."""

import json

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

from protojax.datasets import captioned_folder, captioned_scenes, scene_world
from protojax.evaluation import scene_scores
from protojax.types import UserError


def scenes(split="train", **changes):
  data = {
    "train": "train:40",
    "test": "test:25",
    "things": (1, 4),
    "weather": False,
    "held_out": False,
    **changes,
  }
  return captioned_scenes.load(ConfigDict(data), split, 3)


def drawn(source):
  return [source.scene(i) for i in range(len(source))]


def test_masks_are_the_coloured_pixels_of_a_clear_scene():
  source = scenes()
  for i in range(10):
    found = source[i]
    pixels = found["image"].astype(int)
    coloured = np.ptp(pixels, axis=-1) > 8
    masks = found["things"]["masks"]
    assert masks.sum(0).max() == 1
    np.testing.assert_array_equal(masks.any(0), coloured)


def test_a_scene_depends_on_seed_split_and_number_alone():
  few, many = scenes(), scenes(train="train:50")
  assert list(few.captions) == many.captions[:40]
  np.testing.assert_array_equal(few[7]["image"], many[7]["image"])
  assert list(few.captions) != scenes("test").captions[:40]


def test_the_judge_reads_pictures_as_their_captions():
  source = scenes("test")
  images = np.stack([source[i]["image"] for i in range(len(source))])
  right = scene_scores.score(images, source.captions)
  assert right.strict.mean() >= 0.99
  wrong = source.captions[1:] + source.captions[:1]
  assert scene_scores.score(images, wrong).pairs.mean() < 0.1


def test_combinations_are_held_out_of_training_alone():
  train = scenes(held_out=True, train="train:200")
  unseen = scenes("test", test="unseen:40")
  assert not any(map(captioned_scenes.held_out, drawn(train)))
  assert all(map(captioned_scenes.held_out, drawn(unseen)))
  every = drawn(scenes(train="train:200"))
  things = sum(len(s.types) for s in every)
  held = sum(((s.colours + 2 * s.types) % 5 == 0).sum() for s in every)
  assert 0.1 < held / things < 0.3


def test_weather_is_said_and_seen():
  source = scenes(weather=True, train="train:80")
  for i, scene in enumerate(drawn(source)[:20]):
    name = scene_world.CONDITIONS[scene.condition]
    assert source.captions[i].endswith(f"in the {name}") == (name != "clear")
  light = {}
  for i, scene in enumerate(drawn(source)):
    light.setdefault(scene.condition, []).append(source[i]["image"].mean())
  clear, snow, fog, night = (np.mean(light[k]) for k in range(4))
  assert night < 0.6 * clear < clear < min(snow, fog)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"train": "train:0"}, "give train, test or unseen, and how many"),
    ({"train": "all:5"}, "'all:5': give"),
    ({"things": (2, 5)}, r"\(2, 5\): give the least and the most"),
  ],
)
def test_scenes_that_there_are_not(changes, said):
  with pytest.raises(UserError, match=said):
    scenes(**changes)


def picture(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def folder(root, split="train"):
  data = {"root": str(root), "train": "train", "test": "test"}
  return captioned_folder.load(
    ConfigDict({**data, "test_fraction": 0.5}), split, 0
  )


def table(root, *rows):
  lines = [json.dumps({"file_name": n, "text": t}) for n, t in rows]
  (root / "metadata.jsonl").write_text("\n".join(lines))


def test_texts_of_a_table_as_of_hugging_face(tmp_path):
  for name in ("train/a.png", "train/deep/b.png", "train/c.png", "test/d.png"):
    picture(tmp_path / name)
  table(tmp_path / "train", ("deep/b.png", " two "), ("a.png", "one"))
  table(tmp_path / "test", ("d.png", "four"))
  found = folder(tmp_path)
  assert dict(zip(found.names, found.captions, strict=True)) == {
    "a.png": "one",
    "deep/b.png": "two",
  }
  assert found.skipped == (("c.png", "metadata.jsonl has no line of it"),)
  assert folder(tmp_path, "test").captions == ("four",)


def test_texts_beside_images_are_divided_by_a_seed(tmp_path):
  for i in range(6):
    picture(tmp_path / f"{i}.png")
    (tmp_path / f"{i}.txt").write_text(f"number\n {i}")
  picture(tmp_path / "silent.png")
  both = [folder(tmp_path, split) for split in ("train", "test")]
  assert sorted(both[0].captions + both[1].captions) == [
    f"number {i}" for i in range(6)
  ]
  assert len(both[1]) == 3
  assert both[0].skipped == (("silent.png", "no .txt lies beside it"),)
  assert both[0][0]["image"].shape == (4, 4, 3)


@pytest.mark.parametrize(
  ("rows", "said"),
  [
    ([("b.png", "x")], "line 1: there is no image b.png"),
    ([("a.png", "x"), ("a.png", "y")], "line 2: a.png is listed twice"),
    ([("a.png", "  ")], "line 1: the text of a.png is empty"),
  ],
)
def test_a_table_that_is_wrong_is_told_by_its_line(tmp_path, rows, said):
  picture(tmp_path / "train/a.png")
  table(tmp_path / "train", *rows)
  with pytest.raises(UserError, match=said):
    folder(tmp_path)


def test_folders_without_texts_or_splits(tmp_path):
  with pytest.raises(UserError, match="is no folder: set"):
    folder(tmp_path / "gone")
  picture(tmp_path / "train/a.png")
  with pytest.raises(UserError, match=r"no image with a text \(a.png: no .txt"):
    folder(tmp_path)
  with pytest.raises(UserError, match="has train/, but no test/"):
    folder(tmp_path, "test")

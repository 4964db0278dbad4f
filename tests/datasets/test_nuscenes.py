"""nuScenes' tables, written by hand in the published format."""

import json
import math

import ml_collections
import numpy as np
from PIL import Image
import pytest

from protojax.data import stream
from protojax.datasets import nuscenes
from protojax.types import UserError

HALF = math.sqrt(0.5)
TURNED = [HALF, 0, 0, HALF]  # by a right angle around z, to the left
FORWARD = [0.5, -0.5, 0.5, -0.5]  # of a camera: z forward, y down
MATRIX = [[40, 0, 32], [0, 40, 12], [0, 0, 1]]


def _annotation(place, size, rotation, instance="i0", **more):
  return {
    "token": "a",
    "sample_token": "s0",
    "instance_token": instance,
    "translation": place,
    "size": size,
    "rotation": rotation,
    "num_lidar_pts": 5,
    "num_radar_pts": 0,
    **more,
  }


@pytest.fixture
def root(tmp_path):
  tables = {
    "scene": [{"token": f"c{k}", "name": f"scene-000{k}"} for k in range(2)],
    "sample": [{"token": f"s{k}", "scene_token": f"c{k}"} for k in range(2)],
    "sensor": [
      {"token": "n0", "channel": "CAM_FRONT"},
      {"token": "n1", "channel": "LIDAR_TOP"},
    ],
    "calibrated_sensor": [
      {
        "token": "k0",
        "sensor_token": "n0",
        "translation": [1.0, 0.0, 1.5],
        "rotation": FORWARD,
        "camera_intrinsic": MATRIX,
      },
      {
        "token": "k1",
        "sensor_token": "n1",
        "translation": [0, 0, 0],
        "rotation": [1, 0, 0, 0],
        "camera_intrinsic": [],
      },
    ],
    "ego_pose": [
      {"token": "e0", "translation": [100.0, 50.0, 0.0], "rotation": TURNED}
    ],
    "sample_data": [
      {
        "token": f"d{k}",
        "sample_token": f"s{k}",
        "ego_pose_token": "e0",
        "calibrated_sensor_token": "k0",
        "filename": f"samples/CAM_FRONT/{k}.png",
        "is_key_frame": True,
        "height": 32,
        "width": 64,
      }
      for k in range(2)
    ],
    "category": [
      {"token": "g0", "name": "vehicle.car"},
      {"token": "g1", "name": "animal"},
    ],
    "instance": [
      {"token": "i0", "category_token": "g0"},
      {"token": "i1", "category_token": "g1"},
    ],
    "sample_annotation": [
      # Ten metres before the car, which drives along y.
      _annotation([100.0, 60.0, 0.75], [1.6, 4.0, 1.5], TURNED),
      # The same to the left of it, across.
      _annotation([97.0, 60.0, 0.75], [1.6, 4.0, 1.5], [1, 0, 0, 0]),
      # Behind it, unseen by the scanner, and an animal.
      _annotation([100.0, 40.0, 0.75], [1.6, 4.0, 1.5], TURNED),
      _annotation([100, 60, 1], [1, 1, 1], TURNED, num_lidar_pts=0),
      _annotation([100, 60, 1], [1, 1, 1], TURNED, instance="i1"),
    ],
  }
  (tmp_path / "v1.0-mini").mkdir()
  for name, rows in tables.items():
    path = tmp_path / "v1.0-mini" / f"{name}.json"
    path.write_text(json.dumps(rows))
  (tmp_path / "samples" / "CAM_FRONT").mkdir(parents=True)
  for k in range(2):
    image = Image.new("RGB", (64, 32), (k, 2, 3))
    image.save(tmp_path / "samples" / "CAM_FRONT" / f"{k}.png")
  (tmp_path / "ImageSets").mkdir()
  (tmp_path / "ImageSets" / "train.txt").write_text("scene-0000\n")
  (tmp_path / "ImageSets" / "val.txt").write_text("scene-0001\n")
  return tmp_path


def _config(root, **other):
  found = {"root": str(root), "version": "v1.0-mini", "train": "train"}
  found |= {"test": "val", "test_fraction": 0.5, "kinds": ("car",)}
  return ml_collections.ConfigDict(
    {**found, "channels": ("CAM_FRONT",), **other}
  )


def test_objects_come_into_the_camera_s_frame(root):
  train = nuscenes.load(_config(root), "train", 0)
  assert len(train) == 1
  objects = train.objects(0)
  assert objects.kinds == ("car", "car")
  np.testing.assert_allclose(objects.places[0], [0, 1.5, 9], atol=1e-9)
  np.testing.assert_allclose(objects.sizes[0], [1.5, 1.6, 4.0])
  # It drives away: its length lies along z.
  assert objects.yaws[0] == pytest.approx(-math.pi / 2)
  np.testing.assert_allclose(objects.places[1], [-3, 1.5, 9], atol=1e-9)
  assert objects.yaws[1] == pytest.approx(0)
  # Of the nearest side, at 7 m: 40 x 0.8 / 7 to both sides of the middle.
  left, top, right, bottom = objects.boxes[0]
  assert (left, right) == pytest.approx((32 - 32 / 7, 32 + 32 / 7))
  assert top == pytest.approx(12)
  assert bottom == pytest.approx(12 + 60 / 7)


def test_frames_become_batches_and_may_show_nothing(root):
  test = nuscenes.load(_config(root), "test", 0)
  assert test.name(0) == "samples/CAM_FRONT/1.png"
  batch = next(stream.ordered(test, 16, 2).batches())
  assert not batch["objects"]["valid"].any()
  camera = batch["camera"][0].reshape(3, 4)
  np.testing.assert_allclose(camera[0], [40 / 64, 0, 0.5, 0])


def test_without_image_sets_scenes_are_divided(root):
  for path in (root / "ImageSets").iterdir():
    path.unlink()
  (root / "ImageSets").rmdir()
  names = {
    nuscenes.load(_config(root), split, 1).name(0)
    for split in ("train", "test")
  }
  assert len(names) == 2


def test_what_is_missing_is_named(root):
  with pytest.raises(UserError, match=r"is no folder: --config.data.root"):
    nuscenes.load(_config(root, version="v2"), "train", 0)
  with pytest.raises(UserError, match="no key frame of CAM_BACK in the train"):
    nuscenes.load(_config(root, channels=("CAM_BACK",)), "train", 0)
  (root / "ImageSets" / "train.txt").write_text("scene-0009\n")
  with pytest.raises(UserError, match="has no scene scene-0009"):
    nuscenes.load(_config(root), "train", 0)
  (root / "v1.0-mini" / "ego_pose.json").unlink()
  with pytest.raises(UserError, match="cannot be read"):
    nuscenes.load(_config(root), "test", 0)

"""KITTI's files against lines written by hand in the published format."""

import ml_collections
import numpy as np
import pytest

from protojax.data import cuboids, stream
from protojax.datasets import driving, kitti, kitti_labels
from protojax.types import UserError

LABELS = """\
Car 0.00 0 -1.57 10.00 8.00 30.00 20.00 1.50 1.60 4.00 -1.00 1.50 9.00 -1.68
Pedestrian 0.20 1 0.21 50.00 5.00 70.00 28.00 1.75 0.60 0.70 2.50 1.50 6.00 0.60
Van 0.00 2 1.00 2.00 2.00 5.00 4.00 2.00 1.80 5.00 -4.00 1.50 20.00 0.80
DontCare -1.00 -1 -10.00 1.00 1.00 6.00 6.00 -1.00 -1.00 -1.00 -1000.00 \
-1000.00 -1000.00 -10.00
"""
P2 = "40 0 32 4 0 40 12 0.2 0 0 1 0.003"
KINDS = ("Car", "Pedestrian", "Cyclist")


def _config(root, **other):
  found = {"root": str(root), "train": "train", "test": "val", "kinds": KINDS}
  more = {"test_fraction": 0.5, "added": "", **other}
  return ml_collections.ConfigDict({**found, **more})


@pytest.fixture
def root(tmp_path):
  rng = np.random.default_rng(0)
  base = tmp_path / "training"
  for i in range(4):
    image = rng.integers(0, 256, (32, 64, 3), np.uint8)
    text = LABELS if i < 3 else ""
    objects = kitti_labels.parsed(text, "hand")
    camera = np.array(P2.split(), float).reshape(3, 4)
    kitti.write(str(base), f"{i:06d}", image, objects, camera)
  (tmp_path / "ImageSets").mkdir()
  (tmp_path / "ImageSets" / "train.txt").write_text("000000\n000003\n")
  (tmp_path / "ImageSets" / "val.txt").write_text("000001\n000002\n")
  return tmp_path


def test_labels_come_back_as_they_were_written():
  found = kitti_labels.parsed(LABELS, "hand")
  assert found.kinds == ("Car", "Pedestrian", "Van", "DontCare")
  np.testing.assert_array_equal(found.boxes[0], [10, 8, 30, 20])
  np.testing.assert_array_equal(found.sizes[1], [1.75, 0.6, 0.7])
  np.testing.assert_array_equal(found.places[2], [-4, 1.5, 20])
  assert (found.yaws[0], found.alphas[0]) == (-1.68, -1.57)
  assert (found.occluded[2], found.truncated[1]) == (2, 0.2)
  assert np.all(np.isnan(found.scores))
  assert kitti_labels.written(found) == LABELS
  with_score = found._replace(scores=np.array([0.5, 0.25, 1, 0]))
  again = kitti_labels.parsed(kitti_labels.written(with_score), "hand")
  np.testing.assert_array_equal(again.scores, with_score.scores)
  assert kitti_labels.parsed("\n \n", "empty").number == 0


@pytest.mark.parametrize("line", ["Car 1 2 3", "Car " + "1 " * 13 + "x"])
def test_a_line_that_is_no_label_is_named(line):
  with pytest.raises(UserError, match=r"a.txt, line 2: 'Car 1 .*14 numbers"):
    kitti_labels.parsed(LABELS.splitlines()[0] + "\n" + line, "a.txt")


def test_cameras_are_p2(tmp_path):
  path = tmp_path / "a.txt"
  path.write_text(f"P0: {P2}\nP2: {P2}\nR0_rect: 1 0 0 0 1 0 0 0 1\n")
  found = kitti_labels.camera(path)
  np.testing.assert_array_equal(found[0], [40, 0, 32, 4])
  path.write_text(kitti_labels.written_camera(found))
  np.testing.assert_array_equal(kitti_labels.camera(path), found)
  path.write_text("P2: 1 2 3\n")
  with pytest.raises(UserError, match=r"has no camera: expected a line 'P2:'"):
    kitti_labels.camera(path)


def test_what_a_camera_sees_leads_back_to_its_place():
  rng = np.random.default_rng(1)
  points = rng.uniform([-3, -1, 4], [3, 2, 20], (5, 3))
  camera = np.array(P2.split(), float).reshape(3, 4)
  pixels = cuboids.projected(points, camera)
  back = cuboids.unprojected(pixels, points[:, 2], camera)
  np.testing.assert_allclose(back, points, atol=1e-9)


def test_corners_stand_where_the_yaw_turns_them():
  sizes, places = np.array([[1.5, 2.0, 4.0]]), np.array([[1.0, 1.5, 10.0]])
  along = cuboids.corners(sizes, places, np.array([0.0]))[0]
  assert set(map(tuple, along.tolist())) == {
    (x, y, z) for x in (-1, 3) for y in (1.5, 0) for z in (9, 11)
  }
  # A quarter turn: the length lies along -z.
  turned = cuboids.grounds(sizes, places, np.array([np.pi / 2]))[0]
  np.testing.assert_allclose(turned[0] - [1, 10], [1, -2], atol=1e-9)


def test_frames_become_batches(root):
  train = kitti.load(_config(root), "train", 0)
  assert [train.name(i) for i in range(2)] == ["000000", "000003"]
  batch = next(stream.ordered(train, 32, 2).batches())
  assert batch["image"].shape == (2, 32, 32, 3)
  # Two kinds of the config's; the second frame shows nothing.
  np.testing.assert_array_equal(batch["objects"]["valid"].sum(1), [2, 0])
  np.testing.assert_array_equal(batch["objects"]["classes"][0, :2], [1, 0])
  top, left, bottom, right = batch["objects"]["boxes"][0, 1]
  np.testing.assert_allclose(
    [top, left, bottom, right], [8 / 32, 10 / 64, 20 / 32, 30 / 64], rtol=1e-6
  )
  nearest = batch["cuboids"][0].reshape(driving.MOST, driving.LENGTH)[0]
  np.testing.assert_allclose(nearest, [1.75, 0.6, 0.7, 2.5, 1.5, 6, 0.6])
  camera = batch["camera"][0].reshape(3, 4)
  np.testing.assert_allclose(camera[:, 0], [40 / 64, 0, 0])
  assert train.objects(0).kinds[-1] == "DontCare"


def test_a_folder_is_read_from_where_it_is_typed(root, monkeypatch):
  monkeypatch.chdir(root.parent)
  (root / "training" / "image_2" / "000003.png").write_bytes(b"junk")
  found = kitti.load(_config(root.name), "train", 0)
  assert len(found) == 1
  ((name, why),) = found.skipped
  assert name.endswith("000003.png")
  assert why


def test_boxes_outside_the_image_are_left_out_and_others_cut():
  objects = kitti_labels.parsed(LABELS, "hand")
  boxes = np.array([[-5, -5, 10, 10], [70, 5, 80, 9], [0, 0, 1, 1], [0] * 4])
  seen = kitti_labels.seen(objects._replace(boxes=boxes * 1.0), 32, 64)
  assert seen.kinds == ("Car", "Van")
  np.testing.assert_array_equal(seen.boxes[0], [0, 0, 10, 10])


def test_images_of_the_same_frames_are_added_to_training(root, tmp_path):
  made = tmp_path / "made"
  labels = kitti_labels.parsed(LABELS, "hand")
  for condition in ("snow", "fog"):
    for stem in ("000000", "000001"):
      kitti.write(
        str(made / condition),
        stem,
        np.zeros((32, 64, 3), np.uint8),
        labels,
        None,
      )
  train = kitti.load(_config(root, added=str(made)), "train", 0)
  names = [train.name(i) for i in range(len(train))]
  # Of 000001 nothing is taken: it is tested on.
  assert names == ["000000", "000003", "fog/000000", "snow/000000"]
  assert train.condition(3) == "snow"
  np.testing.assert_array_equal(train.camera(3), train.camera(0))
  test = kitti.load(_config(root, added=str(made)), "test", 0)
  assert len(test) == 2


def test_without_image_sets_a_seed_divides_the_frames(root):
  (root / "ImageSets" / "train.txt").unlink()
  (root / "ImageSets" / "val.txt").unlink()
  (root / "ImageSets").rmdir()
  parts = [
    {s.name(i) for i in range(len(s))}
    for split in ("train", "test")
    for s in [kitti.load(_config(root), split, 3)]
  ]
  assert len(parts[0] | parts[1]) == 4
  assert not parts[0] & parts[1]


@pytest.mark.parametrize(
  ("broken", "said"),
  [
    ("calib/000000.txt", "000000.txt is not there: each image needs its cal"),
    ("label_2/000003.txt", "000003.txt is not there: each image needs its lab"),
    ("image_2/000003.png", "has no image 000003, which ImageSets/train.txt na"),
  ],
)
def test_what_is_missing_is_named(root, broken, said):
  (root / "training" / broken).unlink()
  with pytest.raises(UserError, match=said):
    kitti.load(_config(root), "train", 0)


def test_folders_of_another_layout_are_refused(root, tmp_path):
  with pytest.raises(UserError, match="takes a folder of KITTI's layout"):
    kitti.load(_config(tmp_path / "made"), "train", 0)
  with pytest.raises(UserError, match="which is no folder"):
    kitti.load(_config(root, added=str(tmp_path / "no")), "train", 0)
  (tmp_path / "other").mkdir()
  with pytest.raises(UserError, match="has no image of a training frame"):
    kitti.load(_config(root, added=str(tmp_path / "other")), "train", 0)
  with pytest.raises(UserError, match="name the kinds of objects"):
    kitti.load(_config(root, kinds=()), "train", 0)

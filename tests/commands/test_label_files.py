"""`predict --labels`: KITTI's label files and pictures of what was found."""

import json
from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from protojax import __main__ as command_line
from protojax.data import cuboids, stream
from protojax.datasets import files, kitti, kitti_labels
from protojax.datasets.driving_scenes import Scenes
from protojax.operations import label_files
from protojax.types import UserError


@pytest.fixture
def road(tmp_path):
  """A folder of two frames, and what is in them."""
  scenes = Scenes("train", 2, 0, ("clear",))
  for i in range(2):
    kitti.write(
      str(tmp_path / "training"),
      f"{i:06d}",
      scenes[i]["image"],
      scenes.objects(i),
      scenes.camera(i),
    )
  return tmp_path / "training", scenes


def _detector(scenes, cameras):
  """It finds all there is, and keeps the cameras that it is given."""

  def objects(row, camera, shape, least):
    assert (shape, least) == ((32, 64), 0.3)
    cameras.append(camera)
    found = scenes.objects(int(row["number"][0]))
    return found._replace(scores=np.full(found.number, 0.9))

  return SimpleNamespace(objects=objects, class_names=scenes.class_names)


def test_what_was_found_is_written_and_drawn(road, tmp_path, capsys):
  folder, scenes = road
  source = files.images(str(folder / "image_2"))
  images, cameras = stream.ordered(source, 32, 2), []
  (folder / "calib" / "000001.txt").unlink()
  detector = _detector(scenes, cameras)
  out = tmp_path / "out"
  with label_files.writer(str(out), lambda: detector, 0.3) as write:
    for i in range(2):
      write(images, i, {"number": np.array([i])})
  np.testing.assert_array_equal(cameras[0], scenes.camera(0))
  assert cameras[1] is None
  said = capsys.readouterr().err
  assert "without a camera, so that places in space are unknown: 1" in said
  for i in range(2):
    found = kitti_labels.read(out / "label_2" / f"{i:06d}.txt")
    assert found.kinds == scenes.objects(i).kinds
    np.testing.assert_array_equal(found.scores, 0.9)
    np.testing.assert_allclose(
      found.boxes, scenes.objects(i).boxes, atol=0.0051
    )
    with Image.open(out / "pictures" / f"{i:06d}.png") as picture:
      assert picture.size == (512, 256)
  with label_files.writer(str(out), lambda: detector, 0.3) as write:
    write(images, 0, {"number": np.array([0])})
    with pytest.raises(UserError, match=r"two images would be written to"):
      write(images, 0, {"number": np.array([0])})


def test_nothing_found_is_an_empty_file(road, tmp_path):
  folder, _ = road
  source = files.images(str(folder / "image_2"))
  blind = SimpleNamespace(
    objects=lambda *_: cuboids.empty(), class_names=("Car",)
  )
  out = tmp_path / "out"
  with label_files.writer(str(out), lambda: blind, 0.3) as write:
    write(stream.ordered(source, 32, 2), 0, {})
  assert (out / "label_2" / "000000.txt").read_text() == ""
  with label_files.writer("", lambda: blind, 0.3) as write:
    assert write is None


@pytest.mark.slow
def test_as_a_user_types_it(tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)

  def typed(*words):
    assert command_line.main(list(words)) == 0
    return capsys.readouterr()

  typed("prepare", "driving_scenes", "--source=8:2", "--output=road")
  config = "centre_detector_folder:debug"
  typed(
    "train",
    f"--config={config}",
    "--config.data.root=road",
    "--config.data.added=conditions",
    "--config.evaluation.corruptions=contrast:5",
    "--workdir=run",
  )
  summary = json.loads((tmp_path / "run" / "summary.json").read_text())
  assert summary["headline"] == "ap_3d"
  assert summary["ap_2d_contrast_5"] >= 0
  said = typed(
    "predict", "--workdir=run", "road/training/image_2", "--labels=out"
  )
  assert said.out.startswith("image,class,score,top,left,bottom,right")
  written = sorted(path.name for path in (tmp_path / "out/label_2").iterdir())
  assert written == [f"{i:06d}.txt" for i in range(10)]
  said = typed("evaluate", "--workdir=run")
  assert "AP 3d" in said.out

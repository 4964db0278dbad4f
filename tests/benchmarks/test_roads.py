"""Roads that are drawn anew, as the experiment of the detector learns them."""

import pytest

from benchmarks import experiment, roads
from benchmarks.roads import Drawn
from protojax import methods
from protojax.configs import drivegen_scenes as config_lib
from protojax.configs import text_to_image_driving
from protojax.datasets import driving_scenes
from tests import starts

FREE = Drawn(0, 0, guidance=2, steps=2)


def test_the_name_of_a_folder_tells_how_its_images_were_drawn():
  assert FREE.folder == "semantic_0-shallow_0-guidance_2-steps_2"
  declared = experiment.load("drivegen_scenes")
  added = [keys.get("data.added") for _, keys in declared.arms.values()]
  assert len({name for name in added if name}) == 2


def test_an_arm_without_drawn_images_needs_no_base(tmp_path):
  experiment.load("drivegen_scenes").before("clear", tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_roads_are_drawn_once_and_learnt_from(tmp_path):
  root = tmp_path / "roads"
  method = methods.load(text_to_image_driving.get_config("debug"))
  base = starts.ended(tmp_path / "base", method, starts.averaged(method))
  roads.make(FREE, base, root, 2)
  images = sorted((root / FREE.folder).glob("*/image_2/00000[01].png"))
  assert len(images) == 2 * len(roads.CONDITIONS)
  config = config_lib.get_config("debug")
  config.data.update(root=str(root), added=FREE.folder, scenes=(2, 1))
  source = driving_scenes.load(config.data, "train", 0)
  names = {source.name(i) for i in range(len(source))}
  assert {f"train-00001-{c}-added" for c in roads.CONDITIONS} < names
  drawn = [path.stat().st_mtime_ns for path in images]
  roads.make(FREE, base, root, 2)
  assert [path.stat().st_mtime_ns for path in images] == drawn

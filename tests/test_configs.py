"""Every config, with every variant, is whole and can be made small."""

import importlib
import itertools
from pathlib import Path

import pytest

from configs import (
  protopnet_cub200,
  protopnet_folder,
  st_protopnet_folder,
  variants,
)
from protojax import backbones, configuration, methods
from protojax.data import views
from protojax.prototypes import similarity
from protojax.types import UserError

ROOT = Path(__file__).parents[1]
NAMES = sorted(p.stem for p in (ROOT / "configs").glob("*_*.py"))
EMBEDDED = (
  "photos",
  "textures",
  "planted",
  "composites",
  "confounded",
  "digit_canvases",
  "simulated_acquisition",
  "digits",
  "measured_digits",
  "digit_bags",
  "digit_web",
  "regenerated",
  "texture_mosaics",
  "digit_scenes",
  "planted_mosaics",
  "digit_domains",
  "mni",
  "captioned_scenes",
  "driving_scenes",
  "dialogue_scenes",
)
RECIPES = ("protopnet_cub200", "protopnet_cars196", "protopnet_dogs")


def load(name):
  return importlib.import_module(f"configs.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_locked_and_names_what_there_is(name):
  config = load(name).get_config()
  assert config.is_locked
  assert config.method in methods.names()
  if "backbone" in config:
    assert config.backbone.name in backbones.names()
  views.one(config.data.get("augment", ""))
  if config.method == "protopnet":
    similarity.load(config.prototypes.similarity)


@pytest.mark.parametrize("name", NAMES)
def test_variants_combine_and_debug_needs_no_data(name):
  module = load(name)
  known = getattr(module, "VARIANTS", {"debug": {}})
  for pair in itertools.permutations([*known, "debug"], 2):
    module.get_config(",".join(pair))
  for variant in known:
    small = module.get_config(f"{variant},debug")
    assert small.data.name in EMBEDDED
    assert small.data.root == ""
    if "backbone" in small:
      assert small.backbone.name == "convnet"
      assert not small.backbone.pretrained
      assert not small.backbone.weights
    assert not small.data.get("crop", False)
  with pytest.raises(UserError, match="no variant 'tiny'; there are"):
    module.get_config("tiny")


@pytest.mark.parametrize("name", NAMES)
def test_a_root_that_is_typed_is_read_by_debug_too(name):
  file = f"{ROOT}/configs/{name}.py:debug"
  own = load(name).get_config().data.name
  root = "--config.data.root=DIR"
  small = configuration.load(file, [root])
  assert small.data.name == own or not own
  debug = load(name).get_config("debug").data
  assert small.data.get("image_size") == debug.get("image_size")
  assert configuration.load(file).data.name in EMBEDDED
  chosen = configuration.load(file, [root, "--config.data.name=photos"])
  assert chosen.data.name == "photos"


@pytest.mark.parametrize("name", RECIPES)
def test_small_recipes_are_the_papers_settings_made_small(name):
  """So one run of them stands for all."""
  expected = protopnet_folder.get_config("paper,debug").to_dict()
  for backbone in ("", *protopnet_cub200.BACKBONES):
    small = load(name).get_config(f"{backbone},debug")
    assert small.to_dict() == expected


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_papers_schedule(name):
  """The paper's code, in epochs of 30 copies; push after epoch 10."""
  c = load(name).get_config("densenet121")
  assert c.data.crop
  assert c.data.copies == 30
  assert c.data.augment == "warp,flip"
  assert (c.warm.epochs, c.joint.epochs, c.last.epochs) == (5, 6, 20)
  assert c.warm.epochs + c.joint.epochs - 1 == 10
  assert (c.joint.drop_epochs, c.joint.drop) == (5, 0.1)
  assert c.prototypes.per_class == 10
  assert c.backbone.weights == "hf:timm/densenet121.tv_in1k"
  for backbone in protopnet_cub200.BACKBONES:
    assert load(name).get_config(backbone).backbone.name == backbone


def test_st_protopnet_has_its_papers_schedule():
  """5 epochs warm up, the push comes after epoch 20; drops at 7, 9, 11, 13."""
  c = st_protopnet_folder.get_config("cropped")
  assert (c.warm.epochs, c.joint.epochs) == (5, 16)
  assert [c.warm.epochs + n for n in c.joint.drops] == [7, 9, 11, 13]
  assert c.joint.drop == 0.2
  full = st_protopnet_folder.get_config("full").joint
  assert (full.epochs, full.drop_epochs, full.drops) == (91, 20, ())
  for variant, papers in (("", False), ("cropped", True), ("full", True)):
    c = st_protopnet_folder.get_config(variant)
    assert c.prototypes.raw == c.data.augment_frozen == papers
    assert c.clip_cosines == papers
    recipe = {"cropped": "bend,flip", "full": "affine,flip"}
    assert c.data.augment == recipe.get(variant, "crop,flip")


def test_variants_of_a_list_come_in_order():
  config = protopnet_folder.get_config().unlock()
  known = {"a": {"seed": 1}, "b": {"seed": 2}}
  assert variants.apply(config, "a,b", known).seed == 2

"""How images were resized for weights: records, and what a method makes of it.

The records of torchvision and timm are the oracles of a marked test.
"""

import numpy as np
from PIL import Image
import pytest

from configs import epic_folder
from protojax import backbones, loading, methods
from protojax.backbones import classifier
from protojax.data.resizing import Preprocessing, Resizing
from protojax.types import UserError
from protojax.weights import reading

BICUBIC = "bicubic"


# Small ones, which nobody has published weights of.
_NEVER_TRAINED = (
  "convnet",
  "convnet_levels",
  "convnet_local",
  "unet",
  "unet_small",
  "unet_small_stride4",
  "unet_stride4",
  "vit_mini_patch4",
)
# Of whose weights nobody says how images were resized for them.
_UNTOLD = ("stdc1", "stdc2")


@pytest.mark.parametrize("name", backbones.names())
def test_records_fit_their_weights(name):
  known = backbones.load(name).preprocessing
  assert ("" in known) == (name not in (*_NEVER_TRAINED, *_UNTOLD))
  for found in known.values():
    assert found.resize >= found.crop
    own = found.at(found.crop)
    assert own == Resizing("aspect", found.resize, found.interpolation)


@pytest.mark.parametrize(
  ("name", "weights", "expected"),
  [
    ("resnet50", "", (256, 224, "bilinear")),
    ("resnet50_stride16", "resnet50-0676ba61.pth", (256, 224, "bilinear")),
    ("resnet50", "hf:timm/resnet50.tv2_in1k", (232, 224, "bilinear")),
    ("resnet50", "hf:timm/resnet50.tv2_in1k/x.bin", (232, 224, "bilinear")),
    ("convnext_tiny", "", (236, 224, "bilinear")),
    ("convnext_tiny", "hf:timm/convnext_tiny.fb_in1k", (256, 224, BICUBIC)),
    ("efficientnet_lite1_head", "", (272, 240, BICUBIC)),
    ("vit_base_patch16", "", (248, 224, BICUBIC)),
    ("dinov2_base", "", (256, 224, BICUBIC)),
    ("dinov2_base", "hf:facebook/dinov2-base", (256, 224, BICUBIC)),
    ("clip_base_patch32", "", (224, 224, BICUBIC)),
  ],
)
def test_the_record_of_an_address(name, weights, expected):
  assert backbones.preprocessing(name, weights) == Preprocessing(*expected)


def test_what_is_taken_for_a_file_is_said(caplog):
  for _ in range(2):
    backbones.preprocessing("resnet18", "mine/x.pth")
  (line,) = caplog.messages
  assert "shorter side to 256 and the middle 224 cut out (bilinear)" in line
  assert "if mine/x.pth is another" in line
  backbones.preprocessing("resnet18", "hf:timm/resnet18.tv_in1k")
  assert len(caplog.messages) == 1


def test_what_nobody_knows_is_refused():
  with pytest.raises(UserError, match=r"hf:me/resnet50\.own is not known here"):
    backbones.preprocessing("resnet50", "hf:me/resnet50.own")
  with pytest.raises(UserError, match=r"'convnet' has no published weights"):
    backbones.preprocessing("convnet")
  assert reading.hub_name("hf:timm/a.b.c/d.e") == ("a", "b.c")
  assert reading.hub_name("a.b") == ("", "")


def test_epic_reads_images_as_the_weights_do(tmp_path):
  """The paper's variant, to the last grey level, and `predict` as well."""
  rng, shapes = np.random.default_rng(0), [(40, 90), (300, 260), (224, 224)]
  expected = []
  for i, (height, width) in enumerate(shapes):
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    for split in ("train", "test"):
      folder = tmp_path / split / f"class {i % 2}"
      folder.mkdir(parents=True, exist_ok=True)
      Image.fromarray(pixels).save(folder / f"{i}.png")
    picture, shorter = Image.fromarray(pixels), min(height, width)
    sides = int(256 * width / shorter), int(256 * height / shorter)
    picture = picture.resize(sides, Image.Resampling.BICUBIC)
    left, top = (round((side - 224) / 2) for side in sides)
    cut = picture.crop((left, top, left + 224, top + 224))
    expected.append((i % 2, f"{i}.png", np.asarray(cut)))
  config = epic_folder.get_config("paper").unlock()
  config.data.root = str(tmp_path)
  method = methods.load(config.lock())
  stream = method.stream("test")
  assert stream.resizing == loading.resizing(config)
  (batch,) = stream.batches()
  by_name = [image for *_, image in sorted(expected, key=lambda x: x[:2])]
  np.testing.assert_array_equal(batch["image"][:3], by_name)


def test_a_classifier_of_your_own_does_not_say_it():
  method = methods.find("epic")
  config = epic_folder.get_config("paper")
  head = classifier.Head(np.zeros((2, 128)), np.zeros(2))
  with pytest.raises(UserError, match=r"a classifier of your own does not say"):
    method(config, own=(backbones.load("convnet"), head))


@pytest.mark.torch
@pytest.mark.parametrize("name", backbones.names())
def test_records_are_those_of_torchvision_and_timm(name):
  models = pytest.importorskip("torchvision").models
  timm = pytest.importorskip("timm").models
  known = backbones.load(name).preprocessing
  base = name.removesuffix("_head").partition("_stride")[0]
  mean = backbones.load(name).mean
  registers = "" if name.endswith("_plain") else "reg4_"
  size = base.partition("_")[2].partition("_")[0]
  compared = 0
  if hasattr(models, base):
    own = models.get_model_weights(base).IMAGENET1K_V1.transforms()
    found = (*own.resize_size, *own.crop_size, own.interpolation.value)
    assert known[""] == found
    assert tuple(own.mean) == mean
    compared += 1
  theirs = {
    "efficientnet": f"tf_{base}",
    "vit": f"{base}_224",
    "dinov2": f"vit_{size}_patch14_{registers}dinov2",
    "clip": "",  # timm leaves out less than its authors
  }.get(base.partition("_")[0], base)
  for tag, found in known.items():
    # timm says bicubic of torchvision's DenseNets.
    if not tag or not theirs or (tag, base[:8]) == ("tv_in1k", "densenet"):
      continue
    if not timm.is_model_pretrained(f"{theirs}.{tag}"):
      continue
    own = timm.get_pretrained_cfg(f"{theirs}.{tag}")
    # As the authors test it or, if that is another, as timm found better.
    pairs = (
      (own.input_size, own.crop_pct),
      (
        own.test_input_size or own.input_size,
        own.test_crop_pct or own.crop_pct,
      ),
    )
    sides = [(int(size[-1] / share), size[-1]) for size, share in pairs]
    assert found[:2] in sides, tag
    assert found.interpolation == own.interpolation, tag
    np.testing.assert_allclose(own.mean, mean, atol=0.01)
    compared += 1
  # The others are of neither library.
  assert compared or base in ("convnet", "resnet53") or not theirs

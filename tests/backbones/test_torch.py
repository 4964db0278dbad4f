"""Every family against torchvision, timm and open_clip, with random weights.

Run with `-s` to see the differences.
"""

import functools

import jax
import numpy as np
import pytest

from protojax import backbones
from tests.backbones import formula
from tests.backbones.test_goldens import GOLDENS, projected

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision").models
timm = pytest.importorskip("timm")
clip = pytest.importorskip("open_clip").transformer

pytestmark = pytest.mark.torch


def transformer(**settings):
  """timm's, as small as those of `formula`."""
  return timm.models.VisionTransformer(
    patch_size=16,
    embed_dim=64,
    depth=2,
    num_heads=4,
    num_classes=0,
    dynamic_img_size=True,
    **settings,
  )


def tower(**settings):
  """CLIP's visual tower, under the names of OpenAI's files."""
  return clip.VisionTransformer(
    mlp_ratio=4, act_layer=clip.QuickGELU, output_tokens=True, **settings
  )


def convnext():
  stages = ((16, 32, 1), (32, 64, 1), (64, 128, 2), (128, None, 1))
  config = models.convnext.CNBlockConfig
  return models.ConvNeXt([config(*stage) for stage in stages])


def vgg(name):
  net = getattr(models, name)()
  net.classifier = torch.nn.Identity()  # Half a gigabyte.
  return net


SMALL = {
  "resnet18": models.resnet18,
  "resnet_stride8": lambda: models.ResNet(
    models.resnet.Bottleneck,
    [1, 1, 2, 2],
    replace_stride_with_dilation=[False, True, True],
  ),
  "vgg11": lambda: vgg("vgg11"),
  "vgg11_bn": lambda: vgg("vgg11_bn"),
  "densenet": lambda: models.DenseNet(8, (1, 2, 2, 2), 16),
  "convnext": convnext,
  "vit": lambda: transformer(img_size=64),
  "dinov2": lambda: transformer(
    img_size=96, reg_tokens=4, no_embed_class=True, init_values=1.0
  ),
  "clip": lambda: tower(
    image_size=96, patch_size=16, width=64, layers=2, heads=4, output_dim=32
  ),
}

# Ours, theirs, and the side of the image in pixels.
WHOLE = [
  ("resnet18", models.resnet18, 64),
  ("resnet50", models.resnet50, 64),
  ("vgg16", lambda: vgg("vgg16"), 64),
  ("vgg16_bn", lambda: vgg("vgg16_bn"), 64),
  ("densenet121", models.densenet121, 64),
  ("convnext_tiny", models.convnext_tiny, 64),
  ("inception_v3", lambda: models.inception_v3(init_weights=False), 139),
  (
    "clip_base_patch32",
    lambda: tower(
      image_size=224,
      patch_size=32,
      width=768,
      layers=12,
      heads=12,
      output_dim=512,
    ),
    224,
  ),
]
# The same of timm, with settings.
TIMM = [
  ("resnet18_stride16", "resnet18", 64, {"output_stride": 16}),
  ("resnet18_stride8", "resnet18", 64, {"output_stride": 8}),
  ("efficientnet_lite0_head", "tf_efficientnet_lite0", 64, {}),
  ("efficientnet_lite1_head", "tf_efficientnet_lite1", 75, {}),
  ("efficientnet_lite2_head", "tf_efficientnet_lite2", 64, {}),
  ("convnext_tiny", "convnext_tiny", 64, {}),
  ("vit_small_patch16", "vit_small_patch16_224", 224, {}),
  (
    "dinov2_small",
    "vit_small_patch14_reg4_dinov2",
    392,
    {"dynamic_img_size": True},
  ),
  ("clip_base_patch32", "vit_base_patch32_clip_quickgelu_224", 224, {}),
]
CASES = WHOLE + [
  (ours, functools.partial(timm.create_model, theirs, **settings), size)
  for ours, theirs, size, settings in TIMM
]


@pytest.fixture(autouse=True)
def _inference():
  with torch.inference_mode():
    yield


def filled(net):
  """A foreign network with the weights of the formula, and these."""
  tensors = {
    name: formula.tensor(name, tuple(x.shape))
    for name, x in net.state_dict().items()
    if not name.endswith("num_batches_tracked")
  }
  loaded = {name: torch.tensor(x) for name, x in tensors.items()}
  net.load_state_dict(loaded, strict=False)
  return net.eval(), tensors


def features(net, images):
  """What we call the features of a foreign network, channels last."""
  x = torch.tensor(images).permute(0, 3, 1, 2)
  if hasattr(net, "forward_features"):
    y = net.forward_features(x)
  elif isinstance(net, models.ResNet):
    y = torch.nn.Sequential(*list(net.children())[:-2])(x)
  elif isinstance(net, clip.VisionTransformer):
    _, y = net(x)
  elif isinstance(net, models.Inception3):
    found = []
    net.Mixed_7c.register_forward_hook(lambda *given: found.append(given[2]))
    net(x)
    (y,) = found
  else:
    y = net.features(x)
  if y.ndim == 4:
    # ProtoPNet's, after the last norm of a DenseNet.
    y = torch.relu(y) if isinstance(net, models.DenseNet) else y
    return y.permute(0, 2, 3, 1).numpy()
  patches = y[:, getattr(net, "num_prefix_tokens", 0) :].numpy()
  side = round(patches.shape[1] ** 0.5)
  return patches.reshape(len(x), side, side, -1)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_goldens_are_theirs(name):
  ours = formula.NETS[name]
  net, tensors = filled(SMALL[name]())
  # Names and shapes too.
  assert ours.checkpoint().keys() <= tensors.keys()
  ours.backbone.convert(tensors)
  want = projected(features(net, formula.images(ours.image_size)))
  print(f"{name}: {np.round(want, 6).tolist()}")
  np.testing.assert_allclose(GOLDENS[name], want, atol=2e-6)


@pytest.mark.parametrize(
  ("ours", "make", "size"),
  CASES,
  ids=[f"{ours}-{i}" for i, (ours, _, _) in enumerate(CASES)],
)
def test_features_are_theirs(ours, make, size):
  backbone = backbones.load(ours)
  net, tensors = filled(make())
  images = formula.images(size)
  want = features(net, images)
  got = jax.jit(backbone.module.apply)(backbone.convert(tensors), images)
  difference = np.abs(np.asarray(got) - want).max()
  print(f"{ours}: {difference:.1e} of {np.abs(want).max():.1f}")
  assert difference < 1e-4


RENAMED = {
  "efficientnet_lite0_head": "tf_efficientnet_lite0",
  "efficientnet_lite1_head": "tf_efficientnet_lite1",
  "efficientnet_lite2_head": "tf_efficientnet_lite2",
  "vit_small_patch16": "vit_small_patch16_224",
  "vit_base_patch16": "vit_base_patch16_224",
  "vit_large_patch16": "vit_large_patch16_224",
  "dinov2_small": "vit_small_patch14_reg4_dinov2",
  "dinov2_base": "vit_base_patch14_reg4_dinov2",
  "dinov2_large": "vit_large_patch14_reg4_dinov2",
  "clip_base_patch32": "vit_base_patch32_clip_224",
  "clip_base_patch16": "vit_base_patch16_clip_224",
  "clip_large_patch14": "vit_large_patch14_clip_224",
}


LIBRARIES = {
  "torchvision": (
    lambda name: hasattr(models, name),
    lambda name: getattr(models, name)(),
  ),
  "timm": (timm.is_model, timm.create_model),
}


@pytest.mark.parametrize(
  ("library", "name"),
  [
    (library, name)
    for library, (has, _) in LIBRARIES.items()
    for name in backbones.names()
    if has(RENAMED.get(name, name))
  ],
)
def test_tensors_have_the_names_and_shapes_of_theirs(library, name):
  _, make = LIBRARIES[library]
  with torch.device("meta"):  # Without memory.
    net = make(RENAMED.get(name, name))
  tensors = {
    key: np.broadcast_to(np.float32(0), x.shape)
    for key, x in net.state_dict().items()
  }
  backbones.load(name).convert(tensors)

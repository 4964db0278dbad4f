"""Checkpoints that PyTorch wrote, in the layouts of ProtoPNet and CaBRNet.

The classes here have the attributes and formulas of theirs, so that the files
have their names. Run with `-s` to see the differences.
"""

import jax
import numpy as np
import pytest
import yaml

from protojax import methods, parallel
from protojax.operations import importing as import_lib
from protojax.weights import reading
from tests.methods.protopnet import test_cabrnet_checkpoints

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision").models
nn = torch.nn

pytestmark = pytest.mark.torch

_COUNT, _CHANNELS, _CLASSES, _SIZE = 12, 16, 3, 64
_RESNET = [
  "conv1",
  "bn1",
  "relu",
  "maxpool",
  "layer1",
  "layer2",
  "layer3",
  "layer4",
]


class Features(nn.Module):
  """The convolutional part of a torchvision network, under its names."""

  def __init__(self, name):
    super().__init__()
    whole = getattr(models, name)(weights=None)
    self.parts = _RESNET if name.startswith("resnet") else ["features"]
    for part in self.parts:
      setattr(self, part, getattr(whole, part))
    if name.startswith("densenet"):
      self.features.add_module("final_relu", nn.ReLU())

  def forward(self, x):
    for part in self.parts:
      x = getattr(self, part)(x)
    return x


def _regular(inputs):
  return [
    nn.Conv2d(inputs, _CHANNELS, 1),
    nn.ReLU(),
    nn.Conv2d(_CHANNELS, _CHANNELS, 1),
    nn.Sigmoid(),
  ]


def _bottleneck(inputs):
  layers = []
  while inputs > _CHANNELS:
    width = max(_CHANNELS, inputs // 2)
    end = nn.ReLU() if width > _CHANNELS else nn.Sigmoid()
    layers += [nn.Conv2d(inputs, width, 1), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 1), end]
    inputs //= 2
  return layers


def _distances(z, prototypes, ones):
  """ProtoPNet's formula, (p, c, 1, 1) as kernels."""
  norms = (prototypes**2).sum(dim=(1, 2, 3)).view(-1, 1, 1)
  products = nn.functional.conv2d(z, prototypes)
  lengths = nn.functional.conv2d(z**2, ones)
  return nn.functional.relu(lengths - 2 * products + norms).amin((2, 3))


class PPNet(nn.Module):
  """ProtoPNet."""

  def __init__(self, name, inputs, add_on=_regular, activation="log"):
    super().__init__()
    self.img_size = _SIZE
    self.prototype_shape = (_COUNT, _CHANNELS, 1, 1)
    self.num_classes = _CLASSES
    self.prototype_activation_function = activation
    self.prototype_class_identity = torch.eye(_CLASSES).repeat_interleave(
      _COUNT // _CLASSES, dim=0
    )
    self.features = Features(name)
    self.add_on_layers = nn.Sequential(*add_on(inputs))
    self.prototype_vectors = nn.Parameter(torch.rand(self.prototype_shape))
    self.ones = nn.Parameter(torch.ones(self.prototype_shape))
    self.last_layer = nn.Linear(_COUNT, _CLASSES, bias=False)

  def forward(self, x):
    z = self.add_on_layers(self.features(x))
    near = _distances(z, self.prototype_vectors, self.ones)
    if self.prototype_activation_function == "log":
      return self.last_layer(torch.log((near + 1) / (near + 1e-4))), near
    return self.last_layer(-near), near


class Extractor(nn.Module):
  def __init__(self):
    super().__init__()
    self.convnet = Features("resnet18")
    layers = zip(("conv1", "act1", "conv2", "act2"), _regular(512), strict=True)
    self.add_on = nn.Sequential()
    for name, layer in layers:
      self.add_on.add_module(name, layer)


class Decision(nn.Module):
  def __init__(self):
    super().__init__()
    self.prototypes = nn.Parameter(torch.rand(_COUNT - 2, _CHANNELS, 1, 1))
    kept = torch.eye(_CLASSES).repeat_interleave(_COUNT // _CLASSES, dim=0)[2:]
    self.register_buffer("proto_class_map", kept)
    self.last_layer = nn.Linear(_COUNT - 2, _CLASSES, bias=False)


class CaBRNet(nn.Module):
  """CaBRNet's ProtoPNet, two of its prototypes pruned away."""

  def __init__(self):
    super().__init__()
    self.extractor, self.classifier = Extractor(), Decision()

  def forward(self, x):
    z = self.extractor.add_on(self.extractor.convnet(x))
    prototypes = self.classifier.prototypes
    near = _distances(z, prototypes, torch.ones_like(prototypes))
    scores = torch.log((near + 1) / (near + 1e-4))
    return self.classifier.last_layer(scores), near


def _settled(net):
  """In evaluation, with running averages of a batch."""
  net.train()
  net(torch.randn(4, 3, _SIZE, _SIZE))
  return net.eval()


def _check(net, path):
  """Our logits and distances of the file are those of the net."""
  images = np.random.default_rng(0).integers(0, 256, (2, _SIZE, _SIZE, 3))
  pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
  mean, std = (
    torch.tensor(x).view(1, 3, 1, 1)
    for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
  )
  with torch.no_grad():
    logits, distances = (x.numpy() for x in net((pixels - mean) / std))

  module = reading.read_module(path)
  name, reader = import_lib.recognised(module)
  found = reader.read(module, path.with_name("model_arch.yml"), _SIZE)
  config = import_lib._config(
    reader.config(found), name, reader.settings(found), ""
  )
  method = methods.load(config, tuple("abc"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  state = reader.state(found, template, method)
  ours, _ = jax.jit(
    lambda state, batch: method.network.forward(state.params, state, batch)
  )(state, {"image": images.astype(np.uint8)})
  near = ours.distances[:, : distances.shape[1]]
  for what, a, b in ("logits", ours.logits, logits), ("min", near, distances):
    print(f"{path.name} {what}: {np.abs(a - b).max():.2g}")
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [
    ("resnet18", 512),
    ("resnet50", 2048, _bottleneck),
    ("vgg11_bn", 512, _bottleneck, "linear"),
    ("densenet121", 1024),
  ],
  ids=lambda settings: settings[0],
)
def test_a_module_of_protopnet(tmp_path, settings):
  torch.manual_seed(0)
  net = _settled(PPNet(*settings))
  for zipped in True, False:
    path = tmp_path / f"{settings[0]}-{'zip' if zipped else 'legacy'}.pth"
    torch.save(obj=net, f=path, _use_new_zipfile_serialization=zipped)
    _check(net, path)


def test_a_state_dict_of_protopnet(tmp_path):
  torch.manual_seed(1)
  net = _settled(PPNet("resnet18", 512))
  with torch.no_grad():
    # The head tells the classes of the prototypes.
    own = torch.eye(_CLASSES).repeat_interleave(_COUNT // _CLASSES, dim=1)
    net.last_layer.weight.copy_(1.5 * own - 0.5)
  path = tmp_path / "state.pth"
  torch.save({"epoch": 3, "model": net.state_dict()}, path)
  _check(net, path)


def test_a_state_dict_of_cabrnet(tmp_path):
  torch.manual_seed(2)
  net = _settled(CaBRNet())
  path = tmp_path / "model_state.pth"
  torch.save(net.state_dict(), path)
  text = yaml.safe_dump(test_cabrnet_checkpoints.arch(), sort_keys=False)
  (tmp_path / "model_arch.yml").write_text(text)
  _check(net, path)

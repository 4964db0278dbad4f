"""Checkpoints of other systems, with weights from a formula."""

from collections import OrderedDict
import functools

from flax import traverse_util
import numpy as np

from protojax import backbones
from protojax.weights import reading
from tests.weights import foreign_files

# Prototypes, channels, classes, pixels.
COUNT, CHANNELS, CLASSES, SIZE = 6, 8, 3, 64


def noise(number, count):
  """Numbers in -1/2..1/2 that look random, of variance 1/12."""
  turns = np.sin(np.arange(count) * 12.9898 + number) * 43758.5453
  return turns - np.floor(turns) - 0.5


def wave(number, *shape):
  """An array whose variance is that of a layer's fresh weights."""
  fan_in = max(np.prod(shape[1:], dtype=int), 1)
  array = noise(number, np.prod(shape, dtype=int)) * np.sqrt(24 / fan_in)
  return array.reshape(shape).astype("f4")


@functools.cache
def features(name="resnet18", blank=False):
  """The tensors of a backbone by torchvision's names; zeros, if `blank`."""
  backbone = backbones.load(name)
  found = {}
  shapes = traverse_util.flatten_dict(reading.shapes(backbone.module))
  for number, (path, leaf) in enumerate(sorted(shapes.items())):
    shape = leaf.shape
    if len(shape) == 4:
      shape = shape[3], shape[2], *shape[:2]
    if blank:
      array = np.broadcast_to(np.float32(0), shape)
    elif path[-1] in ("scale", "var"):
      array = 1 + wave(number, *shape) / 4
    elif len(shape) == 4:
      array = wave(number, *shape)
    else:
      array = wave(number, *shape) / 4
    found[backbone.layouts[0].foreign_name(path)] = array
  return found


def add_on(prefix="add_on_layers.", names=("0", "2"), inputs=512):
  """Two 1x1 convolutions with their biases."""
  found = {}
  for number, name in enumerate(names):
    found[f"{prefix}{name}.weight"] = wave(number, CHANNELS, inputs, 1, 1)
    found[f"{prefix}{name}.bias"] = wave(number, CHANNELS)
    inputs = CHANNELS
  return found


def class_map():
  """Two prototypes of each class in turn."""
  return np.repeat(np.eye(CLASSES, dtype="f4"), COUNT // CLASSES, axis=0)


def protopnet():
  """A state dict of ProtoPNet, with a ResNet-18."""
  return {
    **{f"features.{name}": x for name, x in features().items()},
    **add_on(),
    "prototype_vectors": 0.5 + wave(1, COUNT, CHANNELS, 1, 1) / 4,
    "ones": np.ones((COUNT, CHANNELS, 1, 1), "f4"),
    "last_layer.weight": wave(2, CLASSES, COUNT),
  }


def module(kind, **attributes):
  """An object with the attributes of a PyTorch module.

  Attributes that are objects become its modules.
  """
  made = foreign_files.stand_in(kind)()
  made._parameters, made._buffers = OrderedDict(), OrderedDict()
  made._modules = OrderedDict()
  for name, value in attributes.items():
    place = made._modules if hasattr(value, "_modules") else made.__dict__
    place[name] = value
  return made


def pickled_protopnet(**changes):
  """What ProtoPNet gives to torch.save: (module, storages).

  Its `features` hold their tensors flat, which makes the same names.
  """
  arrays = {**protopnet(), "prototype_class_identity": class_map()}
  tensors, storages = foreign_files.state_dict(arrays)
  layers = {
    str(i): module(f"torch.nn.{kind}")
    for i, kind in enumerate(("Conv2d", "ReLU", "Conv2d", "Sigmoid"))
  }
  for name, tensor in tensors.items():
    if name.startswith("add_on_layers."):
      _, number, leaf = name.split(".")
      layers[number]._parameters[leaf] = tensor
  net = module(
    "model.PPNet",
    features=module("resnet_features.ResNet_features"),
    add_on_layers=module("torch.nn.Sequential", **layers),
    last_layer=module("torch.nn.Linear"),
    prototype_class_identity=tensors["prototype_class_identity"],
    **{
      "img_size": SIZE,
      "prototype_activation_function": "log",
      "num_classes": CLASSES,
      **changes,
    },
  )
  net._modules["features"]._parameters = OrderedDict(
    (name.removeprefix("features."), tensor)
    for name, tensor in tensors.items()
    if name.startswith("features.")
  )
  net._modules["last_layer"]._parameters["weight"] = tensors[
    "last_layer.weight"
  ]
  for name in "prototype_vectors", "ones":
    net._parameters[name] = tensors[name]
  return net, storages


def images():
  """Two images, uint8."""
  coarse = noise(0, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3) * 255 + 128
  return coarse.repeat(SIZE // 8, axis=1).repeat(SIZE // 8, axis=2).astype("u1")

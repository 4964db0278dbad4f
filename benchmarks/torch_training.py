"""The joint step of ProtoPNet in plain PyTorch, and CaBRNet's own.

Written from the paper (Chen et al., 2019): torchvision's ResNet-18, two 1x1
convolutions, squared distances as |z|² - 2 z·p + |p|² by a convolution, Adam.
Both sides get images that are normalised already.
"""

from collections.abc import Callable
import os
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
import torchvision

# As many as XLA takes.
torch.set_num_threads(len(os.sched_getaffinity(0)))

# Coefficients of Clst, Sep and L1 (section 2.2).
_CLUSTER, _SEPARATION, _L1 = 0.8, -0.08, 1e-4
_RATES = {"features": 1e-4, "add_on_layers": 3e-3, "prototype_vectors": 3e-3}
_DECAY = {"features": 1e-3, "add_on_layers": 1e-3, "prototype_vectors": 0.0}


class ProtoPNet(nn.Module):
  """Image -> logits and least distances; parts have the paper's names."""

  def __init__(
    self,
    classes: int,
    per_class: int,
    channels: int,
    backbone: str = "resnet18",
  ) -> None:
    super().__init__()
    self.features = torchvision.models.get_model(backbone, weights=None)
    width = self.features.fc.in_features
    self.features.avgpool = nn.Identity()
    self.features.fc = nn.Identity()
    self.add_on_layers = nn.Sequential(
      nn.Conv2d(width, channels, 1),
      nn.ReLU(),
      nn.Conv2d(channels, channels, 1),
      nn.Sigmoid(),
    )
    count = classes * per_class
    self.prototype_vectors = nn.Parameter(torch.rand(count, channels, 1, 1))
    own = torch.eye(classes).repeat_interleave(per_class, dim=1)
    self.register_buffer("own", own, persistent=False)
    self.last_layer = nn.Linear(count, classes, bias=False)
    self.last_layer.weight.data.copy_(1.5 * own - 0.5)

  def maps(self, images: torch.Tensor) -> torch.Tensor:
    """The backbone's features, [b d h w]."""
    net = self.features
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))

  def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [b k] and distances to the nearest patches [b p]."""
    z, p = self.add_on_layers(self.maps(images)), self.prototype_vectors
    squares = functional.conv2d(z * z, torch.ones_like(p))
    lengths = (p * p).sum(dim=(1, 2, 3)).view(1, -1, 1, 1)
    maps = functional.relu(squares - 2 * functional.conv2d(z, p) + lengths)
    distances = maps.flatten(2).min(dim=2).values
    scores = torch.log((distances + 1) / (distances + 1e-4))
    return self.last_layer(scores), distances

  def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """CE + Clst + Sep + L1, a mean over the batch."""
    logits, distances = self(images)
    own = self.own[labels].bool()
    cluster = distances.masked_fill(~own, torch.inf).min(dim=1).values.mean()
    separation = distances.masked_fill(own, torch.inf).min(dim=1).values.mean()
    return (
      functional.cross_entropy(logits, labels)
      + _CLUSTER * cluster
      + _SEPARATION * separation
      + _L1 * (self.last_layer.weight * (1 - self.own)).abs().sum()
    )

  def tensors(self) -> dict[str, np.ndarray]:
    """Copies of the weights by name."""
    return {k: x.detach().numpy().copy() for k, x in self.state_dict().items()}


def step(
  model: ProtoPNet, images: np.ndarray, labels: np.ndarray
) -> Callable[[], float]:
  """A function that does one joint step; the last layer is frozen.

  Args:
    model: what is trained.
    images: normalised, float32 [b H W 3].
    labels: [b].
  """
  inputs, classes = _inputs(images), torch.tensor(labels, dtype=torch.long)
  optimizer = _optimizer(model)

  def run() -> float:
    optimizer.zero_grad()
    loss = model.loss(inputs, classes)
    loss.backward()
    optimizer.step()
    return loss.item()

  return run


def compiled_step(
  model: ProtoPNet, images: np.ndarray, labels: np.ndarray, device: str
) -> Callable[[], float]:
  """The same in bfloat16, by torch.compile, with images in channels-last.

  Args:
    model: what is trained; it is moved to the device.
    images: normalised, float32 [b H W 3].
    labels: [b].
    device: PyTorch's name of it.
  """
  model = model.to(device, memory_format=torch.channels_last)
  inputs = _inputs(images).to(device, memory_format=torch.channels_last)
  classes = torch.tensor(labels, dtype=torch.long, device=device)
  optimizer = _optimizer(model)
  loss_of = torch.compile(model.loss)

  def run() -> float:
    optimizer.zero_grad()
    with torch.autocast(device, torch.bfloat16):
      loss = loss_of(inputs, classes)
    loss.backward()
    optimizer.step()
    return loss.item()

  return run


def _optimizer(model: ProtoPNet) -> torch.optim.Optimizer:
  """Adam of all but the last layer."""
  model.train().last_layer.requires_grad_(False)
  groups = [
    {
      "params": [p for n, p in model.named_parameters() if n.startswith(name)],
      "lr": rate,
      "weight_decay": _DECAY[name],
    }
    for name, rate in _RATES.items()
  ]
  return torch.optim.Adam(groups)


def forward(model: ProtoPNet, images: np.ndarray) -> Callable[[], Any]:
  """A function that gives the features of normalised images [b H W 3]."""
  inputs = _inputs(images)

  def run() -> torch.Tensor:
    with torch.inference_mode():
      return model.eval().maps(inputs)

  return run


def cabrnet_step(
  model: ProtoPNet, images: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
  """A function that does one step by CaBRNet's own loop, with its losses.

  Args:
    model: gives the weights and the shapes.
    images: normalised, float32 [b H W 3].
    labels: [b].
  """
  count, channels = model.prototype_vectors.shape[:2]
  classes = len(model.own)
  theirs = cabrnet(classes, channels, count // classes)
  theirs.load_state_dict(model.state_dict())
  theirs.classifier.last_layer.requires_grad_(False)
  trained = [p for p in theirs.parameters() if p.requires_grad]
  optimizer = torch.optim.Adam(trained, lr=1e-4, weight_decay=1e-3)
  batch = _inputs(images), torch.tensor(labels, dtype=torch.long)

  def run() -> float:
    data = {"train_set": [batch]}
    return theirs._train_epoch(data, optimizer, device="cpu")["train_set/loss"]

  return run


def cabrnet(classes: int, channels: int, per_class: int) -> Any:
  """CaBRNet's ProtoPNet on a ResNet-18 with random weights."""
  # Not needed beside PyTorch alone.
  import cabrnet.archs.protopnet.model as cabrnet_model
  import loguru

  loguru.logger.disable("cabrnet")
  return cabrnet_model.ProtoPNet.build_from_config(
    {
      "extractor": {
        "backbone": {"arch": "resnet18", "weights": "", "layer": "layer4"},
        "add_on": {
          "conv1": {"type": "Conv2d", "params": _pointwise(channels)},
          "relu1": {"type": "ReLU"},
          "conv2": {"type": "Conv2d", "params": _pointwise(channels)},
          "sigmoid1": {"type": "Sigmoid"},
        },
      },
      "similarity": {"name": "ProtoPNetSimilarity"},
      "classifier": {
        "module": "cabrnet.archs.protopnet.decision",
        "name": "ProtoPNetClassifier",
        "params": {
          "num_classes": classes,
          "num_features": channels,
          "num_proto_per_class": per_class,
        },
      },
      "top_arch": {
        "module": "cabrnet.archs.protopnet.model",
        "name": "ProtoPNet",
      },
    }
  )


def _pointwise(channels: int) -> dict[str, int]:
  return {"out_channels": channels, "kernel_size": 1}


def _inputs(images: np.ndarray) -> torch.Tensor:
  return torch.tensor(images.transpose(0, 3, 1, 2)).contiguous()

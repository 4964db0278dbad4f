"""The paper's procedure in plain PyTorch, Pillow and OpenCV, to measure by.

What someone writes who takes "This Looks Like That, Because ..." (2011.02863)
at its word: images one by one, each with its modified copies in a batch, the
copies made by Pillow and OpenCV at the image's own size. Its table of one row
for every image, prototype and modification is left out in its favour; scores
are arrays.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
from jaxtyping import Float, UInt8
import numpy as np
from PIL import Image, ImageEnhance
import torch
from torch import Tensor, nn
from torch.nn import functional
import torchvision

from protojax.backbones.backbone import Backbone
from protojax.prototypes.bank import bank_of
from protojax.types import State

_EPSILON = 1e-4
# Lite0's stages: kernel, stride, expansion, channels, blocks.
_LITE = (
  (3, 1, 1, 16, 1),
  (3, 2, 6, 24, 2),
  (5, 2, 6, 40, 2),
  (3, 2, 6, 80, 3),
  (5, 1, 6, 112, 3),
  (5, 2, 6, 192, 4),
  (3, 1, 6, 320, 1),
)


class Same(nn.Conv2d):
  """A convolution that is padded as TensorFlow's "SAME" is."""

  def forward(self, x: Tensor) -> Tensor:
    """The odd cell of the padding comes after."""
    pads = []
    for n in (x.shape[-1], x.shape[-2]):
      kernel, stride = self.kernel_size[0], self.stride[0]
      total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
      pads += [total // 2, total - total // 2]
    return super().forward(functional.pad(x, pads))


class LiteBlock(nn.Module):
  """Expansion, depthwise convolution, projection, and a shortcut."""

  def __init__(
    self, inputs: int, kernel: int, stride: int, expansion: int, channels: int
  ) -> None:
    super().__init__()
    wide = inputs * expansion
    layers = [_bound(nn.Conv2d(inputs, wide, 1, bias=False), wide)]
    depthwise = Same(wide, wide, kernel, stride, groups=wide, bias=False)
    self.layers = nn.Sequential(
      *(layers if expansion > 1 else []),
      _bound(depthwise, wide),
      nn.Conv2d(wide, channels, 1, bias=False),
      nn.BatchNorm2d(channels, 1e-3),
    )
    self.shortcut = stride == 1 and inputs == channels

  def forward(self, x: Tensor) -> Tensor:
    """The block's map."""
    y = self.layers(x)
    return x + y if self.shortcut else y


def _bound(convolution: nn.Module, channels: int) -> nn.Module:
  norm = nn.BatchNorm2d(channels, 1e-3)
  return nn.Sequential(convolution, norm, nn.ReLU6(inplace=True))


def lite(tensors: Mapping[str, np.ndarray]) -> nn.Module:
  """EfficientNet-Lite0 up to its last stage, with the weights of its authors.

  Args:
    tensors: those of the authors' checkpoint, in the order of the network.
  """
  layers, inputs = [_bound(Same(3, 32, 3, 2, bias=False), 32)], 32
  for kernel, stride, expansion, channels, blocks in _LITE:
    for i in range(blocks):
      first = stride if i == 0 else 1
      layers.append(LiteBlock(inputs, kernel, first, expansion, channels))
      inputs = channels
  network = nn.Sequential(*layers)
  own = network.state_dict()
  given = dict(zip(own, map(torch.tensor, tensors.values()), strict=False))
  network.load_state_dict(given)
  return network


def resnet(
  name: str, backbone: Backbone, images: UInt8[np.ndarray, "b H W 3"]
) -> tuple[nn.Module, dict[str, np.ndarray]]:
  """torchvision's ResNet, random, with BatchNorm's statistics of images.

  Args:
    name: such as "resnet18".
    backbone: ours, says how images are normalised.
    images: whose maps get mean 0 and variance 1.

  Returns:
    The network up to its last map, and all of its tensors by name.
  """
  torch.manual_seed(0)
  network = torchvision.models.get_model(name)
  for module in network.modules():
    if isinstance(module, nn.BatchNorm2d):
      module.momentum = 1.0
  with torch.no_grad():
    network.train()(normalised(images, backbone))
  tensors = {k: x.numpy() for k, x in network.state_dict().items()}
  return nn.Sequential(*list(network.children())[:-2]), tensors


def normalised(
  images: UInt8[np.ndarray, "b H W 3"], backbone: Backbone
) -> Tensor:
  """Images as the network takes them, b 3 H W."""
  mean, std = (
    torch.tensor(x).reshape(1, 3, 1, 1) for x in (backbone.mean, backbone.std)
  )
  return (torch.tensor(images).permute(0, 3, 1, 2) / 255 - mean) / std


class Reference:
  """A ProtoPNet and the script that explains it."""

  def __init__(
    self,
    network: nn.Module,
    backbone: Backbone,
    state: State,
    image_size: int,
    device: str = "cpu",
  ) -> None:
    """The same weights as `state`.

    Args:
      network: normalised images -> features, the weights in it.
      backbone: says how its images are normalised.
      state: gives add-on and prototypes.
      image_size: side of the network's input in pixels.
      device: PyTorch's name of it. Images are changed on the host.
    """
    self.backbone, self.image_size = backbone, image_size
    self.device = device
    self.network = nn.Sequential(network, *add_on(state)).eval().to(device)
    prototypes = np.array(bank_of(state).vectors)
    prototypes = torch.tensor(prototypes.reshape(len(prototypes), -1))
    self.prototypes = prototypes.to(device)

  def distances(self, copies: UInt8[np.ndarray, "n H W 3"]) -> Tensor:
    """Squared distances, n cells p."""
    x = normalised(copies, self.backbone).to(self.device)
    p = self.prototypes
    z = self.network(x).flatten(2).transpose(1, 2)
    squares = (z**2).sum(-1, keepdim=True) + (p**2).sum(-1)
    return functional.relu(squares - 2 * z @ p.T)

  @torch.inference_mode()
  def local(self, image: UInt8[np.ndarray, "H W 3"]) -> tuple[Tensor, Tensor]:
    """g [p] and phi_local [m p] of one image."""
    versions = [image, *modified(image)]
    size = (self.image_size,) * 2
    resized = [
      np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BILINEAR))
      for x in versions
    ]
    found = self.distances(np.stack(resized))
    cell = found[0].argmin(dim=0)
    at = found.gather(1, cell.expand(len(found), 1, -1))[:, 0]
    similarity = torch.log((at + 1) / (at + _EPSILON))
    return similarity[0], similarity[0] - similarity[1:]

  def explain(
    self, images: Iterable[UInt8[np.ndarray, "H W 3"]]
  ) -> Float[np.ndarray, "m p"]:
    """phi_global: the scores of all images under the weights g."""
    weighted: Any = 0.0
    weight: Any = 0.0
    for image in images:
      similarity, local = self.local(image)
      weighted = weighted + local.double() * similarity
      weight = weight + similarity.double()
    return (weighted / weight).cpu().numpy()


def add_on(state: State) -> list[nn.Module]:
  """Its layers: 1x1 convolutions, ReLU between them, a sigmoid at the end."""
  layers: list[nn.Module] = []
  for _, dense in sorted(state.params["add_on"].items()):
    kernel, bias = (np.array(dense[name]) for name in ("kernel", "bias"))
    layer = nn.Conv2d(*kernel.shape, 1)
    layer.weight.data = torch.tensor(kernel.T[:, :, None, None].copy())
    layer.bias.data = torch.tensor(bias)
    layers += [layer, nn.ReLU()]
  return [*layers[:-1], nn.Sigmoid()]


def modified(
  image: UInt8[np.ndarray, "H W 3"],
) -> list[UInt8[np.ndarray, "H W 3"]]:
  """Contrast, saturation, hue, shape, texture, brightness; at their strengths.

  The order and the numbers of the paper's code.
  """
  picture = Image.fromarray(image)
  return [
    np.asarray(ImageEnhance.Contrast(picture).enhance(0.45)),
    np.asarray(ImageEnhance.Color(picture).enhance(0.7)),
    _hue(picture, 0.1),
    _shape(image, 4, 0.05),
    texture(image),
    np.asarray(ImageEnhance.Brightness(picture).enhance(0.8)),
  ]


def texture(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
  """Non-local means."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  smooth = cv2.fastNlMeansDenoisingColored(bgr, None, 4, 4, 7, 21)
  return cv2.cvtColor(smooth, cv2.COLOR_BGR2RGB)


def _hue(picture: Image.Image, turn: float) -> UInt8[np.ndarray, "H W 3"]:
  hue, saturation, value = picture.convert("HSV").split()
  turned = np.asarray(hue) + np.uint8(int(turn * 255))
  bands = Image.fromarray(turned), saturation, value
  return np.asarray(Image.merge("HSV", bands).convert("RGB"))


def _shape(
  image: UInt8[np.ndarray, "H W 3"], amplitude: float, frequency: float
) -> UInt8[np.ndarray, "H W 3"]:
  """Rows rolled along a sine, then columns."""
  image = image.copy()
  height, width, _ = image.shape
  shift = amplitude * np.sin(np.pi * np.arange(max(height, width)) * frequency)
  for y in range(height):
    image[y] = np.roll(image[y], int(shift[y]), axis=0)
  for x in range(width):
    image[:, x] = np.roll(image[:, x], int(shift[x]), axis=0)
  return image

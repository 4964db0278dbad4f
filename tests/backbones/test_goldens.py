"""Features of small networks as PyTorch computed them, without PyTorch.

`test_torch.py` compares the same numbers with torchvision, timm and open_clip,
whose tensors have these names.
"""

import jax
import numpy as np
import pytest

from tests.backbones import formula

# Projections of a map, by `projected`.
GOLDENS = {
  "clip": [0.557317, 0.297467, -0.026474, 0.461547],
  "convnext": [0.089497, 0.215907, 0.189971, 0.578995],
  "densenet": [-0.081832, 0.055038, 0.16487, 0.09888],
  "dinov2": [0.020385, 0.293426, 0.033451, 0.097189],
  "resnet18": [0.05108, -0.250635, -1.313387, -0.552104],
  "resnet_stride8": [0.293452, -0.291869, -0.897273, 0.074352],
  "vgg11": [0.073743, 0.18696, -0.053314, -0.032465],
  "vgg11_bn": [0.170311, 0.018355, -0.004398, -0.123418],
  "vit": [0.055603, 0.198491, 0.136083, 0.079504],
}


def projected(features):
  """Four numbers that depend on every feature."""
  flat = np.float64(features).ravel()
  flat *= formula.uniform("projection", len(flat)) / len(flat) ** 0.5
  return [quarter.sum() for quarter in np.array_split(flat, 4)]


@pytest.mark.parametrize("name", sorted(GOLDENS))
def test_features_are_those_of_pytorch(name):
  net = formula.NETS[name]
  variables = net.backbone.convert(net.checkpoint())
  images = formula.images(net.image_size)
  features = jax.jit(net.backbone.module.apply)(variables, images)
  np.testing.assert_allclose(projected(features), GOLDENS[name], atol=1e-4)

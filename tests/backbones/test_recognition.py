"""Backbones of foreign checkpoints are known by their tensors."""

import numpy as np
import pytest

from protojax.backbones import recognition
from tests.methods.protopnet import foreign_nets


@pytest.mark.parametrize(
  "name",
  [pytest.param("resnet53", marks=pytest.mark.slow), "vgg11", "vgg16_bn"],
)
def test_backbones_are_known_by_their_tensors(name):
  tensors = foreign_nets.features(name, blank=True)
  assert recognition.name_of(tensors) == name


def test_densenets_are_known_by_their_depth():
  kernel = np.zeros((1, 1, 1, 1))
  tensors = {"features.conv0.weight": kernel}
  for block, layers in enumerate((6, 12, 32, 32), start=1):
    for layer in range(1, layers + 1):
      name = f"features.denseblock{block}.denselayer{layer}"
      tensors |= {
        f"{name}.conv1.weight": kernel,
        f"{name}.conv2.weight": kernel,
      }
    if block < 4:
      tensors[f"features.transition{block}.conv.weight"] = kernel
  assert recognition.name_of(tensors) == "densenet169"

"""The head of a classifier behind a backbone, from weights or from code."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import classifier
from protojax.types import UserError


def _maps(channels=6):
  rng = np.random.default_rng(0)
  return rng.normal(1.0, 2.0, (3, 2, 4, channels)).astype(np.float32)


def _head(classes=4, channels=6, norm=False):
  rng = np.random.default_rng(1)
  weight = rng.normal(size=(classes, channels)).astype(np.float32)
  bias, *norms = rng.normal(size=(3, channels)).astype(np.float32)
  return classifier.Head(weight, bias[:classes], tuple(norms) if norm else None)


def test_a_norm_before_the_mean_is_the_norm_behind_it():
  """ConvNeXt's head, folded into the map, against Flax's LayerNorm."""
  maps, head = _maps(), _head(norm=True)
  scale, bias = head.norm
  pooled = nn.LayerNorm(1e-6).apply(
    {"params": {"scale": scale, "bias": bias}}, maps.mean(axis=(1, 2))
  )
  expected = pooled @ head.weight.T + head.bias[None]
  folded = classifier.normed(maps, scale, bias)
  np.testing.assert_allclose(folded.mean(axis=(1, 2)), pooled, atol=1e-5)
  np.testing.assert_allclose(
    classifier.logits(head, maps), expected, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "linear", "norm"),
  [
    ("resnet18", "fc", None),
    ("densenet121", "module.classifier", None),
    ("efficientnet_lite1_head", "_fc", None),
    ("convnext_tiny", "classifier.2", "classifier.0"),
    ("convnext_tiny", "head.fc", "head.norm"),
  ],
)
def test_heads_are_found_by_their_names(tmp_path, name, linear, norm):
  backbone = backbones.load(name)
  expected = _head(5, backbone.channels, norm=bool(norm))
  tensors = {
    f"{linear}.weight": expected.weight,
    f"{linear}.bias": expected.bias,
  }
  if norm:
    scale, bias = expected.norm
    tensors |= {f"{norm}.weight": scale, f"{norm}.bias": bias}
  np.savez(tmp_path / "weights.npz", **tensors)
  found = classifier.head(backbone, name, str(tmp_path / "weights.npz"))
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
  ("name", "tensors", "message"),
  [
    ("vgg16", {}, "the classifier of vgg16 is no linear head on the mean"),
    ("resnet18", {"x.weight": np.ones(3)}, r"\[classes, 512\].*there is none"),
    (
      "resnet18",
      {"fc.weight": np.ones((9, 64)), "fc.bias": np.ones(9)},
      r"\[classes, 512\].*one of shape \(9, 64\)",
    ),
    (
      "convnext_tiny",
      {"head.fc.weight": np.ones((9, 768)), "head.fc.bias": np.ones(9)},
      "should hold a LayerNorm of 768 channels",
    ),
  ],
)
def test_other_heads_are_refused(tmp_path, name, tensors, message):
  np.savez(tmp_path / "weights.npz", **tensors)
  with pytest.raises(UserError, match=message):
    classifier.head(backbones.load(name), name, str(tmp_path / "weights.npz"))


def test_without_weights_there_is_no_head():
  with pytest.raises(UserError, match="has no pretrained weights of its own"):
    classifier.head(backbones.load("resnet18"), "resnet18")


def test_classes_are_named_by_the_folder_or_by_number():
  head = _head(classes=3)
  assert classifier.class_names(head, ("a", "b", "c")) == ("a", "b", "c")
  assert classifier.class_names(head, ("a", "b")) == (
    "class 0",
    "class 1",
    "class 2",
  )


class _Net(nn.Module):
  """A classifier of somebody else."""

  activation: bool = False

  def setup(self):
    self.conv = nn.Conv(6, (4, 4), (4, 4))
    self.head = nn.Dense(3)

  def features(self, x):
    return nn.relu(self.conv(x))

  def __call__(self, x):
    pooled = self.features(x).mean(axis=(1, 2))
    return self.head(jnp.tanh(pooled) if self.activation else pooled)


@pytest.mark.parametrize("activation", [False, True])
def test_a_flax_model_is_a_classifier_if_nothing_stands_between(activation):
  net, rng = _Net(activation), np.random.default_rng(2)
  images = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
  variables = net.init(jax.random.key(0), images / np.float32(255))
  backbone = classifier.from_function(
    lambda variables, x: net.apply(variables, x, method="features"),
    variables,
    channels=6,
    stride=4,
  )
  layer = variables["params"]["head"]
  head = classifier.Head(layer["kernel"].T, layer["bias"])
  expected = net.apply(variables, images / np.float32(255))
  if activation:
    with pytest.raises(UserError, match="such as a norm or an activation"):
      classifier.check(backbone, head, images, expected)
    return
  assert classifier.check(backbone, head, images, expected) < 1e-5
  again = backbone.init(jax.random.key(1), 8)
  jax.tree.map(
    np.testing.assert_array_equal, again["params"]["variables"], variables
  )

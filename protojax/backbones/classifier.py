"""The classifier behind a backbone: map -> mean over cells -> linear head.

A method that explains a network as it is needs its head and its map. Both come
from one checkpoint, or from a function of the user's own:

  backbone = classifier.from_function(features, variables, stride=32)
  head = classifier.Head(weight, bias)
  classifier.check(backbone, head, images, logits)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Num
import numpy as np

from protojax.backbones.backbone import Backbone, Layer, Readout
from protojax.types import ArrayLike, PyTree, UserError
from protojax.weights import prefixes
from protojax.weights import reading as weights
from protojax.weights.naming import Tensors

# Names, in the libraries, of the last linear layer and of the LayerNorm before.
_LINEAR = ("_fc", "fc", "classifier", "classifier.2", "head.fc")
_NORM = ("classifier.0", "head.norm")
_EPSILON = 1e-6
# Largest relative difference of logits by the rounding of float32.
_TOLERANCE = 1e-4


class Head(NamedTuple):
  """The layers of a classifier after the mean over cells.

  Attributes:
    weight: float32 [k, d].
    bias: float32 [k].
    norm: scale and bias [d] of a LayerNorm between mean and linear layer; None
      without one.
  """

  weight: ArrayLike
  bias: ArrayLike
  norm: tuple[ArrayLike, ArrayLike] | None = None


def head(backbone: Backbone, name: str, address: str = "") -> Head:
  """The head in the weights of a backbone.

  Args:
    backbone: the network before the head.
    name: of the backbone, for messages.
    address: of a file of weights, as in `weights.fetch`; '' takes the
      pretrained weights of the backbone.

  Raises:
    UserError: there are no weights, or no such head among them.
  """
  if backbone.readout == "other":
    raise UserError(
      f"the classifier of {name} is no linear head on the mean of its map,"
      " which is what can be explained as it is. Train such a head with"
      " --config.head=probe, or take another --config.backbone.name:"
      " efficientnet_lite0_head, a resnet, densenet or convnext."
    )
  if address:
    tensors = weights.read(weights.fetch(address))
  elif backbone.tensors is None:
    raise UserError(
      f"the backbone '{name}' has no pretrained weights of its own, and so no"
      " head; give a file of them with --config.backbone.weights=FILE, or train"
      " a head with --config.head=probe."
    )
  else:
    tensors = backbone.tensors()
  return _head(tensors, backbone, address or name)


def class_names(head: Head | None, names: Sequence[str]) -> tuple[str, ...]:
  """Names of the classes of a head: `names` if their number fits, else numbers.

  Names of a folder are sorted, as the classes of a head are. Without a head,
  all names fit.
  """
  if head is None or len(head.bias) == len(names):
    return tuple(names)
  return tuple(f"class {k}" for k in range(len(head.bias)))


def _head(tensors: Tensors, backbone: Backbone, origin: str) -> Head:
  tensors = prefixes.bare(tensors)
  weight, bias = _pair(tensors, _LINEAR, 2)
  channels = backbone.channels
  if weight is None or weight.shape != (len(bias), channels):
    found = "none" if weight is None else f"one of shape {weight.shape}"
    raise UserError(
      f"the weights of {origin} should hold a linear layer"
      f" [classes, {channels}] with a bias, named {' or '.join(_LINEAR)};"
      f" there is {found}. Train one with --config.head=probe."
    )
  if backbone.readout == "mean":
    return Head(weight, bias)
  scale, shift = _pair(tensors, _NORM, 1)
  if scale is None or scale.shape != (channels,):
    raise UserError(
      f"the weights of {origin} should hold a LayerNorm of {channels} channels"
      f" before the head, named {' or '.join(_NORM)}; there is none."
    )
  return Head(weight, bias, (scale, shift))


def _pair(tensors, names, rank) -> tuple[Any, Any]:
  """Weight and bias, in float32, of the first layer that is there."""
  for name in names:
    weight = tensors.get(f"{name}.weight")
    bias = tensors.get(f"{name}.bias")
    if weight is not None and bias is not None and weight.ndim == rank:
      return np.array(weight, np.float32), np.array(bias, np.float32)
  return None, None


def normed(
  features: Float[ArrayLike, "b h w d"],
  scale: Float[ArrayLike, " d"],
  bias: Float[ArrayLike, " d"],
) -> Float[jax.Array, "b h w d"]:
  """A map; its mean over cells is the LayerNorm of the mean of `features`.

  A LayerNorm does not commute with a rotation of the channels. At every cell,
  before the rotation and the mean, it does not have to (EPIC,
  `models/backbones.py`). Mean and variance are those of the mean over cells, so
  nothing is approximated.
  """
  pooled = jnp.mean(features, axis=(1, 2), keepdims=True)
  mean = jnp.mean(pooled, axis=-1, keepdims=True)
  variance = jnp.mean((pooled - mean) ** 2, axis=-1, keepdims=True)
  scaled = jnp.asarray(features - mean) * jax.lax.rsqrt(variance + _EPSILON)
  scale, bias = (jnp.asarray(x)[None, None, None] for x in (scale, bias))
  return scaled * scale + bias


def logits(
  head: Head, features: Float[ArrayLike, "b h w d"]
) -> Float[jax.Array, "b k"]:
  """Logits of the classifier for maps."""
  if head.norm is not None:
    features = normed(features, *head.norm)
  return (
    jnp.matmul(
      jnp.mean(features, axis=(1, 2)),
      jnp.asarray(head.weight).T,
      precision=jax.lax.Precision.HIGHEST,
    )
    + jnp.asarray(head.bias)[None]
  )


def from_function(
  features: Callable[[PyTree, ArrayLike], ArrayLike],
  variables: PyTree,
  *,
  channels: int,
  stride: int,
  mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
  std: tuple[float, float, float] = (1.0, 1.0, 1.0),
  layers: tuple[Layer, ...] = (),
  readout: Readout = "mean",
) -> Backbone:
  """Makes a backbone of a function, such as a Flax model's `apply`.

  Args:
    features: (variables, normalised images b H W 3) -> maps b h w d; the
      classifier takes their mean over cells.
    variables: weights of the function.
    channels: d.
    stride: pixels of the image from one cell to the next.
    mean: of red, green and blue, of pixels scaled to 0..1; subtracted.
    std: of the same; divided by.
    layers: spatial steps, for receptive fields; without them, the field of a
      cell is its own square.
    readout: "normed mean" if the head has a LayerNorm.
  """
  return Backbone(
    module=_Function(features, lambda: variables),
    mean=mean,
    std=std,
    stride=stride,
    layers=layers or (Layer(stride, stride, "VALID"),),
    channels=channels,
    pretrained=lambda: {"params": {"variables": variables}},
    readout=readout,
  )


class _Function(nn.Module):
  """A function as a module; its variables are one parameter, "variables"."""

  function: Callable[[PyTree, ArrayLike], ArrayLike]
  weights: Callable[[], PyTree]

  @nn.compact
  def __call__(
    self, images: Num[ArrayLike, "b H W 3"], train: bool = False
  ) -> Float[jax.Array, "b h w d"]:
    """`train` changes nothing."""
    del train
    given = self.param(
      "variables", lambda key: jax.tree.map(jnp.asarray, self.weights())
    )
    return jnp.asarray(self.function(given, images))


def check(
  backbone: Backbone,
  head: Head,
  images: Num[ArrayLike, "b H W 3"],
  expected: Float[ArrayLike, "b k"],
) -> float:
  """Checks that backbone and head alone make the classifier.

  Args:
    backbone: with its weights.
    head: of the classifier.
    images: pixels 0..255.
    expected: the classifier's own logits of them.

  Returns:
    The largest difference, relative to the largest logit of its image.

  Raises:
    UserError: the difference is more than rounding.
  """
  assert backbone.pretrained is not None, "from_function gives the weights"
  apply: Any = backbone.module.apply
  maps = apply(backbone.pretrained(), backbone.normalise(images))
  found = difference(expected, logits(head, maps))
  if not found <= _TOLERANCE:
    raise UserError(
      "the linear head on the mean of the map does not give the classifier's"
      f" logits: they differ by {found:.2g} of the largest, and rounding makes"
      f" at most {_TOLERANCE:g}. Put what stands between map and head, such"
      " as a norm or an activation, into `features`."
    )
  return found


def difference(a: Float[ArrayLike, "b k"], b: Float[ArrayLike, "b k"]) -> float:
  """Largest difference of logits, relative to the largest of `a` per image."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  size = np.maximum(np.abs(a).max(axis=1), np.finfo(np.float32).tiny)
  return float((np.abs(a - b).max(axis=1) / size).max())

"""Features of images by a backbone, which `generation` compares.

The features of an image are the means of the backbone's map over its cells.
Those of `inception_v3_fid` are "pool3" of the Frechet Inception distance.
Images come to the size of the network as in the code of pytorch-fid for this
network: bilinear, the outer edges of both coincide, and not antialiased. For
other networks they are antialiased where they become smaller.
"""

from collections.abc import Iterator
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from protojax import backbones, parallel
from protojax.backbones import classifier
from protojax.backbones.backbone import Backbone
from protojax.data.stream import Stream
from protojax.types import Array, Batch, PyTree, UserError
from protojax.weights import reading

# The network whose figures are those of the literature.
INCEPTION = "inception_v3_fid"
# One whose weights come as a package.
DEFAULT = "efficientnet_lite0_head"


class Extractor(NamedTuple):
  """A network with its weights.

  Attributes:
    name: of the backbone.
    backbone: the network.
    size: side of the images that it gets, in pixels.
    weights: "variables" of the backbone, and "head", None without one.
  """

  name: str
  backbone: Backbone
  size: int
  weights: PyTree

  @property
  def antialias(self) -> bool:
    """Whether images are low-passed before they become smaller."""
    return self.name != INCEPTION


def load(name: str, address: str = "", image_size: int = 0) -> Extractor:
  """A network with its weights.

  Args:
    name: of the backbone.
    address: of a file of weights, as in `reading.fetch`; '' takes the
      pretrained weights of the backbone.
    image_size: side of the images that it gets; 0: as it was trained.

  Raises:
    UserError: there is no such network, or there are no weights that fit.
  """
  backbone = backbones.load(name)
  known = backbone.preprocessing.get("")
  size = image_size or (known.crop if known else 0)
  if not size:
    raise UserError(
      f"nobody knows at which size {name} takes images: give --image-size"
    )
  if address:
    tensors = reading.read(reading.fetch(address))
    try:
      variables = backbone.convert(tensors)
    except UserError as error:
      raise UserError(f"{address} is not of {name}: {error}") from error
  elif backbone.pretrained is not None:
    variables = backbone.pretrained()
  else:
    raise UserError(
      f"the backbone {name!r} has no pretrained weights of its own: give a file"
      f" with --weights=FILE, or take --backbone={DEFAULT}"
    )
  weights = {"variables": variables, "head": _head(backbone, name, address)}
  return Extractor(name, backbone, size, weights)


def _head(
  backbone: Backbone, name: str, address: str
) -> classifier.Head | None:
  """The classifier in the weights; None if it is no linear head on the mean."""
  try:
    head = classifier.head(backbone, name, address)
  except UserError:
    return None
  if name != INCEPTION:
    return head
  # The code that the score comes from leaves the bias out; so do all others.
  return head._replace(bias=np.zeros_like(head.bias))


def rows(
  extractor: Extractor, stream: Stream
) -> Iterator[dict[str, np.ndarray]]:
  """For each batch "features" [b d] and, with a head, "probabilities" [b k].

  Args:
    extractor: of the features.
    stream: "image" uint8 [b H W c] with 1 or 3 channels; padding is left out.
  """
  step = functools.partial(
    _rows, extractor.backbone, extractor.size, extractor.antialias
  )
  for batch, found in parallel.each(step, extractor.weights, stream.batches()):
    yield {name: x[batch["valid"]] for name, x in found.items()}


def _rows(
  backbone: Backbone, size: int, antialias: bool, weights: PyTree, batch: Batch
) -> dict[str, Array]:
  """Features of the images of a batch."""
  x = resized(batch["image"], size, antialias)
  variables: dict[str, Any] = dict(weights["variables"])
  params = variables.pop("params")
  features, _ = backbone.features(params, variables, x)
  found = {"features": jnp.mean(features, axis=(1, 2))}
  if weights["head"] is not None:
    logits = classifier.logits(weights["head"], features)
    found["probabilities"] = jax.nn.softmax(logits)
  return found


def resized(images: Any, size: int, antialias: bool) -> Array:
  """Pixels 0..255, float32 [b size size 3], bilinear; grey becomes colour."""
  x = jnp.asarray(images, jnp.float32)
  if x.shape[-1] == 1:
    x = jnp.repeat(x, 3, axis=-1)
  if x.shape[1:3] == (size, size):
    return x
  shape = len(x), size, size, 3
  return jax.image.resize(x, shape, "linear", antialias=antialias)

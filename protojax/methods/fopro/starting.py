"""What comes before the losses: weights of a file, the first prototypes."""

from typing import Any

from jaxtyping import Bool, Float, Int32
import numpy as np

from protojax import parallel
from protojax.backbones.backbone import Backbone
from protojax.data.stream import Stream
from protojax.methods.fopro.network import Network
from protojax.prototypes import start
from protojax.types import PyTree, State, UserError
from protojax.weights import prefixes, reading

# MoPro's checkpoints, and FoPro's own, hold two encoders.
ENCODER = "encoder_q."
# Layers of MoPro behind the encoder's vector.
_HEADS = ("classifier.", "fc1.", "fc2.", "fc.")


def with_weights(
  state: State, backbone: Backbone, name: str, weights: str
) -> State:
  """The state with pretrained weights in both encoders.

  Args:
    state: from `Network.init`.
    backbone: of the encoder.
    name: of the backbone, for messages.
    weights: see `start.variables`; also a checkpoint of MoPro.

  Raises:
    UserError: they cannot be read, or are of another network.
  """
  found = _variables(backbone, name, weights)
  params = found.pop("params")
  return state.replace(
    params={**state.params, "backbone": params},
    statistics={**state.statistics, "backbone": found},
    memory={**state.memory, "encoder": {"params": params, "statistics": found}},
  )


def _variables(backbone: Backbone, name: str, weights: str) -> PyTree:
  tensors = {}
  if weights:
    tensors = prefixes.bare(reading.read(reading.fetch(weights)))
  own = of_encoder(tensors)
  if not own:
    return start.variables(backbone, name, weights)
  try:
    return dict(backbone.convert(own))
  except UserError as error:
    raise UserError(f"{weights} is not of {name}: {error}") from error


def of_encoder(tensors: Any) -> dict[str, np.ndarray]:
  """Tensors of the encoder among those of MoPro; none if it is not there."""
  own = {
    key.removeprefix(ENCODER): array
    for key, array in tensors.items()
    if key.startswith(ENCODER)
  }
  return {k: x for k, x in own.items() if not k.startswith(_HEADS)}


def chosen(
  labels: Int32[np.ndarray, " n"],
  trusted: Bool[np.ndarray, " n"],
  rows: Int32[np.ndarray, " m"],
  each: int,
  seed: int,
) -> Int32[np.ndarray, " c"]:
  """Positions of the images that the first prototypes are the means of.

  The few-shot images of a class; some random ones, if it has none.

  Args:
    labels: of all images.
    trusted: few-shot images.
    rows: positions of the images that may be taken.
    each: random images of a class without few-shot images.
    seed: of the draw.
  """
  rng, found = np.random.default_rng([seed, 1]), []
  for label in np.unique(labels[rows]):
    own = rows[labels[rows] == label]
    few = own[trusted[own]]
    found.append(few if len(few) else rng.permutation(own)[:each])
  return np.sort(np.concatenate(found)).astype(np.int32)


def means(
  network: Network,
  state: State,
  data: Stream,
  rows: Int32[np.ndarray, " c"],
  labels: Int32[np.ndarray, " n"],
) -> Float[np.ndarray, "k d"]:
  """Mean projections by class, of length 1; zeros without an image.

  Args:
    network: whose slow encoder projects them.
    state: of the network.
    data: all images in source order.
    rows: positions of the images.
    labels: of all images.
  """
  total = np.zeros((len(network.class_names), network.channels))
  for batch, made in parallel.each(network.slow, state, data.some(rows)):
    own = batch["valid"]
    np.add.at(total, labels[batch["index"][own]], made["projected"][own])
  lengths = np.linalg.norm(total, axis=1, keepdims=True)
  return (total / np.maximum(lengths, 1e-12)).astype(np.float32)

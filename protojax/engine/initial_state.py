"""Starts a prototype network from data: what a random key cannot give it.

Pretrained weights, features of unit variance, and prototypes that are patches.
Arrays that were taken over from another run stay as they are.
"""

from protojax.data.stream import Stream
from protojax.engine import adopt
from protojax.engine.cached import Cached
from protojax.prototypes import start
from protojax.prototypes.bank import with_vectors
from protojax.prototypes.network import Network
from protojax.types import State


def start_from_data(
  network: Network,
  state: State,
  stream: Stream,
  features: Cached,
  *,
  backbone: str,
  pretrained: bool,
  weights: str,
  per_class: int,
  standardise: bool,
  patches: bool,
  seed: int,
  init_from: str = "",
) -> State:
  """The state after its start from data.

  Args:
    network: of the state.
    state: from `network.init`, maybe with arrays of another run.
    stream: the training images in source order, without augmentation.
    features: cached rows of the backbone.
    backbone: name of the backbone.
    pretrained: load the weights that the backbone comes with.
    weights: load weights of a file or of the hub; see `start.pretrained`.
    per_class: prototypes of a class; classes with fewer images are printed.
    standardise: bring every channel of the features to mean 0, variance 1.
    patches: prototypes start as random patches of their class.
    seed: of the choice of patches.
    init_from: workdir of the run whose arrays were taken over; '' for none.
  """
  names = network.class_names
  start.tell_of_small_classes(names, stream.labels, per_class)
  taken = adopt.fitting(state, init_from, names) if init_from else {}
  if (pretrained or weights) and not taken:
    state = start.pretrained(state, network.backbone, backbone, weights)
  cached = features.stream(state, stream)
  if standardise and not taken:
    shift, scale = start.standardisation(
      network.backbone_map, state, cached, network.backbone.channels
    )
    statistics = {**state.statistics, "shift": shift, "scale": scale}
    state = state.replace(statistics=statistics)
  if patches and "params.prototypes.prototypes" not in taken:
    found = start.random_patches(network.embedded_map, state, cached, seed)
    state = with_vectors(state, found)
  return state

"""What a prototype network begins with that a key alone cannot give.

Weights that somebody has trained, features of unit variance, and prototypes
that are patches. What was taken over from another run stays as it is.
"""

from collections.abc import Sequence

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
  class_names: Sequence[str] = (),
) -> State:
  """The state with its start from data.

  Args:
    network: of the state.
    state: as its `init` gave it, or with what was taken over.
    stream: the training images in source order, without augmentation.
    features: cached rows of the backbone.
    backbone: its name.
    pretrained: it gets the weights that it comes with.
    weights: it gets those of a file or of the hub; see `start.pretrained`.
    per_class: prototypes of a class; smaller classes are named.
    standardise: bring every channel of the features to mean 0, variance 1.
    patches: prototypes start as random patches of their class.
    seed: of the choice of patches.
    init_from: workdir of the run that was taken over, '' for none.
    class_names: of this run.
  """
  start.tell_of_small_classes(class_names, stream.labels, per_class)
  names = tuple(class_names)
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

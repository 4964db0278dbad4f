"""The context of an explanation: a model, its state, and the images.

`prototypical` makes one for every sweep; the modules of this package read it.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.heat.maps import HeatMaps
from protojax.modify.presets import Preset
from protojax.prototypes import push
from protojax.prototypes.bank import Bank
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.groups import Note
from protojax.types import State


@dataclasses.dataclass(frozen=True)
class Context:
  """A model, and the images that it is explained over.

  Attributes:
    model: see `Explainable`.
    state: its state, after a push.
    stream: the images, in the order of their source.
    split: of the images; "train" means that the prototypes were pushed to
      them.
    preset: what is modified, and how it is scored.
    heat: what heat maps show, one of `maps.ATTRIBUTIONS`.
  """

  model: Explainable
  state: State
  stream: Any
  split: str
  preset: Preset
  heat: str = "upsampling"

  @functools.cached_property
  def bank(self) -> Bank:
    """The prototypes of the state, on the host."""
    return parallel.to_host(self.model.bank(self.state))

  @functools.cached_property
  def weights(self) -> Float[np.ndarray, "k p"]:
    """The weights of the head, on the host."""
    return parallel.to_host(self.model.weights(self.state))

  @functools.cached_property
  def bias(self) -> Float[np.ndarray, " k"]:
    """The bias of the head, on the host."""
    return parallel.to_host(self.model.bias(self.state))

  @functools.cached_property
  def notes(self) -> Sequence[Mapping[str, Note]]:
    """The notes of each prototype, by name."""
    return self.model.notes(self.state)

  @functools.cached_property
  def heat_maps(self) -> HeatMaps:
    """Makes heat maps and boxes of prototypes in images."""
    return HeatMaps(self.model, self.state, self.heat)

  @functools.cached_property
  def boxes(self) -> HeatMaps:
    """Makes boxes alone: attributions by gradients take many passes each."""
    return HeatMaps(self.model, self.state)

  @functools.cached_property
  def stale(self) -> bool:
    """Whether prototypes have changed since they were pushed to patches."""
    return push.stale(self.state)

  @property
  def provenance(self) -> Int[np.ndarray, " p"]:
    """Position in the stream of the image of each prototype; -1 for none."""
    image = np.asarray(self.bank.provenance.image)
    return image if self.split == "train" else np.full_like(image, -1)

"""What is explained: a model, its state, and the images it is explained over.

`prototypical` makes one for every sweep; the parts of an explanation read it.
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
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.groups import Note
from protojax.types import State


@dataclasses.dataclass(frozen=True)
class Context:
  """What is explained, and over which images.

  Attributes:
    model: see `Explainable`.
    state: its state, after a push.
    stream: the images, in the order of their source.
    split: what to call them; "train" says that they are the images the
      prototypes were pushed to.
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
  def buffers(self) -> Mapping[str, Any]:
    """Of the state, on the host."""
    return parallel.to_host(self.state.buffers)

  @functools.cached_property
  def weights(self) -> Float[np.ndarray, "k p"]:
    """Of the head, on the host."""
    return parallel.to_host(self.model.weights(self.state))

  @functools.cached_property
  def bias(self) -> Float[np.ndarray, " k"]:
    """Of the head, on the host."""
    return parallel.to_host(self.model.bias(self.state))

  @functools.cached_property
  def notes(self) -> Sequence[Mapping[str, Note]]:
    """Of each prototype."""
    return self.model.notes(self.state)

  @functools.cached_property
  def heat_maps(self) -> HeatMaps:
    """Makes pictures of where prototypes look."""
    return HeatMaps(self.model, self.state, self.heat)

  @functools.cached_property
  def stale(self) -> bool:
    """Whether prototypes are no longer the patches they were pushed to."""
    return push.stale(self.state)

  @property
  def provenance(self) -> Int[np.ndarray, " p"]:
    """Position in the stream of each prototype's own image, -1 for none."""
    image = np.asarray(self.buffers["provenance"].image)
    return image if self.split == "train" else np.full_like(image, -1)

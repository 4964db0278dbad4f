"""Measurements with a pair of numbers each, to build a grid of prototypes from.

A data set of measurements is a module of `protojax.datasets` with a function
`measure(modality, seed) -> Measurements`. `modality` is the config's group of
that name. An example is a grid of values, such as a map of the scalp, and a
target, such as valence and arousal. No example belongs to an image.
"""

from collections.abc import Mapping
import dataclasses

from jaxtyping import Float, Int32
import numpy as np

from protojax.data.fields import Field, Grid, Group, Vector


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
  """A source of measurements; see `source.Source`.

  Attributes:
    title: what they are called in messages and reports.
    values: of each measurement.
    targets: the pair of numbers of each.
    groups: the number of the subject (or device, or session) of each; splits
      keep a subject whole.
    channels: names of the c channels.
    synthetic: True if they were made up and not measured.
    class_names: none.
    skipped: (name, reason) of what could not be read.
  """

  title: str
  values: Float[np.ndarray, "n H W c"]
  targets: Float[np.ndarray, "n 2"]
  groups: Int32[np.ndarray, "n"]
  channels: tuple[str, ...]
  synthetic: bool = False
  class_names: tuple[str, ...] = ()
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def fields(self) -> Mapping[str, Field]:
    """Values, target and group."""
    return {
      "values": Grid(self.values.shape[-1]),
      "target": Vector(2),
      "group": Group(),
    }

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """-1: they have no class."""
    return np.full(len(self), -1, np.int32)

  def __len__(self) -> int:
    return len(self.values)

  def __getitem__(self, i: int) -> dict:
    return {
      "values": np.asarray(self.values[i], np.float32),
      "target": np.asarray(self.targets[i], np.float32),
      "name": self.name(i),
    }

  def name(self, i: int) -> str:
    """Group and number."""
    return f"{self.title}: subject {self.groups[i]}, {i}"

"""The interfaces of a network that explanations use.

Sweeps and heat maps know a network through them alone.

The part of an image that a prototype is compared with is a *place*. It is an
array with the axes b p, or any tree of such arrays: a cell int32 [b p] (its
row-major index), a box [b p 4], or {"layer": [b p], "token": [b p]}. Only the
network reads it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Float, UInt8

from protojax.backbones import Backbone
from protojax.prototypes.bank import Bank
from protojax.prototypes.groups import Groups, Note
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, PyTree, State


@runtime_checkable
class Scored(Protocol):
  """A network whose similarities can be explained; hashable."""

  def bank(self, state: State) -> Bank:
    """Its p prototypes; for most networks `bank_of(state)`."""
    ...

  @property
  def similarity(self) -> Similarity:
    """The metric, and its map from distances to similarities."""
    ...

  def embed(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[jax.Array, "b h w d"]:
    """Features that the prototypes are compared with."""
    ...

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[jax.Array, "b p"], PyTree]:
    """Similarity at the nearest place, and that place."""
    ...

  def at(
    self, state: State, embedded: Float[ArrayLike, "b h w d"], place: PyTree
  ) -> Float[jax.Array, "b p"]:
    """Similarity at a given place."""
    ...

  def scores(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    similarity: Float[ArrayLike, "b p"],
  ) -> Float[jax.Array, "b p"]:
    """Scores that the head multiplies by its weights: mostly similarities."""
    ...

  def weights(self, state: State) -> Float[jax.Array, "k p"]:
    """Weights of the head; columns of dead prototypes are 0."""
    ...

  def bias(self, state: State) -> Float[jax.Array, " k"]:
    """Bias of the head: the logits without any prototype."""
    ...


@runtime_checkable
class Branched(Protocol):
  """A network whose logits are the sum of those of several branches."""

  @property
  def branches(self) -> int:
    """n; the prototypes are n equal blocks, and the head has no bias."""
    ...


@runtime_checkable
class Explainable(Scored, Protocol):
  """A network whose prototypes are shown as patches of images; hashable.

  Its places are cells, and its bank has a provenance.
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """Class names; index = label."""
    ...

  @property
  def groups(self) -> Groups:
    """The groups that its prototypes are sorted into."""
    ...

  def notes(self, state: State) -> Sequence[Mapping[str, Note]]:
    """Further facts about each prototype: name -> value."""
    ...

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  @property
  def backbone(self) -> Backbone:
    """The backbone, whose layers give the receptive field of a cell."""
    ...

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    ...

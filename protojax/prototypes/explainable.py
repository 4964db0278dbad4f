"""What a model offers to those who explain it.

Sweeps and heat maps know a model by these interfaces alone.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Float, Int, UInt8

from protojax.backbones import Backbone
from protojax.prototypes.groups import Groups, Note
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, State


@runtime_checkable
class Scored(Protocol):
  """A model whose similarities can be explained; hashable.

  Its `State` holds buffers "class_of" and "alive" of its p prototypes, and
  params["prototypes"]["prototypes"] of shape [p, h1, w1, d].
  """

  @property
  def similarity(self) -> Similarity:
    """What likeness means."""
    ...

  def embed(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[jax.Array, "b h w d"]:
    """Features, which the prototypes are compared with."""
    ...

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[jax.Array, "b p"], Int[jax.Array, "b p"]]:
    """Similarity to the nearest cell, and that cell (row-major)."""
    ...

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    cells: Int[ArrayLike, "b p"],
  ) -> Float[jax.Array, "b p"]:
    """Similarity at given cells."""
    ...

  def scores(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    similarity: Float[ArrayLike, "b p"],
  ) -> Float[jax.Array, "b p"]:
    """What the head weighs: as a rule the similarity itself."""
    ...

  def weights(self, state: State) -> Float[jax.Array, "k p"]:
    """Weights of the head; columns of dead prototypes are 0."""
    ...

  def bias(self, state: State) -> Float[jax.Array, " k"]:
    """Of the head: what a class has before any prototype speaks."""
    ...


@runtime_checkable
class Explainable(Scored, Protocol):
  """A model with prototypes that are patches; hashable.

  Its `State` also holds the buffer "provenance" of `prototypes.push`.
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """By label."""
    ...

  @property
  def groups(self) -> Groups:
    """What its prototypes are sorted under."""
    ...

  def notes(self, state: State) -> Sequence[Mapping[str, Note]]:
    """What else there is to say of each prototype, by name."""
    ...

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  @property
  def backbone(self) -> Backbone:
    """Its layers give the receptive field of a cell."""
    ...

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    ...

"""Steps of the forward path that all networks of prototypes share.

image -> features -> similarities and cells -> scores -> logits. A network's
parameters lie in `State.params` by group: "backbone", "prototypes", "head",
and groups of its own.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.backbones.backbone import Backbone
from protojax.prototypes import pooling
from protojax.prototypes.bank import Bank
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, PyTree


def features(
  backbone: Backbone,
  params: PyTree,
  statistics: PyTree,
  images: ArrayLike,
  train: bool = False,
) -> tuple[Array, PyTree]:
  """Features [b h w c] of the backbone, and the statistics after it.

  Args:
    backbone: of the network.
    params: of the network.
    statistics: of the network.
    images: [b H W 3], pixels 0..255.
    train: BatchNorm uses the batch, and its running averages move.
  """
  found, moved = backbone.features(
    params["backbone"], statistics["backbone"], images, train
  )
  return found, {**statistics, "backbone": moved}


def nearest(
  bank: Bank, embedded: Float[ArrayLike, "b h w d"], similarity: Similarity
) -> tuple[Float[Array, "b p"], Int[Array, "b p"]]:
  """Similarity of each prototype's nearest patch, and its cell (row-major)."""
  near = pooling.nearest(embedded, bank.vectors, similarity)
  return similarity.activation(near.distances), near.cells


def at(
  bank: Bank,
  embedded: Float[ArrayLike, "b h w d"],
  cells: Int[ArrayLike, "b p"],
  similarity: Similarity,
) -> Float[Array, "b p"]:
  """Similarity of each prototype to the patch at a given cell."""
  distances = pooling.at(embedded, bank.vectors, cells, similarity)
  return similarity.activation(distances)


def living(
  weight: Float[ArrayLike, "k p"], alive: Bool[ArrayLike, " p"]
) -> Float[Array, "k p"]:
  """Weights of the head; those of dead prototypes are 0."""
  return jnp.where(jnp.asarray(alive)[None], weight, 0.0)


def answers(
  logits: Float[ArrayLike, "b k"],
  points: Float[ArrayLike, "b p"],
  similarities: Float[ArrayLike, "b p"],
  cells: Int[ArrayLike, "b p"],
) -> dict[str, Array]:
  """The outputs of every prototype classifier for a batch, by name.

  Args:
    logits: of the classes.
    points: of each prototype, for the class with the largest logit.
    similarities: of each prototype's nearest patch.
    cells: of that patch, row-major.
  """
  return {
    "logits": jnp.asarray(logits),
    "probabilities": nn.softmax(jnp.asarray(logits)),
    "points": jnp.asarray(points),
    "similarities": jnp.asarray(similarities),
    "cells": jnp.asarray(cells),
  }


def applied(module: Any, params: PyTree, *inputs: Any) -> Any:
  """The output of a Linen module with these parameters.

  `apply` itself is typed as if it could return a pair.
  """
  return module.apply({"params": params}, *inputs)

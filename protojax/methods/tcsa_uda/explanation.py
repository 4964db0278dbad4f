"""Explains classes of pixels: how near each pixel is to a class's prototype.

Prototypes are shared by both domains, and take no part in an answer: how far
both agree is said. A first pass goes over the images; a second one over the
training images finds the pixels that are nearest to each prototype.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.explain import blocks, in_blocks
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.tcsa_uda import class_evidence, image_evidence
from protojax.methods.tcsa_uda.network import Network, classes
from protojax.modify.presets import Preset
from protojax.types import Array, ArrayLike, Batch, State

# Images that are explained, if no limit is asked for.
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `segments` and `explains` of TCSA-UDA.

  Attributes:
    method: gives the network, words, and streams.
  """

  method: Any

  report: ClassVar[str] = "block_report"

  @property
  def scopes(self) -> tuple[str, ...]:
    """Images, and classes with their prototypes."""
    return in_blocks.BOTH

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel."""
    return self.method.network.class_names

  @property
  def network(self) -> None:
    """None: a prototype is a mean direction, and no patch."""

  def stale(self, state: State) -> bool:
    """Never: nothing is pushed."""
    del state
    return False

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[blocks.Explanation]:
    """Images, evenly chosen; then the classes, and an overview.

    Args:
      state: of the method.
      data: the images, in the order of their source.
      request: "heat" and "allow_changed" have no effect.
    """
    network: Network = self.method.network
    domain = state if request.split == "test" else network.of_source(state)
    count = min(in_blocks.limit(request, _SHOWN), len(data))
    step = functools.partial(explained, network, request.preset)
    gathered = image_evidence.Gathered(network, request)
    batches = in_blocks.images(data, request, count)
    for batch, rows in parallel.each(step, domain, batches):
      taken = np.flatnonzero(batch["valid"])
      for i in taken:
        row = {name: x[i] for name, x in rows.items()}
        gathered.add(row)
        if request.scope != "global":
          index = int(batch["index"][i])
          yield image_evidence.image(network, data, request, index, row)
      request.progress(len(taken))
    if request.scope != "local":
      train = self.method.stream("train")
      yield from class_evidence.classes(network, state, train, request)
      words = self.method.words
      yield class_evidence.overview(
        network, domain, data, request, gathered, words
      )


def explained(
  network: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of the images of a batch, by name; a row for each image.

  Args:
    network: of the state.
    preset: what is modified, and how it is scored.
    state: of the network.
    batch: images; with their copies, if the preset wants them.

  Returns:
    "grey" [b], whether an image has no colour; "classes" [b H W] of pixels and
    "cells" [b h w] of cells; "cosines" [b h w k] of cells and prototypes;
    "similarity" [b k], the best of each prototype among the cells that are
    answered its class, and "place" [b k], that cell; "delta" [b m k], what it
    loses by each modification; "agrees" [b], the share of cells whose nearest
    prototype is of the class that is answered.
  """
  seen, _ = network.see(state.params, state.statistics, batch["image"])
  cosines = network.cosines(state, seen.embedding)
  b, h, w, k = cosines.shape
  cells = jnp.argmax(seen.logits, axis=-1)
  own = cells.reshape(b, h * w, 1) == jnp.arange(k)[None, None]

  def nearest(embedding: ArrayLike) -> tuple[Array, Array]:
    flat = network.cosines(state, jnp.asarray(embedding)).reshape(b, -1, k)
    # Where a class is not answered, its best cell is that of all cells.
    some = jnp.any(own, axis=1, keepdims=True)
    among = jnp.where(own | ~some, flat, -2.0)
    place = jnp.argmax(among, axis=1)
    return jnp.max(among, axis=1), place

  def at(embedding: ArrayLike, place: Any) -> Array:
    flat = network.cosines(state, jnp.asarray(embedding))
    flat = flat.reshape(len(flat), -1, k)
    return jnp.take_along_axis(flat, place[:, None], axis=1)[:, 0]

  embed = functools.partial(network.embed, state)
  local, _ = of_batch(nearest, at, batch, preset, embed)
  images = jnp.asarray(batch["image"])
  sides = images.shape[1:3]
  agrees = jnp.argmax(cosines, axis=-1) == cells
  return {
    "grey": jnp.all(images == images[..., :1], axis=(1, 2, 3)),
    "classes": classes(seen.logits, sides),
    "cells": cells.astype(jnp.int32),
    "cosines": cosines,
    "similarity": local.similarity,
    "place": local.place.astype(jnp.int32),
    "delta": local.delta,
    "agrees": jnp.mean(agrees.astype(jnp.float32), axis=(1, 2)),
  }

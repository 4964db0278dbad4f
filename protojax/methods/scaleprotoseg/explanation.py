"""Explains classes of pixels: which prototypes make a region what it is.

A first pass over the images finds regions, errors and the best place of each
prototype; a second one asks for the reasons of the largest regions. Then come
the classes: their prototypes, and the groups that these are sorted into.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.explain import blocks, in_blocks, reference_mode
from protojax.explain.request import Request
from protojax.methods.scaleprotoseg import class_evidence, region_evidence
from protojax.methods.scaleprotoseg import regions as regions_lib
from protojax.methods.scaleprotoseg.class_evidence import Gathered
from protojax.methods.scaleprotoseg.network import Network
from protojax.metrics import segmentation
from protojax.prototypes import push
from protojax.types import Array, Batch, State, UserError

# Images with pictures, if no limit is asked for: beside classes, and alone.
_SHOWN, _SHOWN_ALONE = 60, 1000


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `segments` and `explains` of ScaleProtoSeg.

  Attributes:
    method: gives the network, and streams.
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
    """None: a prototype speaks for many places of an image, not for one."""

  def stale(self, state: State) -> bool:
    """Whether a prototype is no longer the pixel it was pushed to."""
    return bool(self.method.network.per_class) and push.stale(state)

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[blocks.Explanation]:
    """Images, the worst first; then classes, and an overview.

    Args:
      state: of the method.
      data: the images, in the order of their source.
      request: "heat" and "allow_changed" have no effect.

    Raises:
      UserError: the run has a linear head, which has no reasons.
    """
    network: Network = self.method.network
    if not network.per_class:
      raise UserError(
        "this run has a linear head, which compares with nothing and has no"
        " reasons: explain one with prototypes.per_class above 0"
      )
    alone = request.scope == "local"
    most = request.limit or (_SHOWN_ALONE if alone else len(data))
    found = Gathered(network)
    step = functools.partial(_first, network)
    batches = data.spread(min(most, len(data)))
    for example, row in in_blocks.swept(step, state, batches, request):
      found.add(int(example["index"]), row)
    if request.scope != "global":
      shown = found.worst_first(len(found) if alone else _SHOWN)
      yield from self._images(state, data, request, found, shown)
    if not alone:
      provenance = self.method.stream("train")
      yield from class_evidence.classes(
        network, state, data, provenance, request, found
      )
      yield class_evidence.overview(network, state, data, request, found)

  def _images(
    self,
    state: State,
    data: Any,
    request: Request,
    found: Gathered,
    shown: list[int],
  ) -> Iterator[blocks.Explanation]:
    network: Network = self.method.network
    step = functools.partial(regions_lib.explained, network, request.preset)
    batches = reference_mode.attach(
      _with_regions(data.some(shown), found),
      data.source,
      request.preset,
      data.image_size,
      data.resizing,
    )
    for batch, rows in parallel.each(step, state, batches):
      for i in np.flatnonzero(batch["valid"]):
        index = int(batch["index"][i])
        yield region_evidence.image(
          network,
          state,
          data,
          request,
          index,
          found.regions[index],
          {name: x[i] for name, x in rows.items()},
        )


def _with_regions(batches: Any, found: Gathered) -> Iterator[Batch]:
  for batch in batches:
    own = [found.regions[int(i)] for i in batch["index"]]
    yield {
      **batch,
      "regions": np.stack([regions.cells for regions in own]),
      "region_classes": np.stack([regions.classes for regions in own]),
    }


def _first(network: Network, state: State, batch: Batch) -> Mapping[str, Array]:
  """Classes of cells, the best place of each prototype, and counts."""
  features = network.embed(state, batch["image"])
  seen = network.see(state.params, state, features)
  b, h, w = features.shape[:3]
  flat = seen.activations.reshape(b, h * w, -1)
  cells = jnp.argmax(network.logits(state, features), axis=-1)
  found = {
    "cells": cells.astype(jnp.int32),
    "best": jnp.max(flat, axis=1),
    "place": jnp.argmax(flat, axis=1).astype(jnp.int32),
  }
  if "mask" not in batch:
    return found
  answers = network.classes(state, features, batch["mask"].shape[1:])
  classes = len(network.class_names)
  counts = segmentation.count(answers, batch["mask"], classes)
  return {**found, **counts._asdict()}

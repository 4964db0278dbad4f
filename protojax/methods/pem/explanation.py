"""Explains segments: which token each layer and head of a query has picked.

A token is a cell of a map of the image, so that a reason is a place: its patch
can be shown, and changed to learn because of what it was the most similar one.
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
from protojax.methods.pem import segment_evidence, selection
from protojax.methods.pem.network import Network
from protojax.modify.presets import Preset
from protojax.types import Array, ArrayLike, Batch, State, UserError

# Images that are explained, if no limit is asked for.
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `segments` and `explains` of PEM.

  Attributes:
    method: gives the network, and streams.
  """

  method: Any

  report: ClassVar[str] = "block_report"

  @property
  def scopes(self) -> tuple[str, ...]:
    """Images: a token is a prototype of one image alone."""
    return in_blocks.LOCAL

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel."""
    return self.method.network.class_names

  @property
  def network(self) -> None:
    """None: it compares an image with its own patches."""

  def stale(self, state: State) -> bool:
    """Never: nothing is pushed."""
    del state
    return False

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[blocks.Explanation]:
    """Images, evenly chosen; then an overview of all that were explained.

    Args:
      state: of the method.
      data: the images, in the order of their source.
      request: "heat" and "allow_changed" have no effect.

    Raises:
      UserError: the queries of the run do not pick tokens by similarity.
    """
    network: Network = self.method.network
    if network.decoder.kind != "pem":
      raise UserError(
        f"this run has --config.attention.kind={network.decoder.kind!r}, where"
        " no token is picked for its similarity: explain one with 'pem'"
      )
    count = min(in_blocks.limit(request, _SHOWN), len(data))
    step = functools.partial(explained, network, request.preset)
    gathered = segment_evidence.Gathered(network, request)
    batches = in_blocks.images(data, request, count)
    for batch, rows in parallel.each(step, state, batches):
      taken = np.flatnonzero(batch["valid"])
      for i in taken:
        row = {name: x[i] for name, x in rows.items()}
        index = int(batch["index"][i])
        yield segment_evidence.image(network, data, request, index, row)
        gathered.add(row)
      request.progress(len(taken))
    yield gathered.overview(request)


def explained(
  network: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """Reasons of the segments of a batch, by name; a row for each image.

  Args:
    network: of the state.
    preset: what is modified, and how it is scored.
    state: of the network.
    batch: images; with their copies, if the preset wants them.

  Returns:
    "grey" [b], whether an image has no colour; "classes" [b H W], of each
    pixel; "plane", "merged", "kinds" and "scores"
    of the segments, see `inference.Found`; "token" and "head" [b q l a], the
    number of the token that each layer and head has picked, and their
    similarity; "similarity" [b q], the mean over layers of the sum over heads;
    "delta" [b m q], what that loses by each modification.
  """
  sides = batch["image"].shape[1:3]
  found = network.seen(state, batch["image"])
  segments = network.segments(state, found, sides)
  place = {
    "token": jnp.stack([read.picked.token for read in found.read], axis=2),
    "queries": jnp.stack([read.queries for read in found.read], axis=2),
  }
  at = functools.partial(similarity, network)

  def nearest(keys: ArrayLike) -> tuple[Array, Any]:
    # The query belongs to the unchanged image, and so does its choice.
    return at(keys, place), place

  embed = functools.partial(network.keys, state)
  local, _ = of_batch(nearest, at, batch, preset, embed)
  heads = [read.picked.similarity for read in found.read]
  images = jnp.asarray(batch["image"])
  return {
    "grey": jnp.all(images == images[..., :1], axis=(1, 2, 3)),
    "classes": network.classes(found, sides),
    "plane": segments.plane,
    "merged": segments.merged,
    "kinds": segments.classes,
    "scores": segments.scores,
    "token": place["token"],
    "head": jnp.stack(heads, axis=2),
    "similarity": local.similarity,
    "delta": local.delta,
  }


def similarity(network: Network, keys: ArrayLike, place: Any) -> Array:
  """Of queries and the tokens at their places: the mean over layers, [b q].

  That of a layer is the sum over heads, the cosine of the query and of what
  the heads have picked.

  Args:
    network: of the keys.
    keys: of all layers, [b n c].
    place: "token" [b q l a] and "queries" [b q l c].
  """
  keys = jnp.asarray(keys)
  total, begin = jnp.zeros(()), 0
  for layer, (rows, columns) in enumerate(network.grids):
    end = begin + rows * columns
    taken = selection.taken(
      keys[:, begin:end], place["token"][:, :, layer], network.decoder.heads
    )
    total = total + jnp.sum(taken * place["queries"][:, :, layer], axis=-1)
    begin = end
  return total / len(network.grids)

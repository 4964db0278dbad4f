"""Regions: connected cells of one predicted class, and what speaks for them.

The host finds them in a first pass over the images; a second pass asks on the
device, for each, what its class's prototypes and groups add to its logit.
"""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np
from scipy import ndimage

from protojax.explain.importance import of_batch
from protojax.methods.scaleprotoseg import grouping
from protojax.methods.scaleprotoseg.network import Network
from protojax.modify.presets import Preset
from protojax.types import Array, ArrayLike, Batch, Box, State

# The largest regions of an image are explained.
MOST = 6


class Regions(NamedTuple):
  """The regions of one image, the largest first.

  Attributes:
    cells: number of the region of each cell, -1 for none, [h w].
    classes: of each region, -1 where there are fewer, [r].
  """

  cells: Int[np.ndarray, "h w"]
  classes: Int[np.ndarray, " r"]


def found(classes: Int[np.ndarray, "h w"]) -> Regions:
  """The largest connected parts of a map of classes."""
  parts = []
  for label in np.unique(classes):
    numbers, count = ndimage.label(classes == label)
    parts += [(numbers == n, label) for n in range(1, count + 1)]
  # Equally large ones in the order of classes, then of rows.
  parts.sort(key=lambda part: -part[0].sum())
  cells = np.full(classes.shape, -1, np.int32)
  of_region = np.full(MOST, -1, np.int32)
  for number, (mask, label) in enumerate(parts[:MOST]):
    cells[mask] = number
    of_region[number] = label
  return Regions(cells, of_region)


def box(regions: Regions, number: int, size: int) -> Box:
  """The box around a region, in pixels of an image with this side."""
  rows, columns = regions.cells.shape
  y, x = np.nonzero(regions.cells == number)
  return Box(
    top=int(y.min() * size // rows),
    left=int(x.min() * size // columns),
    bottom=int((y.max() + 1) * size // rows),
    right=int((x.max() + 1) * size // columns),
  )


def explained(
  network: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of the regions of a batch, by name; a row for each image.

  Args:
    network: of the state.
    preset: what is modified, and how it is scored.
    state: of the network.
    batch: with "regions" [b h w] and "region_classes" [b r]; see `Regions`.

  Returns:
    "similarity" [b r], the mean over a region's cells of that of its class;
    "delta" [b m r], what it loses by each modification; "heat" [b r h w], the
    similarity of each cell; "points" [b r e], what each prototype or group of
    the class adds to its logit, and "others" [b r], what those of all other
    classes add; both are means over the region's cells, and their sum is the
    mean logit.
  """
  chosen = jnp.maximum(batch["region_classes"], 0)
  inside = batch["regions"][:, None] == jnp.arange(MOST)[None, :, None, None]
  similar = functools.partial(_similarity, network, state, chosen)

  def nearest(features: ArrayLike) -> tuple[Array, Array]:
    return _mean(similar(features), inside), chosen

  def at(features: ArrayLike, place: ArrayLike) -> Array:
    del place  # The cells of the region, on a changed image, too.
    return _mean(similar(features), inside)

  embed = functools.partial(network.embed, state)
  local, features = of_batch(nearest, at, batch, preset, embed)
  points, total = _points(network, state, features, chosen)
  own = _mean(jnp.moveaxis(points, -1, 1), inside[:, None])
  whole = _mean(total, inside)
  return {
    "classes": network.classes(state, features, batch["image"].shape[1:3]),
    "similarity": local.similarity,
    "delta": local.delta,
    "heat": similar(features),
    "points": jnp.moveaxis(own, 1, -1),
    "others": whole - own.sum(axis=1),
  }


def shares(network: Network, state: State) -> Float[Array, "k n"]:
  """How much each prototype counts in the similarity of its class; sum 1.

  Its mean weight in the groups, or, without groups, the same for all alive.
  """
  alive = grouping.by_class(network.alive(state)).astype(jnp.float32)
  found = alive
  if network.groups:
    weights = state.params["head"]["weights"].mean(axis=1)
    found = jnp.where(state.buffers["grouped"], weights, alive)
  return found / jnp.maximum(found.sum(axis=1, keepdims=True), 1e-9)


def of_class(values: Float[Array, "b h w s k m"]) -> Float[Array, "b h w k n"]:
  """By class, then scale by scale."""
  turned = jnp.moveaxis(values, 4, 3)
  return turned.reshape(*turned.shape[:4], -1)


def _similarity(
  network: Network, state: State, chosen: Array, features: ArrayLike
) -> Float[Array, "b r h w"]:
  """Similarity of each cell to the class of each region."""
  seen = network.see(state.params, state, jnp.asarray(features))
  weighted = jnp.einsum(
    "bhwkn,kn->bkhw",
    of_class(seen.activations),
    shares(network, state),
    precision=jax.lax.Precision.HIGHEST,
  )
  return jnp.take_along_axis(weighted, chosen[..., None, None], axis=1)


def _points(
  network: Network, state: State, features: Array, chosen: Array
) -> tuple[Float[Array, "b r h w e"], Float[Array, "b r h w"]]:
  """What each prototype or group of a region's class adds, and the logit."""
  seen = network.see(state.params, state, features)
  head = state.params["head"]
  values, weights = of_class(seen.activations), head["of_prototypes"]
  weights = jnp.moveaxis(weights, 1, 2).reshape(
    *weights.shape[:1], len(weights), -1
  )
  logits = seen.of_prototypes
  if network.groups:
    # The wider of the two, so that one program serves both.
    grouped = state.buffers["grouped"]
    width = max(values.shape[-1], network.groups)
    values = jnp.where(
      grouped, _padded(seen.groups, width), _padded(values, width)
    )
    weights = jnp.where(
      grouped, _padded(head["of_groups"], width), _padded(weights, width)
    )
    logits = jnp.where(grouped, seen.of_groups, logits)
  own = jnp.diagonal(weights, axis1=0, axis2=1).T
  added = jnp.moveaxis(values * own[None, None, None], 3, 1)
  at = chosen[:, :, None, None]
  found = jnp.take_along_axis(added, at[..., None], axis=1)
  logits = jnp.moveaxis(logits, -1, 1)
  return found, jnp.take_along_axis(logits, at, axis=1)


def _padded(values: Array, width: int) -> Array:
  edges = [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])]
  return jnp.pad(values, edges)


def _mean(values: Any, inside: Any) -> Array:
  """Means over the cells of each region; 0 where there is none."""
  count = jnp.maximum(jnp.sum(inside, axis=(-2, -1)), 1)
  return jnp.sum(jnp.where(inside, values, 0), axis=(-2, -1)) / count

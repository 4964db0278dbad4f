"""Consistency and stability of prototypes on parts that people have named.

Only prototypes that the answers rest on count, on images that show their class.
"""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.data import objects
from protojax.methods.scaleprotoseg import judging
from protojax.methods.scaleprotoseg.network import Network
from protojax.metrics import part_planes, parts
from protojax.metrics.part_planes import Centres
from protojax.types import Array, Batch, Metrics, State


def measure(network: Network, state: State, data: Any) -> Metrics:
  """ "consistency" and "stability"; empty if the source knows no parts.

  Args:
    network: of the state.
    state: of the network.
    data: the stream of the images.
  """
  if not len(data) or objects.part_planes(data, [0]) is None:
    return {}
  used = judging.used(network, state)
  class_of = np.asarray(network.bank(state).class_of)
  step = functools.partial(_maps, network)
  tables: dict[int, list[Any]] = {}
  for batch, found in parallel.each(step, state, data.batches()):
    for i in np.flatnonzero(batch["valid"]):
      planes = objects.part_planes(data, [int(batch["index"][i])])
      if planes is None:
        continue
      mask = batch["mask"][i]
      for k in np.unique(mask[mask < len(network.class_names)]):
        own = np.flatnonzero(used & (class_of == k))
        inside = mask == k
        centres = part_planes.centres(planes[0], inside)
        if len(own) and len(centres.parts):
          both = found["similar"][i, ..., own], found["noisy"][i, ..., own]
          tables.setdefault(int(k), []).append((both, inside, centres))
  scores = [_of_class(rows) for rows in tables.values()]
  if not scores:
    return {}
  return {
    name: float(np.nanmean(np.concatenate([score[name] for score in scores])))
    for name in scores[0]
  }


def _maps(network: Network, state: State, batch: Batch) -> Mapping[str, Array]:
  """Similarities [b h w p] of images, and of the same under noise."""
  keys = jax.vmap(jax.random.key)(jnp.asarray(batch["index"], jnp.uint32))
  # Of images whose channels have the deviation 1 it is 0.2, without an end.
  noisy = parts.noisy(batch["image"], keys, most=255.0)

  def similar(images: Array) -> Array:
    features = network.embed(state, images)
    seen = network.see(state.params, state, features)
    return seen.activations.reshape(*features.shape[:3], -1)

  return {"similar": similar(batch["image"]), "noisy": similar(noisy)}


def _of_class(rows: list[Any]) -> dict[str, np.ndarray]:
  """Of each prototype of a class; a row for each image that shows it."""
  numbers = np.unique(np.concatenate([c.parts for _, _, c in rows]))
  seen = np.stack([np.isin(numbers, c.parts) for _, _, c in rows])
  before, after = (
    np.stack(
      [_present(both[n], inside, c, numbers) for both, inside, c in rows]
    )
    for n in (0, 1)
  )
  counted = np.ones(before.shape[:2], bool)
  return {
    "consistency": np.asarray(parts.consistency(before, seen, counted)),
    "stability": np.asarray(parts.stability(before, after, seen, counted)),
  }


def _present(
  maps: np.ndarray, inside: np.ndarray, centres: Centres, numbers: np.ndarray
) -> np.ndarray:
  """Tables [q r] of maps [q h w], each place as large as its cell."""
  y, x = (
    np.arange(side) * count // side
    for side, count in zip(inside.shape, maps.shape[1:], strict=True)
  )
  return part_planes.present(maps[:, y][:, :, x], inside, centres, numbers)

"""The training images that are nearest to each prototype, for explanations."""

import functools

import jax.numpy as jnp
from jaxtyping import Float32, Int32
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.methods.neurogaze_distill.network import Network
from protojax.types import Batch, PyTree, State


def nearest_images(
  network: Network, state: State, data: Stream, count: int
) -> tuple[Int32[np.ndarray, "p n"], Float32[np.ndarray, "p n"]]:
  """Positions in the source, and cosines; -1 and 0 if there are too few.

  Args:
    network: compares images with the bank.
    state: its state, with the bank.
    data: of the training images.
    count: n, images of each prototype.
  """
  step = functools.partial(_cosines, network)
  cosines, index = [], []
  for batch, rows in parallel.each(step, state, data.batches()):
    kept = batch["valid"]
    cosines.append(rows["cosines"][kept])
    index.append(np.asarray(batch["index"])[kept])
  # Rounded, so that images of equal cosine come in the order of the source.
  near = np.concatenate(cosines).T
  order = np.argsort(-near.round(5), axis=1, kind="stable")[:, :count]
  found = np.full((len(near), count), -1, np.int32)
  values = np.zeros((len(near), count), np.float32)
  found[:, : order.shape[1]] = np.concatenate(index)[order]
  values[:, : order.shape[1]] = np.take_along_axis(near, order, axis=1)
  return found, values


def _cosines(network: Network, state: State, batch: Batch) -> PyTree:
  embedded = network.embed(state, batch["image"])
  found, _ = network.nearest(state, embedded)
  return {"cosines": jnp.asarray(found)}

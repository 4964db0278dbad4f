"""How good the answers are, and how near prototypes lie to real classes."""

from collections.abc import Iterable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.methods.fopro.network import Network
from protojax.metrics import classification
from protojax.types import Batch, Metrics, PyTree, State

_TOP = 5


def evaluate(
  network: Network, state: State, batches: Iterable[Batch]
) -> Metrics:
  """Metrics of labelled images.

  "accuracy" and "cross_entropy"; "top5" where there are more classes;
  "prototype_cosine", the mean over classes of the cosine between the prototype
  and the mean projection of the class's images, once there are prototypes.

  Args:
    network: of the method.
    state: of the network.
    batches: padding is left out.
  """
  k, d = len(network.class_names), network.channels
  zeros = classification.none(), np.float32(0), np.zeros((k, d), np.float32)
  step = functools.partial(_add, network)
  sums, top, means = parallel.fold(step, state, zeros, batches)
  found = classification.figures(sums)
  if k > _TOP:
    count = np.asarray(sums, np.float64)[:, 2].sum()
    found["top5"] = float(np.sum(top, dtype=np.float64) / count)
  vectors = np.asarray(parallel.to_host(state.memory["prototypes"].vectors))
  total = np.sum(means, axis=0, dtype=np.float64)
  lengths = np.linalg.norm(total, axis=1)
  seen = (lengths > 0) & vectors.any(axis=1)
  if seen.any():
    cosines = np.sum(total * vectors, axis=1)[seen] / lengths[seen]
    found["prototype_cosine"] = float(cosines.mean())
  return found


def _add(network: Network, state: State, carry: PyTree, batch: Batch) -> PyTree:
  found = network.seen(state, batch["image"])
  sums, top, means = carry
  labels = jnp.maximum(batch["label"], 0)
  valid = batch["valid"]
  own = jnp.take_along_axis(found.logits, labels[:, None], axis=1)
  above = jnp.sum(found.logits > own, axis=1) < _TOP
  which = jax.nn.one_hot(labels, len(means)) * valid[:, None]
  return (
    classification.add(sums, found.logits, batch),
    top + jnp.sum(above & valid, dtype=jnp.float32),
    means + jnp.matmul(which.T, found.projected),
  )

"""Shared prototypes: one mean direction for each class, of both domains.

The source's cells are sorted by their labels, the target's by the answers. The
prototype is the mean of both mean directions; of a class that the target never
answers, it is the source's.
"""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.methods.tcsa_uda.network import Network, nearest, unit
from protojax.prototypes.bank import with_bank
from protojax.types import Array, Batch, Metrics, State


def prototypes(
  network: Network, state: State, source: Any, target: Any
) -> tuple[State, Metrics]:
  """The state with its prototypes, and how alike the domains are.

  Args:
    network: of the state.
    state: trained.
    source: stream of labelled images.
    target: stream of images without labels.

  Returns:
    The state, and "alike": the mean over classes of the cosine of the two
    domains' directions, where both have the class.
  """
  own, there = directions(network, network.of_source(state), source)
  other, answered = directions(network, state, target)
  both = there & answered
  cosine = np.sum(own * other, axis=1)
  mixed = np.where(answered[:, None], own + other, own)
  length = np.linalg.norm(mixed, axis=1, keepdims=True)
  mixed = (mixed / np.maximum(length, 1e-12)).astype(np.float32)
  bank = network.bank(state)
  bank = bank.replace(vectors=mixed[:, None, None], alive=there)
  metrics: dict[str, float] = {"classes_of_target": int(answered.sum())}
  if both.any():
    metrics["alike"] = float(cosine[both].mean())
  return with_bank(state, bank), metrics


def directions(
  network: Network, state: State, data: Any
) -> tuple[np.ndarray, np.ndarray]:
  """Mean direction of each class, float64 [k d], and whether it has a cell."""
  sums, counts = of_stream(network, state, data, directed=True)
  length = np.linalg.norm(sums, axis=1, keepdims=True)
  return sums / np.maximum(length, 1e-12), counts > 0


def of_stream(
  network: Network, state: State, data: Any, directed: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Sums of the embeddings of each class [k d], and numbers of cells [k].

  Args:
    network: of the state.
    state: of the model.
    data: images; without labels, the answers stand for them.
    directed: whether each embedding has length 1.
  """
  k, d = network.classes, network.channels
  sums, counts = np.zeros((k, d)), np.zeros(k)
  step = functools.partial(_of_batch, network, directed)
  for batch, found in parallel.each(step, state, data.batches()):
    valid = batch["valid"]
    sums += found["sums"][valid].sum(axis=0, dtype=np.float64)
    counts += found["counts"][valid].sum(axis=0, dtype=np.float64)
  return sums, counts


def _of_batch(
  network: Network, directed: bool, state: State, batch: Batch
) -> Mapping[str, Array]:
  """Sums and counts of each image."""
  seen, _ = network.see(state.params, state.statistics, batch["image"])
  embedding = unit(seen.embedding) if directed else seen.embedding
  h, w = embedding.shape[1:3]
  if "mask" in batch:
    labels = nearest(batch["mask"], h, w)
  else:
    labels = jnp.argmax(seen.logits, axis=-1)
  own = jax.nn.one_hot(labels, network.classes)
  sums = jnp.einsum(
    "bhwk,bhwd->bkd", own, embedding, precision=jax.lax.Precision.HIGHEST
  )
  return {"sums": sums, "counts": jnp.sum(own, axis=(1, 2))}

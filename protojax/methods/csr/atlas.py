"""The atlas: the training image that shows each concept prototype best.

A concept prototype is a free vector, not a patch. Its picture is the training
image whose vector of the concept is the most similar to it (CSR, eq. 11),
framed at the most similar cell. The same sweep counts the vectors nearest to
each prototype, and its mean score over images without its concept.
"""

from collections.abc import Iterable
from typing import Any

import jax
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax import parallel
from protojax.prototypes import distance, push
from protojax.prototypes.bank import Provenance, bank_of, with_bank
from protojax.types import ArrayLike, Batch, State


def atlas(
  network: Any,
  state: State,
  stream: Any,
  batches: Iterable[Batch],
  present: Bool[ArrayLike, "n c"],
) -> dict[str, Any]:
  """Buffers "provenance", "vectors" and "absent" from one sweep.

  Args:
    network: a `ConceptNetwork`.
    state: its state.
    stream: all training images in order, without augmentation.
    batches: of these images, for `network.rows`.
    present: which concepts each image shows.
  """
  projected, scores, cells = [], [], []
  for batch, rows in parallel.each(network.rows, state, batches):
    valid = batch["valid"]
    projected.append(rows["projected"][valid])
    scores.append(rows["scores"][valid])
    cells.append(rows["cells"][valid])
  state = parallel.to_host(state)
  bank, present = bank_of(state), np.asarray(present)
  prototypes, class_of = bank.vectors[:, 0, 0], bank.class_of
  image, cosine, counts = nearest_images(
    np.concatenate(projected), present, prototypes, class_of
  )
  found = image >= 0
  cell = np.concatenate(cells)[image, np.arange(len(image))]
  provenance = Provenance(
    image=image,
    cell=np.where(found, cell, 0).astype(np.int32),
    distance=np.where(found, 1 - cosine, np.inf).astype(np.float32),
    content=push.contents(stream, image),
    embedder=push.embedder_digest(state.params, state.statistics, state.assets),
  )
  absent = absent_means(np.concatenate(scores), present, class_of)
  return {"provenance": provenance, "vectors": counts, "absent": absent}


def nearest_images(
  vectors: Float[ArrayLike, "n c d"],
  present: Bool[ArrayLike, "n c"],
  prototypes: Float[ArrayLike, "p d"],
  concept_of: Int[ArrayLike, " p"],
) -> tuple[
  Int[np.ndarray, " p"], Float[np.ndarray, " p"], Int[np.ndarray, " p"]
]:
  """The image with the most similar vector, for each prototype (eq. 11).

  Only vectors of concepts that are present count.

  Returns:
    The images, -1 if no image shows the concept; their cosines; and the number
    of vectors of its concept that are nearest to each prototype.
  """
  directions = np.asarray(distance.direction(prototypes))
  images = np.full(len(prototypes), -1, np.int32)
  cosines = np.full(len(prototypes), -np.inf, np.float32)
  counts = np.zeros(len(prototypes), np.int32)
  for concept in np.unique(concept_of):
    rows = np.flatnonzero(present[:, concept])
    own = np.flatnonzero(concept_of == concept)
    if not len(rows):
      continue
    similar = np.asarray(vectors)[rows, concept] @ directions[own].T
    best = similar.argmax(axis=0)
    images[own] = rows[best]
    cosines[own] = similar[best, np.arange(len(own))]
    counts[own] = np.bincount(similar.argmax(axis=1), minlength=len(own))
  return images, cosines, counts


def absent_means(
  scores: Float[ArrayLike, "n p"],
  present: Bool[ArrayLike, "n c"],
  concept_of: Int[ArrayLike, " p"],
) -> Float[np.ndarray, " p"]:
  """Each prototype's mean score over the images without its concept.

  0 if every image shows its concept.
  """
  without = ~np.asarray(present)[:, concept_of]
  sums = np.where(without, scores, 0.0).sum(axis=0, dtype=np.float64)
  return (sums / np.maximum(without.sum(axis=0), 1)).astype(np.float32)


def without(state: State, alive: Bool[ArrayLike, " p"]) -> State:
  """The state with these living prototypes and a task head of zeros."""
  head = jax.tree.map(np.zeros_like, state.params["head"])
  bank = bank_of(state).replace(alive=np.asarray(alive))
  return with_bank(state, bank).replace(params={**state.params, "head": head})

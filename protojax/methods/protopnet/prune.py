"""Prune: drops prototypes whose nearest images are of other classes.

After the push, one sweep finds the k training images nearest to each prototype.
A prototype with too few images of its own class among them shows background
(ProtoPNet, supplement on pruning). A dead prototype stays in place, marked
in the buffer "alive", so that no shape changes.
"""

from collections.abc import Sequence
import functools
from typing import Any

from absl import logging
from jaxtyping import Bool, Int
import numpy as np

from protojax import parallel
from protojax.prototypes import neighbours, pooling, push
from protojax.prototypes.bank import bank_of, with_bank
from protojax.prototypes.neighbours import Neighbours
from protojax.prototypes.placement import LOCAL, Local, Sharded
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, Batch, Metrics, State, UserError


def require_votes(nearest: int, threshold: int) -> None:
  """Refuses a threshold that no prototype can reach.

  Args:
    nearest: images that vote; 0: there is no pruning.
    threshold: votes that a prototype needs to stay alive.

  Raises:
    UserError: it is larger than the number of images.
  """
  if nearest and threshold > nearest:
    raise UserError(
      f"--config.prune.threshold is {threshold}; it must be a whole number from"
      f" 0 to {nearest}, the images that vote (--config.prune.nearest)"
    )


def nearest_images(
  embed: push.Embed,
  state: State,
  stream: Any,
  similarity: Similarity,
  k: int = 6,
  placement: Local | Sharded = LOCAL,
) -> Neighbours:
  """The k images nearest to each prototype, in one sweep.

  Args:
    embed: (state, batch) -> features b h w d.
    state: its bank is read here, the rest by `embed`.
    stream: `batches()` of all images, without augmentation.
    similarity: its metric is what "nearest" means.
    k: images per prototype; 6 in the paper's code.
    placement: local: each device searches its own images for all prototypes;
      sharded: all images for its own prototypes.
  """
  stacked = parallel.fold(
    functools.partial(_step, embed, similarity, placement),
    state,
    neighbours.empty(len(bank_of(state).class_of), k),
    stream.batches(),
    placement.sharding,
  )
  return neighbours.gathered(stacked)


def votes(
  labels: Int[ArrayLike, "p n"], class_of: Int[ArrayLike, " p"]
) -> Int[np.ndarray, " p"]:
  """Number of each prototype's nearest images that are of its own class."""
  return np.sum(np.asarray(labels) == np.asarray(class_of)[:, None], axis=1)


def prune(
  labels: Int[ArrayLike, "p n"],
  class_of: Int[ArrayLike, " p"],
  alive: Bool[ArrayLike, " p"],
  images: Int[ArrayLike, " k"],
  threshold: int = 3,
) -> Bool[np.ndarray, " p"]:
  """Which prototypes stay alive.

  A prototype with fewer than `threshold` votes dies (3 of 6 in the paper's
  code). An image votes once, however many of its patches are near. A class with
  fewer images than that cannot give as many votes: all of its images must then
  be among the nearest, and at least one.

  Args:
    labels: classes of the nearest images; -1 where there is none.
    class_of: the class of each prototype.
    alive: prototypes not pruned before; the dead stay dead.
    images: number of training images of each class.
    threshold: votes that a prototype needs to stay alive.
  """
  there = np.sum(np.asarray(labels) >= 0, axis=1)
  possible = np.maximum(np.asarray(images)[np.asarray(class_of)], 1)
  needed = np.minimum(threshold, np.minimum(there, possible))
  return np.asarray(alive) & (votes(labels, class_of) >= needed)


def pruned(
  state: State,
  near: Neighbours,
  labels: Int[ArrayLike, " n"],
  class_names: Sequence[str],
  threshold: int = 3,
) -> tuple[State, Metrics]:
  """The state after `prune`; warns of classes without a prototype.

  Args:
    state: after the push.
    near: the nearest images of each prototype.
    labels: of all training images; -1 is unknown.
    class_names: of classes 0, 1, ...
    threshold: see `prune`.

  Returns:
    The state; numbers of prototypes "alive" and of "classes_without".
  """
  bank, count = bank_of(state), len(class_names)
  known = np.asarray(labels)[np.asarray(labels) >= 0]
  images = np.bincount(known, minlength=count)
  alive = prune(near.labels, bank.class_of, bank.alive, images, threshold)
  living = np.bincount(np.asarray(bank.class_of)[alive], minlength=count)
  emptied = np.flatnonzero(living == 0)
  if len(emptied) and parallel.is_primary():
    logging.warning(
      "pruning leaves no prototype for %s: nothing speaks for these classes"
      " any more. Train longer, or lower config.prune.threshold.",
      ", ".join(
        _told(class_names[k], int(images[k])) for k in emptied.tolist()
      ),
    )
  metrics = {"alive": int(alive.sum()), "classes_without": len(emptied)}
  return with_bank(state, bank.replace(alive=alive)), metrics


def _told(name: str, images: int) -> str:
  return name if images else f"{name} (it has no training image)"


def _step(
  embed, similarity, placement, state: State, carry: Neighbours, batch: Batch
) -> Neighbours:
  """The nearest images so far, updated with a batch."""
  prototypes = bank_of(state).vectors
  names = {key: batch[key] for key in ("index", "label", "valid")}
  features, met = placement.meet((embed(state, batch), names))
  found = pooling.nearest(features, prototypes, similarity)
  return neighbours.add(carry, found.distances, met)

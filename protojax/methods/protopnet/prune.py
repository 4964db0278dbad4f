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
  class_names: Sequence[str],
  threshold: int = 3,
) -> tuple[Bool[np.ndarray, " p"], tuple[str, ...]]:
  """Which prototypes stay alive, and the classes that have none left.

  A prototype with fewer than `threshold` votes dies (3 of 6 in the paper's
  code). If it has fewer images than that, all must be of its class.

  Args:
    labels: classes of the nearest images; -1 where there is none.
    class_of: the class of each prototype.
    alive: prototypes not pruned before; the dead stay dead.
    class_names: of classes 0, 1, ...
    threshold: votes that a prototype needs to stay alive.
  """
  there = np.sum(np.asarray(labels) >= 0, axis=1)
  enough = votes(labels, class_of) >= np.minimum(threshold, there)
  left = np.asarray(alive) & enough
  living = np.bincount(np.asarray(class_of)[left], minlength=len(class_names))
  emptied = tuple(
    name for name, n in zip(class_names, living, strict=True) if n == 0
  )
  return left, emptied


def pruned(
  state: State, near: Neighbours, class_names: Sequence[str], threshold: int = 3
) -> tuple[State, Metrics]:
  """The state after `prune`; warns of classes without a prototype.

  Returns:
    The state; numbers of prototypes "alive" and of "classes_without".
  """
  bank = bank_of(state)
  classed = bank.class_of, bank.alive
  alive, emptied = prune(near.labels, *classed, class_names, threshold)
  if emptied and parallel.is_primary():
    logging.warning(
      "pruning leaves no prototype for %s: nothing speaks for these classes"
      " any more. Train longer, or lower config.prune.threshold.",
      ", ".join(emptied),
    )
  metrics = {"alive": int(alive.sum()), "classes_without": len(emptied)}
  return with_bank(state, bank.replace(alive=alive)), metrics


def _step(
  embed, similarity, placement, state: State, carry: Neighbours, batch: Batch
) -> Neighbours:
  """The nearest images so far, updated with a batch."""
  prototypes = bank_of(state).vectors
  names = {key: batch[key] for key in ("index", "label", "valid")}
  features, met = placement.meet((embed(state, batch), names))
  found = pooling.nearest(features, prototypes, similarity)
  return neighbours.add(carry, found.distances, met)

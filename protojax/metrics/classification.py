"""Accuracy and cross entropy, counted batch by batch on the devices."""

from collections.abc import Callable, Iterable, Mapping
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np
import optax

from protojax import parallel
from protojax.types import Array, ArrayLike, Batch, State

# (state, batch) -> rows by name, "logits" [b k] among them.
Answers = Callable[[State, Batch], Mapping[str, Array]]


def evaluate(
  answers: Answers, state: State, batches: Iterable[Batch]
) -> dict[str, float]:
  """Accuracy and mean cross entropy of a model over batches.

  Args:
    answers: (state, batch) -> rows, "logits" [b k] among them.
    state: of the model.
    batches: padding is left out.
  """
  return figures(
    parallel.fold(functools.partial(_count, answers), state, none(), batches)
  )


def _count(answers: Answers, state: State, carry: Array, batch: Batch) -> Array:
  return add(carry, answers(state, batch)["logits"], batch)


def none() -> Float[np.ndarray, " 3"]:
  """The sums before a batch: right answers, cross entropy, images."""
  return np.zeros(3, np.float32)


def add(
  sums: Float[ArrayLike, " 3"], logits: Float[ArrayLike, "b k"], batch: Batch
) -> Float[jax.Array, " 3"]:
  """The sums after a batch; padding is left out."""
  correct = jnp.argmax(logits, axis=1) == batch["label"]
  # Clipped: an unknown label is -1, which is no class.
  entropy = optax.softmax_cross_entropy_with_integer_labels(
    jnp.asarray(logits, jnp.float32), jnp.maximum(batch["label"], 0)
  )
  rows = jnp.stack(
    [correct.astype(jnp.float32), entropy, jnp.ones_like(entropy)]
  )
  counted = jnp.where(batch["valid"][None], rows, 0.0)
  return jnp.asarray(sums) + jnp.sum(counted, axis=1)


def figures(sums: Float[np.ndarray, "devices 3"]) -> dict[str, float]:
  """Accuracy and mean cross entropy, from the sums of all devices."""
  correct, entropy, count = np.asarray(sums, np.float64).sum(axis=0)
  return {
    "accuracy": float(correct / count),
    "cross_entropy": float(entropy / count),
  }

"""Trains a linear probe: the head of a classifier with a frozen backbone."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from protojax.data.stream import Stream
from protojax.engine.cached import Cached
from protojax.engine.stage import Fit, Length
from protojax.engine.terms import Aux, Now, Term
from protojax.types import Batch, PyTree, State


def probing(
  pooled: Cached,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
  *,
  after_step: Callable[[State], State] | None = None,
) -> Fit:
  """The stage: cross entropy of params["head"], "weight" [k d] and "bias" [k].

  Args:
    pooled: cached rows {"pooled": b d}, the features for the head.
    data: shuffled batches.
    optimizer: of the head.
    length: in epochs or steps.
    after_step: state -> state, called after every update.
  """
  return Fit(
    "probe",
    _loss,
    data,
    optimizer,
    length,
    cached=pooled,
    after_step=after_step,
  )


def _loss(
  params: PyTree, state: State, batch: Batch, now: Now
) -> tuple[dict[str, Term], Aux]:
  del state, now
  head, labels = params["head"], batch["label"]
  logits = jnp.matmul(batch["pooled"], head["weight"].T) + head["bias"][None]
  entropy = jnp.sum(
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  )
  correct = jnp.sum(jnp.argmax(logits, axis=1) == labels)
  count = len(labels)
  return (
    {"cross_entropy": Term(entropy, count)},
    Aux(metrics={"accuracy": Term(correct, count)}),
  )

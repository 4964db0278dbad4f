"""Trains a new backbone as a plain classifier, before the prototypes.

Prototypes are compared with single patches, by a similarity that is flat far
from them. So a new backbone hardly gets gradients for faint causes, such as
grain or a paler colour. A mean over all patches gives it these gradients.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np
import optax

from protojax.data.stream import Stream
from protojax.engine.stage import Fit, Length
from protojax.engine.terms import Aux, Now, Term
from protojax.types import ArrayLike, Batch, PyTree, State

# (params, statistics, images, train) -> features b h w c, moved statistics.
Features = Callable[..., tuple[jax.Array, PyTree]]


def pretraining(
  features: Features,
  class_count: int,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
) -> Fit:
  """The stage: features -> mean over the image -> logits -> cross entropy.

  Args:
    features: of the backbone, BatchNorm by the batch where `train` is True.
    class_count: k, the number of classes.
    data: shuffled batches.
    optimizer: of the backbone.
    length: in epochs or steps.
  """
  loss = functools.partial(_loss, features, class_count)
  return Fit("pretrain", loss, data, optimizer, length)


def readout(
  pooled: Float[ArrayLike, "b c"], class_count: int
) -> Float[jax.Array, "b k"]:
  """Logits by a fixed linear layer: channel c belongs to class c % k.

  The last layer of a classifier need not be trained (Hoffer et al., "Fix your
  classifier", ICLR 2018), and a fixed one adds no parameters to the model. Each
  row of its weight has norm 1.
  """
  channels = pooled.shape[1]
  class_of = jnp.arange(channels) % class_count
  weight = jax.nn.one_hot(class_of, class_count) / jnp.sqrt(
    channels / class_count
  )
  return jnp.matmul(pooled, weight, precision=jax.lax.Precision.HIGHEST)


def readout_head(
  channels: int, class_count: int
) -> tuple[Float[np.ndarray, "k c"], Float[np.ndarray, " k"]]:
  """Weight and bias of `readout`, for a method that explains this head."""
  weight = readout(np.eye(channels, dtype=np.float32), class_count)
  return np.asarray(weight).T, np.zeros(class_count, np.float32)


def _loss(
  features: Features,
  class_count: int,
  params: PyTree,
  state: State,
  batch: Batch,
  now: Now,
) -> tuple[dict[str, Term], Aux]:
  del now
  maps, statistics = features(params, state.statistics, batch["image"], True)
  logits = readout(jnp.mean(maps, axis=(1, 2)), class_count)
  labels = batch["label"]
  entropy = jnp.sum(
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  )
  correct = jnp.sum(jnp.argmax(logits, axis=1) == labels)
  count = len(labels)
  return (
    {"cross_entropy": Term(entropy, count)},
    Aux(statistics, metrics={"accuracy": Term(correct, count)}),
  )

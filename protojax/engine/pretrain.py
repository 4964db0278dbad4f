"""A backbone from scratch, trained as a plain classifier first.

Prototypes are compared with single patches, by a similarity that is flat far
from them. Faint causes, such as grain or a paler colour, are lost on that way
before the backbone shows them; a mean over all patches shows them at once.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np
import optax

from protojax.data.stream import Stream
from protojax.engine.stage import Aux, Fit, Length
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# (params, statistics, images, train) -> features b h w c, moved statistics.
Features = Callable[..., tuple[jax.Array, PyTree]]


def pretraining(
  features: Features,
  class_count: int,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
) -> Fit:
  """The stage: features, mean over the image, logits, cross entropy.

  Args:
    features: of the backbone, BatchNorm by the batch where `train` is True.
    class_count: how many classes the labels name.
    data: shuffled batches.
    optimizer: of the backbone.
    length: in epochs or steps.
  """
  loss = functools.partial(_loss, features, class_count)
  return Fit("pretrain", loss, data, optimizer, length)


def readout(
  pooled: Float[ArrayLike, "b c"], class_count: int
) -> Float[jax.Array, "b k"]:
  """Logits by a linear layer that is not learned: channel c is for class c % k.

  A classifier's last layer may stay as it is while the rest learns (Hoffer et
  al., "Fix your classifier", ICLR 2018), and the model needs no parameters that
  nothing reads later. Each row has norm 1.
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
  """Weight and bias of `readout`, for who takes the classifier as it is."""
  weight = readout(np.eye(channels, dtype=np.float32), class_count)
  return np.asarray(weight).T, np.zeros(class_count, np.float32)


def _loss(
  features: Features,
  class_count: int,
  params: PyTree,
  state: State,
  batch: Batch,
  key: Array,
) -> tuple[Array, Array, Aux]:
  del key
  maps, statistics = features(params, state.statistics, batch["image"], True)
  logits = readout(jnp.mean(maps, axis=(1, 2)), class_count)
  labels = batch["label"]
  entropy = jnp.sum(
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  )
  correct = jnp.sum(jnp.argmax(logits, axis=1) == labels)
  metrics = {"accuracy": correct.astype(jnp.float32), "cross_entropy": entropy}
  return entropy, jnp.float32(len(labels)), Aux(statistics, metrics)

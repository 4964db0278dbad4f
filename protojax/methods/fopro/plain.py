"""Losses without prototypes: the baselines, and the last stage of mix-up."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np
import optax

from protojax import parallel
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.fopro.network import Network, linear
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Of a stage, until as many images are dropped as shall be.
_RAMP = 1 / 3


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
  """Cross entropy, maybe without the images of the largest losses.

  Attributes:
    network: of the method.
    dropped: share of each batch that is left out in the end; few-shot images
      never are.
  """

  network: Network
  dropped: float

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy of a batch with "trusted"."""
    logits, statistics = _logits(self.network, params, state, batch["image"])
    each = optax.softmax_cross_entropy_with_integer_labels(
      logits, batch["label"]
    )
    share = self.dropped * jnp.minimum(now.share / _RAMP, 1.0)
    kept = smallest(each, share) | batch["trusted"]
    one = kept.astype(jnp.float32)
    right = jnp.sum(jnp.argmax(logits, axis=1) == batch["label"])
    metrics = {
      "as_given": Term(right, len(each)),
      "kept": Term(jnp.sum(one), len(each)),
    }
    terms = {"classify": Term(jnp.sum(one * each), jnp.sum(one))}
    return terms, Aux(statistics, metrics=metrics)


def smallest(each: Float[ArrayLike, " b"], share: ArrayLike) -> Array:
  """True for the losses of this device that stay if a share is dropped.

  The largest of all devices are dropped. Inside a mapped step.

  Args:
    each: losses.
    share: of them to drop.
  """
  each = jax.lax.stop_gradient(jnp.asarray(each))
  every = parallel.gather(each)
  rank = jnp.sum(every[None] < each[:, None], axis=1)
  return rank < jnp.ceil((1 - share) * len(every))


@dataclasses.dataclass(frozen=True, eq=False)
class MixUp:
  """Cross entropy of mixed images (Zhang et al., ICLR 2018).

  Each image is mixed with one of a second stream, so that the result does not
  depend on the devices. The authors' code weighs both labels by the class of
  the first; here each has the weight of its own class.

  Attributes:
    network: of the method.
    beta: of the distribution of the share.
    probability: that a batch is mixed.
    class_weights: of each class.
  """

  network: Network
  beta: float
  probability: float
  class_weights: Float[np.ndarray, " k"]

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy of a batch of two streams, "first" and "second"."""
    one, other = batch["first"], batch["second"]
    for_share, for_whether = jax.random.split(now.key)
    share = jax.random.beta(for_share, self.beta, self.beta)
    mixed = jax.random.bernoulli(for_whether, self.probability)
    share = jnp.where(mixed, share, 1.0)
    images = share * one["image"] + (1 - share) * other["image"]
    logits, statistics = _logits(self.network, params, state, images)
    weights = jnp.asarray(self.class_weights)

    def entropy(labels: Array) -> Array:
      found = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return found * weights[labels]

    each = share * entropy(one["label"])
    each = each + (1 - share) * entropy(other["label"])
    return {"mixed": Term(jnp.sum(each), len(each))}, Aux(statistics)


def _logits(
  network: Network, params: PyTree, state: State, images: ArrayLike
) -> tuple[Array, Any]:
  """Logits, and all statistics after the batch."""
  vectors, moved = network.encoded(
    params["backbone"], state.statistics["backbone"], images, train=True
  )
  statistics = {**state.statistics, "backbone": moved}
  return linear(params["classifier"], vectors), statistics

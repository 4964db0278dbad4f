"""What a loss gives: terms, which are means over the examples of all devices.

A loss sees the slice of one device and gives sums and counts. The mean over all
devices is psum / psum, which is not the mean of the devices' means; `descent`
takes it, and no loss has to.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import jax

from protojax.types import ArrayLike, Batch, PyTree, State


class Now(NamedTuple):
  """Where training stands, for what changes with it.

  Attributes:
    key: of this step's randomness.
    step: updates of the stage before this one, int32.
    share: the share of the stage that is done, 0 at its first step; for ramps.
  """

  key: jax.Array
  step: jax.Array
  share: jax.Array


class Term(NamedTuple):
  """One term of a loss, or one metric: a mean over examples of all devices.

  Its value is the sum over the devices of `total`, divided by that of `count`.

  Attributes:
    total: the sum over this device's examples.
    count: how many they are, or the sum of their weights; it has no gradient.
    weight: factor of the value in the loss; without meaning in a metric.
    whole: see `of_whole_batch`.
  """

  total: ArrayLike
  count: ArrayLike | float
  weight: ArrayLike | float = 1.0
  whole: bool = False


def of_whole_batch(value: ArrayLike, weight: ArrayLike | float = 1.0) -> Term:
  """The term of a value that needs the batch of all devices at once.

  Every device computes it, from rows that `parallel.gather` brings together.
  Its gradient is right: backwards, `gather` adds up what the values of all
  devices say of each row, and the mean over the devices divides that by their
  number.
  """
  return Term(value, 1.0, weight, whole=True)


def penalty(value: ArrayLike, weight: ArrayLike | float = 1.0) -> Term:
  """The term of a value that depends on parameters and on no example.

  All devices must have the same value. Of sharded parameters each sees its own
  shard: `placement.total` brings the sum over all of them, and the gradient
  back.
  """
  return Term(value, 1.0, weight)


class Aux(NamedTuple):
  """Results of a loss beside its terms.

  Attributes:
    statistics: the running averages of BatchNorm, equal on all devices; None:
      they do not move.
    memory: the state's memory after this batch, equal on all devices; None: it
      does not change.
    metrics: more values for the log, by name.
  """

  statistics: PyTree = None
  memory: PyTree = None
  metrics: Mapping[str, Term] = MappingProxyType({})


@runtime_checkable
class Loss(Protocol):
  """`(params, state, batch, now) -> ({name: Term}, Aux)` of a device's slice.

  The loss is the sum of weight times value over the terms. The log shows the
  value of each by its name, and the loss as "loss".
  """

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[Mapping[str, Term], Aux]:
    """The terms of this device's examples, and the rest.

    Args:
      params: that the gradient is taken of.
      state: the rest of the state is read from here, assets included.
      batch: the slice. Of several streams, or of a stream with views, it holds
        one batch for each, by name: `batch[stream][view][field]`.
      now: key, step, and share of the stage that is done.
    """
    ...

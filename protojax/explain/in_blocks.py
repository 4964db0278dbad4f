"""Explains in blocks, where no prototype was pushed to a patch of an image.

A method declares `explains=functools.partial(Explainer, explain, scopes)`. Its
own function `explain` goes through what is explained with `swept`.
"""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np

from protojax import parallel
from protojax.explain import blocks, reference_mode
from protojax.explain.request import Request
from protojax.types import Batch, PyTree, State

LOCAL = ("local",)
BOTH = ("local", "global")
# (method, state, data, request) -> explanations; see `base.Explains.explain`.
Explain = Callable[[Any, State, Any, Request], Iterator[blocks.Explanation]]


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `explains` of such a method; see `base.Explains`.

  Attributes:
    explained: what `explain` does.
    scopes: of the explanations.
    method: the method.
  """

  explained: Explain
  scopes: tuple[str, ...]
  method: Any

  report: ClassVar[str] = "block_report"

  @property
  def network(self) -> None:
    """None: it compares no patches with prototypes."""

  def stale(self, state: State) -> bool:
    """Never: nothing is pushed."""
    del state
    return False

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[blocks.Explanation]:
    """What `explained` says."""
    return self.explained(self.method, state, data, request)


def limit(request: Request, most: int) -> int:
  """How many examples are explained: what was asked for, else `most`."""
  return most if request.limit is None else request.limit


def spread(count: int, most: int) -> set[int]:
  """At most so many of the first `count` whole numbers, evenly chosen."""
  if not most:
    return set()
  places = np.linspace(0, count - 1, min(count, most)).round()
  return {int(place) for place in places}


def images(data: Any, request: Request, count: int | None) -> Iterator[Batch]:
  """Batches of so many images, evenly chosen; with copies if they are needed.

  Args:
    data: the images.
    request: its preset says whether they are modified at their own size.
    count: None: all.
  """
  return reference_mode.attach(
    data.spread(count),
    data.source,
    request.preset,
    data.image_size,
    data.resizing,
  )


def swept(
  step: Callable[[State, Batch], PyTree],
  state: State,
  batches: Iterable[Batch],
  request: Request,
) -> Iterator[tuple[PyTree, PyTree]]:
  """Each example of the batches and its row of `step`, both on the host.

  Padding is left out. Tells the request of each batch that is done.
  """
  for batch, rows in parallel.each(step, state, batches):
    taken = np.flatnonzero(batch["valid"])
    for i in taken:
      yield jax.tree.map(lambda x, i=i: x[i], (batch, rows))
    request.progress(len(taken))

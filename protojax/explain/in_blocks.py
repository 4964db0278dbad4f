"""Explains in blocks, where no prototype was pushed to a patch of an image.

A method declares `explains=functools.partial(Explainer, explain, scopes)`. Its
own function `explain` goes through what is explained with `swept`.
"""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
from jaxtyping import Bool, Float
import numpy as np

from protojax import parallel
from protojax.explain import blocks, reference_mode
from protojax.explain.request import Request
from protojax.modify import sides
from protojax.modify.presets import Preset
from protojax.types import Batch, PyTree, State

GREY = blocks.Note(
  "A grey image has neither hue nor saturation to change, and no number for"
  " them."
)
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


class MeanLosses:
  """Means over images of what is lost by each characteristic.

  An image counts where it has the characteristic: a grey one has no hue.

  Attributes:
    counts: images, [p m].
  """

  def __init__(self, preset: Preset, count: int) -> None:
    """No image yet; p, `count`, of prototypes, labels or answers."""
    self._preset = preset
    self._sums = np.zeros((count, len(preset.names)))
    self.counts = np.zeros(self._sums.shape, int)

  def add(
    self,
    delta: Float[np.ndarray, "m p"],
    grey: bool,
    there: Bool[np.ndarray, " p"],
  ) -> None:
    """Adds an image to the means of those that are there."""
    counted = there[:, None] & self._preset.seen(grey)[None]
    self.counts += counted
    self._sums += np.where(counted, delta.T, 0)

  @property
  def means(self) -> Float[np.ndarray, "p m"]:
    """The means; nan where no image counts."""
    unknown = np.full(self._sums.shape, np.nan)
    return np.divide(
      self._sums, self.counts, out=unknown, where=self.counts > 0
    )


class Cause(NamedTuple):
  """The change that costs most, in words.

  Attributes:
    loss: what it costs.
    because: the reason, such as "because of its grain".
    changed: the change, such as "with its grain smoothed away".
  """

  loss: float
  because: str
  changed: str


def cause(
  preset: Preset, delta: Float[np.ndarray, " m"], grey: bool = False
) -> Cause | None:
  """What costs most, of what an image has; None if nothing costs anything.

  Args:
    preset: what was modified.
    delta: what each modification costs.
    grey: whether the image is a grey one.
  """
  controls = {m.name for m in preset.modifications if m.change == "identity"}
  able = preset.seen(grey) & [n not in controls for n in preset.names]
  lost = np.where(able, np.nan_to_num(delta), 0)
  most = int(np.argmax(lost))
  if not lost[most] > 0:
    return None
  name = preset.names[most]
  scores = dict(zip(preset.names, lost.tolist(), strict=True))
  return Cause(
    scores[name], sides.because(scores, name), sides.changed(scores, name)
  )


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

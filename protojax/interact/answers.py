"""Answers to interventions, by one compiled program for single images."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import threading
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num, UInt8
import numpy as np

from protojax import loading, types
from protojax.data.resizing import Frame
from protojax.interact.importance_map import importance_map
from protojax.interact.intervention import (
  ALPHA,
  MOST_BOXES,
  Box,
  Intervention,
  parse,
)
from protojax.methods.base import needed
from protojax.types import Array, State, UserError

# Rows of top, left, bottom and right.
Boxes = Sequence[Sequence[float | int]] | Num[np.ndarray, "n 4"]

_NOTHING = Intervention()


@dataclasses.dataclass(frozen=True)
class Answer:
  """The answer to an image.

  Attributes:
    logits: of the classes.
    probabilities: of the classes.
    concept_scores: the score of each concept.
    contributions: of each concept to the logit of the predicted class.
    best: the prototype that gives each concept its score.
    maps: similarity of that prototype to each cell, times the importance.
  """

  logits: Float[np.ndarray, " k"]
  probabilities: Float[np.ndarray, " k"]
  concept_scores: Float[np.ndarray, " c"]
  contributions: Float[np.ndarray, " c"]
  best: Int[np.ndarray, " c"]
  maps: Float[np.ndarray, "h w c"]

  @property
  def predicted(self) -> int:
    """The most probable class."""
    return int(np.argmax(self.probabilities))

  @property
  def margin(self) -> float:
    """Probability of the predicted class minus that of the second.

    1 if there is no second class.
    """
    if len(self.probabilities) < 2:
      return 1.0
    second, first = np.sort(self.probabilities)[-2:]
    return float(first - second)


class Model:
  """A method with its state, which answers to interventions.

  Its program is compiled once for all of them. Threads may share it.

  Attributes:
    intervenes: what the method has of `base.Intervenes`.
    resizing: how images come to the size of the network.
  """

  def __init__(self, method: Any, state: State) -> None:
    """Compiles nothing yet.

    Raises:
      UserError: the method takes no corrections.
    """
    self.intervenes = needed(method, "intervenes")
    self.resizing = loading.resizing(method.config)
    self._state = jax.tree.map(jnp.asarray, state)
    self._lock = threading.Lock()

  def __call__(
    self,
    image: UInt8[np.ndarray, "H W 3"],
    intervention: Intervention = _NOTHING,
  ) -> Answer:
    """The answer to an image after an intervention.

    Args:
      image: at its own size; boxes are in its pixels.
      intervention: by default none.

    Raises:
      UserError: a box lies where the network sees nothing of the image.
    """
    size, names = image.shape[:2], self.intervenes.concept_names
    frame = self.frame(image)
    with self._lock:
      found = _program(self.intervenes)(
        self._state,
        frame.pixels(image),
        _shares(intervention.look, size, frame),
        _shares(intervention.ignore, size, frame),
        np.float32(intervention.alpha),
        np.array([name in intervention.rejected for name in names], bool),
      )
      found = jax.device_get(found)
    return Answer(
      **{field.name: found[field.name] for field in dataclasses.fields(Answer)}
    )

  def frame(self, image: UInt8[np.ndarray, "H W 3"]) -> Frame:
    """What the network sees of an image."""
    size = self.intervenes.image_size
    return self.resizing.frame(image.shape, size)


def intervene(
  method: Any,
  state: State,
  image: UInt8[np.ndarray, "H W 3"],
  look: Boxes = (),
  ignore: Boxes = (),
  rejected: Sequence[str] = (),
  alpha: float = ALPHA,
) -> tuple[Answer, Answer]:
  """The answers to an image before and after an intervention.

  Args:
    method: has the capability `intervenes`.
    state: its state.
    image: at its own size.
    look: boxes of importance 1: (top, left, bottom, right) in pixels of the
      image, the last two excluded.
    ignore: boxes of importance 0, also where they overlap those of `look`.
    rejected: names of concepts that do not count.
    alpha: importance of the rest if there is a box in `look`, from 0 to 1.

  Returns:
    The answers before and after.

  Raises:
    UserError: the method takes no corrections; or a box, a concept or alpha is
      wrong.
  """
  model = Model(method, state)
  asked = parse(
    {
      "look": [_named(box) for box in look],
      "ignore": [_named(box) for box in ignore],
      "rejected": list(rejected),
      "alpha": alpha,
    },
    model.intervenes.concept_names,
    image.shape[:2],
  )
  return model(image), model(image, asked)


def _named(box: Any) -> Any:
  """The box as in JSON; what has not four numbers is not changed."""
  values = np.asarray(box).tolist()
  if not isinstance(values, list) or len(values) != len(Box._fields):
    return values
  return Box(*values)._asdict()


def _shares(
  boxes: Sequence[Box], size: tuple[int, int], frame: Frame
) -> Float[np.ndarray, "n 4"]:
  """Boxes in shares of the frame, padded with boxes without area."""
  shares, seen = frame.boxes(np.reshape(boxes, (-1, 4)) / np.tile(size, 2))
  if not seen.all():
    hidden = boxes[int(np.argmin(seen))]
    window = types.Box(0, 0, frame.size, frame.size)
    raise UserError(
      f"the box {tuple(hidden)} lies where the network sees nothing of the"
      f" image; it sees {tuple(frame.original(window, size))} (top, left,"
      " bottom, right)"
    )
  padded = np.zeros((MOST_BOXES, 4), np.float32)
  padded[: len(boxes)] = shares
  return padded


@functools.lru_cache(maxsize=4)
def _program(intervenes: Any) -> Callable[..., dict[str, Array]]:
  """(state, image, look, ignore, alpha, rejected) -> the row of the image."""

  def program(state: State, image: Array, look, ignore, alpha, rejected):
    importance = importance_map(look, ignore, alpha, intervenes.grid)
    found = intervenes.intervene(
      state, image[None], importance[None], rejected[None]
    )
    return {name: rows[0] for name, rows in found.items()}

  return jax.jit(program)

"""What a model answers to an intervention: one program, one image at a time."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import threading
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num, UInt8
import numpy as np

from protojax.data import transforms
from protojax.interact.importance_map import importance_map
from protojax.interact.intervention import (
  ALPHA,
  MOST_BOXES,
  Box,
  Intervention,
  parse,
)
from protojax.methods.base import Intervenes
from protojax.types import Array, State

# Rows of top, left, bottom and right.
Boxes = Sequence[Sequence[float | int]] | Num[np.ndarray, "n 4"]

_NOTHING = Intervention()


@dataclasses.dataclass(frozen=True)
class Answer:
  """What the model says of an image.

  Attributes:
    logits: of the classes.
    probabilities: of the classes.
    concept_scores: how much of each concept it sees.
    contributions: of each concept to the logit of the predicted class.
    best: the prototype that gives each concept its score.
    maps: where that prototype sees it, times the importance.
  """

  logits: Float[np.ndarray, " k"]
  probabilities: Float[np.ndarray, " k"]
  concept_scores: Float[np.ndarray, " c"]
  contributions: Float[np.ndarray, " c"]
  best: Int[np.ndarray, " c"]
  maps: Float[np.ndarray, "h w c"]

  @property
  def predicted(self) -> int:
    """The class that is most probable."""
    return int(np.argmax(self.probabilities))

  @property
  def margin(self) -> float:
    """By how much it is more probable than the class that comes second.

    1 if there is no second class.
    """
    if len(self.probabilities) < 2:
      return 1.0
    second, first = np.sort(self.probabilities)[-2:]
    return float(first - second)


class Model:
  """A method with its state, for one person to ask.

  Its program is compiled once for all interventions. Threads may share it.
  """

  def __init__(self, method: Intervenes, state: State) -> None:
    self.method = method
    self._state = jax.tree.map(jnp.asarray, state)
    self._lock = threading.Lock()

  def __call__(
    self,
    image: UInt8[np.ndarray, "H W 3"],
    intervention: Intervention = _NOTHING,
  ) -> Answer:
    """What the model says of an image after an intervention.

    Args:
      image: at its own size, in whose pixels the boxes are.
      intervention: none, if not given.
    """
    size, names = image.shape[:2], self.method.concept_names
    with self._lock:
      found = _program(self.method)(
        self._state,
        transforms.resize(image, self.method.image_size),
        _shares(intervention.look, size),
        _shares(intervention.ignore, size),
        np.float32(intervention.alpha),
        np.array([name in intervention.rejected for name in names], bool),
      )
      found = jax.device_get(found)
    return Answer(
      **{field.name: found[field.name] for field in dataclasses.fields(Answer)}
    )


def intervene(
  method: Intervenes,
  state: State,
  image: UInt8[np.ndarray, "H W 3"],
  look: Boxes = (),
  ignore: Boxes = (),
  rejected: Sequence[str] = (),
  alpha: float = ALPHA,
) -> tuple[Answer, Answer]:
  """What a model says of an image, and what once it was put right.

  Args:
    method: the model.
    state: its state.
    image: at its own size.
    look: boxes (top, left, bottom, right) in pixels of the image, the last two
      excluded, that shall count.
    ignore: boxes that shall not, also where they lie on those of `look`.
    rejected: names of concepts that shall not count.
    alpha: how much the rest counts if there is a box in `look`, from 0 to 1.

  Returns:
    The answers before and after.

  Raises:
    UserError: a box, a concept or alpha is not as it should be.
  """
  asked = parse(
    {
      "look": [_named(box) for box in look],
      "ignore": [_named(box) for box in ignore],
      "rejected": list(rejected),
      "alpha": alpha,
    },
    method.concept_names,
    image.shape[:2],
  )
  model = Model(method, state)
  return model(image), model(image, asked)


def _named(box: Any) -> Any:
  """The box as JSON has it; what has not four numbers as it is."""
  values = np.asarray(box).tolist()
  if not isinstance(values, list) or len(values) != len(Box._fields):
    return values
  return Box(*values)._asdict()


def _shares(
  boxes: Sequence[Box], size: tuple[int, int]
) -> Float[np.ndarray, "n 4"]:
  """Boxes in shares of the image, as many as there is room for.

  Padding has no area.
  """
  padded = np.zeros((MOST_BOXES, 4), np.float32)
  padded[: len(boxes)] = np.reshape(boxes, (-1, 4)) / np.tile(size, 2)[None]
  return padded


@functools.lru_cache(maxsize=4)
def _program(method: Intervenes) -> Callable[..., dict[str, Array]]:
  """(state, image, look, ignore, alpha, rejected) -> the row of the image."""

  def program(state: State, image: Array, look, ignore, alpha, rejected):
    importance = importance_map(look, ignore, alpha, method.grid)
    found = method.intervene(
      state, image[None], importance[None], rejected[None]
    )
    return {name: rows[0] for name, rows in found.items()}

  return jax.jit(program)

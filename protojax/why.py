"""Why a model gives an answer: explanations as values in Python.

`Model.explain` gives a `Why` for each image, and `Model.prototypes` holds each
`Prototype`. Both show themselves in a notebook, by the cards of the reports.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import functools
import html
import os
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from PIL import Image

from protojax import typed
from protojax.explain import (
  documents,
  familiarity,
  merging,
  misleading,
  standings,
)
from protojax.explain.blocks import Explanation
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.familiarity import Familiarity
from protojax.explain.inspection import Inspection
from protojax.explain.prototypical import Explainer
from protojax.report import one_page, page, pictures
from protojax.types import Box, State, UserError
from protojax.writing import replacing

# Of the frame in a notebook, in pixels, until its page says how high it is.
_HEIGHT = 640
_GROW = "this.style.height=this.contentDocument.body.scrollHeight+24+'px'"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Why:
  """Why an image got its answer; in a notebook it shows itself.

  Attributes:
    image: name of the image.
    explanation: numbers and pictures. Of a classifier its `answers`, the rows
      of its scoring sheet (`evidence`) and what each is `because` of; of a
      detector the `score`, the `worst` place and `because`; else `blocks`.
    prototypes: those that the image is compared with in pictures, as far as
      the training images are there.
  """

  image: str
  explanation: LocalExplanation | Inspection | Explanation
  prototypes: tuple[GlobalExplanation, ...]
  _head: page.Run

  def to_html(self, path: str | os.PathLike) -> Path:
    """Writes a page that holds its pictures and loads nothing.

    Raises:
      UserError: there is no room, or no right to write.
    """
    return _written(path, self.as_html())

  def to_dict(self) -> dict[str, Any]:
    """The same in types that JSON has, as `explain --format=json` writes it.

    `protojax/explain/evidence.schema.json` is its JSON Schema.
    """
    return documents.to_json(self.explanation)

  def as_html(self) -> str:
    """The page that `to_html` writes."""
    return one_page.render(self._head, self.explanation, self.prototypes)

  def _repr_html_(self) -> str:
    return _framed(self.as_html())

  def __repr__(self) -> str:
    return f"why {self.image}: {_said(self.explanation)}"


class TakenFrom(NamedTuple):
  """Where a prototype was taken from at the last push.

  Attributes:
    image: name of the training image.
    index: its position in the training images.
    cell: row-major index in the grid of the feature map.
    box: around what is most similar, in pixels of the network's input.
    original_box: the same in pixels of the image itself.
  """

  image: str
  index: int
  cell: int
  box: Box
  original_box: Box | None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prototype:
  """A prototype of a model; in a notebook it shows itself.

  Attributes:
    number: its place among the prototypes.
    class_name: its class or, if it has none, its group, such as a concept.
    alive: whether it is alive, that is not pruned.
  """

  number: int
  class_name: str
  alive: bool
  _of: "Prototypes"

  @property
  def picture(self) -> Image.Image | None:
    """The patch it was taken from, with its surroundings; None before a push.

    Raises:
      UserError: the training images are gone, or have changed since the push.
    """
    patch = self._of.pushed(self.number).patch
    if patch is None or not isinstance(patch.picture, np.ndarray):
      return None
    return Image.fromarray(pictures.cut_out(patch.picture, patch.box))

  @property
  def provenance(self) -> TakenFrom | None:
    """Where it was taken from; None before a push.

    Raises:
      UserError: the training images are gone, or have changed since the push.
    """
    patch = self._of.pushed(self.number).patch
    if patch is None:
      return None
    return TakenFrom(
      patch.image, patch.index, patch.cell, patch.box, patch.original_box
    )

  @property
  def because(self) -> Mapping[str, float]:
    """Characteristic -> mean similarity that training images lose without it.

    The first time, for whichever prototype, all training images are read and
    changed: as long as `explain --split=train --scope=global` takes.

    Raises:
      UserError: the training images are gone, or have changed since the push.
    """
    scores = self._of.scored[self.number].because["train"].scores
    return {k: v for k, v in scores.items() if not page.is_control(k)}

  def to_html(self, path: str | os.PathLike) -> Path:
    """Writes a page that holds its pictures and loads nothing.

    Raises:
      UserError: there is no room, or no right to write; or see `picture`.
    """
    return _written(path, self._page())

  def to_dict(self) -> dict[str, Any]:
    """The same in types that JSON has, as `explain --format=json` writes it.

    It has scores once `because` was asked for, of any prototype.
    """
    return documents.to_json(self._of.known(self.number))

  def _page(self) -> str:
    return one_page.render(self._of.head, self._of.known(self.number))

  def _repr_html_(self) -> str:
    return _framed(self._page())

  def __repr__(self) -> str:
    pruned = "" if self.alive else ", pruned"
    return f"prototype {self.number} of {self.class_name}{pruned}"


class Prototypes(Sequence[Prototype]):
  """All prototypes of a model, pruned ones too; index = number."""

  def __init__(self, explains: Explainer, state: State, head: page.Run) -> None:
    """Reads nothing yet.

    Args:
      explains: of the method.
      state: of the run.
      head: of pages.
    """
    self.head = head
    self._explains, self._state = explains, state
    self._bank = explains.network.bank(state)
    self._pushed: dict[int, GlobalExplanation] = {}

  def __len__(self) -> int:
    return len(self._bank.alive)

  @overload
  def __getitem__(self, index: int) -> Prototype: ...

  @overload
  def __getitem__(self, index: slice) -> list[Prototype]: ...

  def __getitem__(self, index: int | slice) -> Prototype | list[Prototype]:
    if isinstance(index, slice):
      return [self[j] for j in range(*index.indices(len(self)))]
    if not -len(self) <= index < len(self):
      raise IndexError(
        f"found the number {index}; there are {len(self)} prototypes, 0 to"
        f" {len(self) - 1}"
      )
    j = index % len(self)
    names = self._explains.network.groups.names
    return Prototype(
      j, names[int(self._bank.class_of[j])], bool(self._bank.alive[j]), self
    )

  @typed.from_python()
  def pushed(self, number: int) -> GlobalExplanation:
    """A prototype with its patch and pictures; see `Prototype.picture`."""
    if number not in self._pushed:
      self._pushed[number] = self._explains.pushed(self._state, number)
    return self._pushed[number]

  @functools.cached_property
  @typed.from_python()
  def scored(self) -> Mapping[int, GlobalExplanation]:
    """All prototypes with scores; see `Prototype.because`."""
    found = standings.mark(tuple(self._explains.scored(self._state)))
    return {e.prototype: e for e in found}

  def known(self, number: int) -> GlobalExplanation:
    """A prototype with pictures and, if these are known, scores."""
    scores = self.__dict__.get("scored", {})
    both = [self.pushed(number), *([scores[number]] if scores else [])]
    (found,) = merging.merge(both)
    return found

  def __repr__(self) -> str:
    alive = int(np.sum(np.asarray(self._bank.alive)))
    return f"{len(self)} prototypes, {alive} of them alive"


def reasons(
  found: Iterable[Any], head: page.Run, known: Familiarity | None = None
) -> list[Why]:
  """What `explain` of a method yields of images, an object for each of them.

  Args:
    found: of the scope "local".
    head: of pages.
    known: the images that the model knows.
  """
  images, prototypes = [], []
  for explained in found:
    of = prototypes if isinstance(explained, GlobalExplanation) else images
    if isinstance(explained, LocalExplanation):
      explained = familiarity.of_image(explained, known)
    of.append(explained)
  if any(isinstance(e, LocalExplanation) for e in images):
    prototypes, images = misleading.mark(merging.merge(prototypes), images)
  by_number = {e.prototype: e for e in prototypes}
  return [Why(_name(e), e, _compared(e, by_number), head) for e in images]


def _name(e: LocalExplanation | Inspection | Explanation) -> str:
  return e.subject or e.title if isinstance(e, Explanation) else e.image


def _compared(
  e: Any, prototypes: Mapping[int, GlobalExplanation]
) -> tuple[GlobalExplanation, ...]:
  """The prototypes that an image is compared with in pictures."""
  if not isinstance(e, LocalExplanation):
    return ()
  numbers = [row.prototype for row in e.evidence if row.box is not None]
  return tuple(prototypes[j] for j in numbers if j in prototypes)


def _said(e: LocalExplanation | Inspection | Explanation) -> str:
  """The answer, in a few words."""
  if isinstance(e, LocalExplanation):
    best = e.predicted
    return f"{best.class_name} ({best.probability:.3f})"
  if isinstance(e, Inspection):
    word = "defective" if e.defective else "normal"
    return f"{word} ({e.score:.3g} of {e.threshold.value:.3g})"
  return f"{len(e.blocks)} blocks"


def of_patches(explains: Any, method: str) -> Explainer:
  """The `explains` of a method whose prototypes are patches of images.

  Raises:
    UserError: those of this method are not.
  """
  if not isinstance(explains, Explainer):
    raise UserError(
      f"the prototypes of {method} are no patches of training images, so they"
      " have no pictures; `model.explain(image)` shows what they are for an"
      " image"
    )
  return explains


def _written(path: str | os.PathLike, content: str) -> Path:
  path = Path(path).expanduser()
  with replacing(path) as file:
    file.write(content)
  return path


def _framed(content: str) -> str:
  """A page inside of another one, whose styles it leaves alone."""
  return (
    f'<iframe title="explanation" srcdoc="{html.escape(content)}"'
    f' style="width:100%;height:{_HEIGHT}px;border:0" onload="{_GROW}">'
    "</iframe>"
  )

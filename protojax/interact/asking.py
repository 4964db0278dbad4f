"""Asking: a dialogue about a picture, on a page.

It knows no HTTP. `server` calls it from several threads, with content from a
browser, which is not trusted. What is done is saved before it is shown.
"""

from collections.abc import Callable, Mapping
import threading
from typing import Any, NamedTuple, TypedDict

from jaxtyping import UInt8
import numpy as np

from protojax.agents import editing, facts, replies, scenes
from protojax.agents import graph as graphs
from protojax.agents.dialogue import Dialogue
from protojax.agents.facts import Place
from protojax.agents.graph import Graph
from protojax.agents.trace import Spoken, Trace
from protojax.interact.session import jpeg
from protojax.types import UserError

_MOST = 8  # pictures at a time
# Pictures that are remembered; of more, the first are forgotten.
KEPT = 64
_SIDE = 256  # of a picture on the page, at least
_TEXT = 2000  # characters of what a user says


class _Text(TypedDict):
  text: str


class _Edit(TypedDict):
  edit: str
  place: list[str]
  values: list[str | float]


class _Count(TypedDict):
  count: int


class _Picture(NamedTuple):
  facts: dict[str, Any]
  file: bytes


class Asking:
  """A dialogue, its question, and pictures of what is believed."""

  template = "asking.html.jinja"

  def __init__(
    self, spoken: Spoken, trace: Trace, save: Callable[[], None], seed: int
  ) -> None:
    """Shows a dialogue.

    Args:
      spoken: the dialogue.
      trace: of its steps.
      save: writes the dialogue; called after each step.
      seed: of the first pictures; later ones have the next seeds.
    """
    self._spoken, self._trace, self._save = spoken, trace, save
    self._seed = seed
    self._pictures: dict[int, _Picture] = {}
    self._count = self._times = 0
    # One step at a time: each begins where the last one ended.
    self._working = threading.Lock()
    # See `server.Session`.
    self.tables = {"state": self.state}
    self.pictures = {"picture": self.picture}
    self.posts = {
      "say": self.say,
      "edit": self.edit,
      "undo": self.undo,
      "paint": self.paint,
    }

  def facts(self) -> dict[str, Any]:
    """The values that do not change while the page is open."""
    return {"most": _MOST, "characters": _TEXT}

  def state(self, _: int = 0) -> dict[str, Any]:
    """All that the page shows.

    "prompt", the "question" (or null, and "trouble" if a model did not answer),
    "turns", the "belief" with its JSON's keys, what was not "understood", and
    the "pictures".
    """
    with self._working:
      return self._state()

  def _state(self) -> dict[str, Any]:
    question, trouble = None, ""
    try:
      asked = self._spoken.ask()
    except UserError as error:
      trouble = str(error)
    else:
      if asked is not None:
        question = {
          "text": asked.text,
          "options": list(asked.options),
          "place": list(asked.place),
        }
    return {
      "prompt": self._spoken.prompt,
      "question": question,
      "trouble": trouble,
      "turns": [list(turn) for turn in self._spoken.turns],
      "belief": graphs.to_json(self._spoken.belief),
      "understood": not self._spoken.unknown,
      "unknown": list(self._spoken.unknown),
      "pictures": [kept.facts for kept in self._pictures.values()],
    }

  def picture(self, number: int) -> bytes:
    """A picture as JPEG.

    Raises:
      UserError: there is no such picture.
    """
    try:
      return self._pictures[number].file
    except KeyError:
      raise UserError(
        f"there is no picture number {number}: {KEPT} are remembered, until the"
        " program ends"
      ) from None

  def say(self, content: Any) -> Mapping[str, Any]:
    """Takes an answer, or what else a user says.

    Args:
      content: JSON: the "text".

    Raises:
      UserError: it says nothing, or a model does not answer.
    """
    text = _sent(content, _Text)["text"].strip()
    if not text or len(text) > _TEXT:
      raise UserError(f"say something, in at most {_TEXT} characters")
    with self._working:
      question = self._spoken.ask()
      if question is None:
        self._spoken.say(text)
        self._trace.said(self._spoken, text)
      else:
        self._spoken.answer(question, text)
        self._trace.answered(self._spoken, question, text)
      self._save()
      return self._state()

  def edit(self, content: Any) -> Mapping[str, Any]:
    """Changes the belief.

    Args:
      content: JSON: the name of an "edit" of `editing.by_name`, its "place" and
        "values".

    Raises:
      UserError: there is no such edit or place, or a value is out of range.
    """
    sent = _sent(content, _Edit)
    if len(sent["place"]) != len(Place._fields):
      raise UserError("a place has an entity, a name and a second entity")
    place = Place(*sent["place"])
    values = [x if isinstance(x, str) else float(x) for x in sent["values"]]
    with self._working:
      self._spoken.edit(editing.by_name(sent["edit"], place, *values))
      self._trace.edited(self._spoken, sent["edit"], place, *values)
      self._save()
      return self._state()

  def undo(self, content: Any) -> Mapping[str, Any]:
    """Takes the last step back.

    Raises:
      UserError: there is none.
    """
    del content
    with self._working:
      self._spoken.undo()
      self._trace.undone(self._spoken)
      self._save()
      return self._state()

  def paint(self, content: Any) -> Mapping[str, Any]:
    """Paints what is believed.

    Args:
      content: JSON: the "count" of pictures.

    Raises:
      UserError: they are too many, or no model makes any.
    """
    count = _sent(content, _Count)["count"]
    if not 1 <= count <= _MOST:
      raise UserError(f"{count} pictures: 1 to {_MOST} are made at a time")
    with self._working:
      # By the turn and the time, so that the same belief is shown by others.
      seed = (self._seed + self._times) % 2**31
      made = self._spoken.generate(count, seed)
      self._trace.painted(self._spoken, made, seed)
      self._times += 1
      for picture, shows in zip(made, self._shown(count, seed), strict=True):
        self._keep(picture, shows)
      return self._state()

  def _shown(self, count: int, seed: int) -> list[list[list[str]]]:
    """What each picture shows: places and values; of a model's, nothing."""
    if not isinstance(self._spoken, Dialogue):
      return [[]] * count
    drawn = self._spoken.drawn(count, seed)
    return [_values(scenes.graph_of(drawn, i)) for i in range(count)]

  def _keep(
    self, picture: UInt8[np.ndarray, "H W 3"], shows: list[list[str]]
  ) -> None:
    self._count += 1
    times = max(1, _SIDE // picture.shape[1])
    large = np.repeat(np.repeat(picture, times, 0), times, 1)
    about = {
      "number": self._count,
      "turn": len(self._spoken.turns),
      "prompt": self._spoken.prompt,
      "time": self._times,
      "shows": shows,
    }
    self._pictures[self._count] = _Picture(about, jpeg(large, large.shape[1]))
    if len(self._pictures) > KEPT:
      del self._pictures[next(iter(self._pictures))]


def _values(graph: Graph) -> list[list[str]]:
  """Entity, name, second entity and value of what a certain graph holds."""
  return [
    [*place, facts.require(graph, place).likeliest.name]
    for place in facts.places(graph)
  ]


def _sent(content: Any, expected: Any) -> Any:
  return replies.checked("the page", content, expected)

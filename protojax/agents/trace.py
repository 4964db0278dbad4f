"""What was done in a dialogue, step by step, so that it can be done again.

A line of JSON for each step: what a user said, answered, edited or took back,
what was painted, and what was believed after it. Replayed, a trace leads to the
same beliefs and to the same pictures, bit for bit; what models answered is kept
beside it (`recorded`).
"""

from collections.abc import Callable, Iterator
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from jaxtyping import UInt8
import numpy as np

from protojax import json_files, writing
from protojax.agents import editing, replies
from protojax.agents import graph as graphs
from protojax.agents.dialogue import Dialogue
from protojax.agents.facts import Place
from protojax.agents.prompted import Policy, PromptedDialogue
from protojax.agents.questions import Question
from protojax.types import UserError

VERSION = 1
Spoken = Dialogue | PromptedDialogue


class Begun(TypedDict):
  """How a dialogue began.

  Attributes:
    version: of the file.
    llm: name of the model of language; "" is the embedded world.
    images: name of the model that makes pictures, or "".
    policy: what was asked.
    seed: of random questions.
    prompt: of the user.
  """

  version: int
  llm: str
  images: str
  policy: Policy
  seed: int
  prompt: str


class _Step(TypedDict):
  do: str
  begun: NotRequired[Begun]
  place: NotRequired[list[str]]
  question: NotRequired[str]
  value: NotRequired[str]
  text: NotRequired[str]
  edit: NotRequired[str]
  values: NotRequired[list[str | float]]
  count: NotRequired[int]
  seed: NotRequired[int]
  pictures: NotRequired[list[str]]
  scores: NotRequired[dict[str, float]]
  prompt: str
  belief: graphs.JSON


class Trace:
  """The file of a dialogue's steps."""

  def __init__(self, path: str | Path):
    self.path = Path(path)

  def begin(self, spoken: Spoken, begun: Begun) -> None:
    """Writes the first step; what the file held is gone."""
    with writing.writing(self.path):
      self.path.unlink(missing_ok=True)
    self._add(spoken, "begin", begun=begun)

  def answered(self, spoken: Spoken, question: Question, text: str) -> None:
    """Adds an answer that was taken."""
    self._add(
      spoken,
      "answer",
      place=list(question.place),
      question=question.text,
      value=question.value,
      text=text,
    )

  def said(self, spoken: Spoken, text: str) -> None:
    """Adds a sentence that answers no question."""
    self._add(spoken, "say", text=text)

  def undone(self, spoken: Spoken) -> None:
    """Adds that the last step was taken back."""
    self._add(spoken, "undo")

  def edited(
    self, spoken: Spoken, edit: str, place: Place, *values: str | float
  ) -> None:
    """Adds an edit of `editing.by_name`."""
    self._add(spoken, "edit", edit=edit, place=list(place), values=list(values))

  def painted(
    self,
    spoken: Spoken,
    pictures: UInt8[np.ndarray, "n S S 3"],
    seed: int,
    **scores: float,
  ) -> None:
    """Adds pictures, by digests of their pixels."""
    self._add(
      spoken,
      "paint",
      count=len(pictures),
      seed=seed,
      pictures=[digest(picture) for picture in pictures],
      scores=scores,
    )

  def _add(self, spoken: Spoken, do: str, **what: Any) -> None:
    belief = graphs.to_json(spoken.belief)
    line = {"do": do, **what, "prompt": spoken.prompt, "belief": belief}
    replies.append(self.path, line)


class Replayed(NamedTuple):
  """A step that was done again.

  Attributes:
    line: number in the file.
    do: what was done.
    pictures: that were painted; None in other steps.
    same: whether prompt, belief and pictures are those of the trace.
  """

  line: int
  do: str
  pictures: UInt8[np.ndarray, "n S S 3"] | None
  same: bool


def replayed(
  path: str | Path, begin: Callable[[Begun], Spoken]
) -> Iterator[Replayed]:
  """Does all steps of a trace again.

  Args:
    path: of the trace.
    begin: begins a dialogue as the first step says.

  Raises:
    UserError: it is no trace, of another version, or a step fails.
  """
  spoken = None
  way_out = "it is no trace of a dialogue"
  for number, step in json_files.read_lines(path, _Step, way_out, cut=True):
    if spoken is None:
      begun = step.get("begun")
      if begun is None:
        raise UserError(f"{path}, line {number} does not begin a dialogue")
      if begun["version"] != VERSION:
        raise UserError(
          f"{path} is a trace of version {begun['version']}; this release reads"
          f" version {VERSION}"
        )
      spoken, pictures = begin(begun), None
    else:
      try:
        pictures = _again(spoken, step)
      except (KeyError, TypeError) as error:
        raise UserError(
          f"{path}, line {number} lacks what {step['do']!r} needs: {error}"
        ) from error
    belief = json_files.parsed(json.dumps(graphs.to_json(spoken.belief)), Any)
    same = step["prompt"] == spoken.prompt and step["belief"] == belief
    if pictures is not None:
      same &= step.get("pictures") == [digest(picture) for picture in pictures]
    yield Replayed(number, step["do"], pictures, same)
  if spoken is None:
    raise UserError(f"{path} is empty: {way_out}")


def _again(spoken: Spoken, step: _Step) -> np.ndarray | None:
  match step["do"]:
    case "answer":
      question = Question(
        Place(*step["place"]), step["question"], (), step["value"]
      )
      spoken.answer(question, step["text"])
    case "say":
      spoken.say(step["text"])
    case "undo":
      spoken.undo()
    case "edit":
      place = Place(*step["place"])
      spoken.edit(editing.by_name(step["edit"], place, *step["values"]))
    case "paint":
      return spoken.generate(step["count"], step["seed"])
    case other:
      raise KeyError(f"there is no step {other!r}")
  return None


def digest(picture: UInt8[np.ndarray, "H W 3"]) -> str:
  """Of the pixels and their shape."""
  found = hashlib.sha256(repr(picture.shape).encode())
  found.update(np.ascontiguousarray(picture).tobytes())
  return found.hexdigest()

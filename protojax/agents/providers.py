"""Models that answer for others: what one must do, and how it is asked.

  openai_http.py  a server that speaks the protocol of OpenAI
  gemini.py       Google's service
  embedded.py     the embedded world: lexicon, counts and renderer, offline
  recorded.py     what another one has answered before
  human.py        a person at the terminal

A provider of language is asked for a text (`tagged`) or for JSON of a type
(`structured`). Whatever it answers is checked; what is wrong is told to it, and
asked for once more.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import queue
import re
import threading
import typing
from typing import Any, Literal, Protocol, TypedDict, TypeVar, runtime_checkable

from jaxtyping import Float, UInt8
import numpy as np

from protojax import json_files
from protojax.agents.graph import Graph
from protojax.shown import shown
from protojax.types import UserError

Item = TypeVar("Item")
Made = TypeVar("Made")


class Message(TypedDict):
  """A part of what a provider of language is told."""

  role: Literal["system", "user", "assistant"]
  content: str


@runtime_checkable
class LLMProvider(Protocol):
  """Answers messages with texts."""

  @property
  def name(self) -> str:
    """Of provider and model, for messages and files."""
    ...

  def generate(
    self,
    messages: Sequence[Message],
    *,
    json_schema: Mapping[str, Any] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    n: int = 1,
  ) -> list[str]:
    """The texts of n answers.

    Args:
      messages: the last one is answered.
      json_schema: of the JSON that the text has to be.
      temperature: 0 takes the likeliest words.
      seed: of the first answer; the next ones have the next seeds.
      n: how many.

    Raises:
      UserError: there is no answer.
    """
    ...


@runtime_checkable
class ImageProvider(Protocol):
  """Makes pictures."""

  @property
  def name(self) -> str:
    """Of provider and model, for messages and files."""
    ...

  def generate(
    self, prompt: str | Graph, n: int, seed: int, size: int
  ) -> UInt8[np.ndarray, "n S S 3"]:
    """n pictures of what a prompt, or a belief, says, S x S pixels.

    Raises:
      UserError: there are none.
    """
    ...


@runtime_checkable
class VQAProvider(Protocol):
  """Judges what pictures show."""

  @property
  def name(self) -> str:
    """Of provider and model, for messages and files."""
    ...

  def p_yes(
    self, images: UInt8[np.ndarray, "n H W 3"], texts: Sequence[str]
  ) -> Float[np.ndarray, " n"]:
    """How probable it is that each picture shows what its text says.

    Raises:
      UserError: there is no answer.
    """
    ...


@runtime_checkable
class EmbedProvider(Protocol):
  """Gives vectors of texts."""

  @property
  def name(self) -> str:
    """Of provider and model, for messages and files."""
    ...

  def text(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """A vector of each text, of length 1.

    Raises:
      UserError: there is no answer.
    """
    ...


@dataclasses.dataclass
class Usage:
  """What providers were asked so far; counted by several threads."""

  requests: int = 0
  retries: int = 0
  repairs: int = 0
  remembered: int = 0
  words_in: int = 0
  words_out: int = 0
  pictures: int = 0
  _lock: threading.Lock = dataclasses.field(
    default_factory=threading.Lock, repr=False, compare=False
  )

  def add(self, **counts: int) -> None:
    """Adds to the counters of these names."""
    with self._lock:
      for name, count in counts.items():
        setattr(self, name, getattr(self, name) + count)

  def __str__(self) -> str:
    return (
      f"{self.requests} requests, {self.retries} of them again,"
      f" {self.repairs} to repair an answer; {self.remembered} were remembered;"
      f" {self.words_in} tokens in, {self.words_out} out,"
      f" {self.pictures} pictures"
    )


def schema(expected: Any) -> dict[str, Any]:
  """The JSON schema of a type of `json_files`, every key of it required."""
  origin, of = typing.get_origin(expected), typing.get_args(expected)
  if typing.is_typeddict(expected):
    hints = typing.get_type_hints(expected)
    return {
      "type": "object",
      "properties": {name: schema(kind) for name, kind in hints.items()},
      "required": list(hints),
      "additionalProperties": False,
    }
  if origin is list:
    return {"type": "array", "items": schema(of[0])}
  if origin is Literal:
    return {"type": "string", "enum": list(of)}
  return {"type": _NAMES[expected]}


_NAMES = {str: "string", float: "number", int: "integer", bool: "boolean"}


def structured(
  llm: LLMProvider,
  messages: Sequence[Message],
  expected: Any,
  read: Callable[[Any], Made] = lambda found: found,
  seed: int = 0,
  usage: Usage | None = None,
) -> Made:
  """What a provider answers, as JSON of a type.

  Args:
    llm: is asked, and once more if the answer is wrong.
    messages: what is asked.
    expected: a TypedDict.
    read: makes of it what is returned; raises a UserError if it is wrong.
    seed: of the answer.
    usage: counts repairs.

  Raises:
    UserError: there is no answer, or both are wrong.
  """

  def parse(text: str) -> Made:
    # Some put the JSON between words or fences.
    found = text[text.find("{") : text.rfind("}") + 1] or text
    return read(json_files.parsed(found, expected))

  form = schema(expected)
  # Not every server has schemas; all have words.
  *others, asked = messages
  words = f"{asked['content']}\n\nAnswer with JSON of this schema: "
  last: Message = {"role": "user", "content": words + json.dumps(form)}
  messages = [*others, last]
  way_out = "Answer again, with the JSON that was asked for and nothing else."
  return _repaired(llm, messages, parse, way_out, form, seed, usage)


def tagged(
  llm: LLMProvider,
  messages: Sequence[Message],
  tag: str,
  seed: int = 0,
  usage: Usage | None = None,
) -> str:
  """The text that a provider puts between <tag> and </tag>; may be empty.

  Raises:
    UserError: there is no answer, or no such text in two of them.
  """

  def parse(text: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    if not found:
      raise UserError(f"has nothing between <{tag}> and </{tag}>")
    return " ".join(found[-1].split())

  way_out = f"Answer again, between <{tag}> and </{tag}>."
  return _repaired(llm, messages, parse, way_out, None, seed, usage)


def _repaired(llm, messages, parse, way_out, form, seed, usage):
  """What `parse` makes of an answer; a wrong one is asked for once more."""
  (text,) = llm.generate(messages, json_schema=form, seed=seed)
  try:
    return parse(text)
  except UserError as error:
    if usage is not None:
      usage.add(repairs=1)
    told: list[Message] = [
      *messages,
      {"role": "assistant", "content": text},
      {"role": "user", "content": f"Your answer {error}. {way_out}"},
    ]
  (text,) = llm.generate(told, json_schema=form, seed=seed)
  try:
    return parse(text)
  except UserError as error:
    raise UserError(
      f"{llm.name} was asked twice, and its answer {error}: {shown(text[:80])}"
    ) from error


def together(
  work: Callable[[Item], Made], items: Sequence[Item], at_once: int
) -> list[Made]:
  """What the work makes of each item, so many of them at a time.

  The threads do not outlive the program: Ctrl-C need not wait for a server.

  Raises:
    BaseException: the first one that the work raised, in the order of items.
  """
  left: queue.SimpleQueue[int] = queue.SimpleQueue()
  for i in range(len(items)):
    left.put(i)
  made: dict[int, Made] = {}
  failed: dict[int, BaseException] = {}

  def run() -> None:
    while not failed:
      try:
        i = left.get_nowait()
      except queue.Empty:
        return
      try:
        made[i] = work(items[i])
      except BaseException as error:
        failed[i] = error

  threads = [
    threading.Thread(target=run, daemon=True)
    for _ in range(min(at_once, len(items)))
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  if failed:
    raise failed[min(failed)]
  return [made[i] for i in range(len(items))]

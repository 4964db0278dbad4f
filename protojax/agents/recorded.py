"""What providers have answered, kept in a file: a memory, and a cassette.

What was asked before is not asked again, so that a dialogue that goes on costs
nothing twice. Without the provider it answers alone: a dialogue is replayed, or
tested, without a model.

A line for each answer: {"kind": "text", "of": the provider's name, "key": a
digest of what was asked, "answer": ...}.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
from pathlib import Path
import threading
from typing import Any, Generic, Literal, TypedDict, TypeVar

from jaxtyping import Float, UInt8
import numpy as np

from protojax import json_files
from protojax.agents import graph as graphs
from protojax.agents import pictures, replies
from protojax.agents.graph import Graph
from protojax.agents.providers import (
  ImageProvider,
  LLMProvider,
  Message,
  Usage,
  VQAProvider,
)
from protojax.shown import shown
from protojax.types import UserError

Kind = Literal["text", "pictures", "yes"]


class _Line(TypedDict):
  kind: Kind
  of: str
  key: str
  answer: Any


class Recording:
  """The file of answers.

  Attributes:
    usage: counts what was remembered.
  """

  def __init__(self, path: str | Path, usage: Usage | None = None):
    """Reads the file, if it is there.

    Raises:
      UserError: it is no recording.
    """
    self.path = Path(path)
    self.usage = usage or Usage()
    self._lock = threading.Lock()
    self._known: dict[str, Any] = {}
    self._names: dict[Kind, str] = {}
    if self.path.exists():
      way_out = "it is no recording of a provider"
      lines = json_files.read_lines(self.path, _Line, way_out, cut=True)
      for _, line in lines:
        self._known[line["key"]] = line["answer"]
        self._names[line["kind"]] = line["of"]

  def name(self, kind: Kind) -> str:
    """Of the provider that gave answers of a kind last; "" if none did."""
    return self._names.get(kind, "")

  def answer(
    self, kind: Kind, of: str, asked: Any, ask: Callable[[], Any] | None
  ) -> Any:
    """What was answered, or is now.

    Args:
      kind: of the answer.
      of: name of the provider.
      asked: JSON; what the answer depends on.
      ask: the provider; None if it is not there.

    Raises:
      UserError: it was never asked, and is not there.
    """
    text = json.dumps([kind, of, asked], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    if key in self._known:
      self.usage.add(remembered=1)
      return self._known[key]
    if ask is None:
      raise UserError(
        f"{self.path} has no answer of {of} to {shown(text[-80:])}: it was"
        " recorded in another dialogue, or not to its end"
      )
    found = ask()
    line = {"kind": kind, "of": of, "key": key, "answer": found}
    with self._lock:
      self._known[key] = found
      self._names[kind] = of
      replies.append(self.path, line)
    return found


_Inner = TypeVar("_Inner", bound=LLMProvider | ImageProvider | VQAProvider)


@dataclasses.dataclass(frozen=True)
class _Recorded(Generic[_Inner]):
  """A provider that asks another one at most once.

  Attributes:
    recording: what it has answered.
    name: of the provider whose answers these are.
    inner: the provider, or None if it is not there.
  """

  recording: Recording
  name: str
  inner: _Inner | None = None

  def answered(
    self,
    kind: Kind,
    asked: Any,
    ask: Callable[[_Inner], list[Any]],
    n: int,
    what: str,
  ) -> list[Any]:
    """What was answered, or is now.

    Args:
      kind: of the answer.
      asked: JSON; what the answer depends on.
      ask: asks the provider.
      n: length of the answer.
      what: one of them is, in a message.

    Raises:
      UserError: it was never asked and is not there, or is no answer.
    """
    inner = self.inner
    again = None if inner is None else functools.partial(ask, inner)
    found = self.recording.answer(kind, self.name, asked, again)
    if not isinstance(found, list) or len(found) != n:
      raise UserError(f"{self.recording.path} has no {what} where one belongs")
    return found


class LLM(_Recorded[LLMProvider]):
  """Language."""

  def generate(
    self,
    messages: Sequence[Message],
    *,
    json_schema: Mapping[str, Any] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    n: int = 1,
  ) -> list[str]:
    """See `providers.LLMProvider`."""

    def ask(inner: LLMProvider) -> list[str]:
      return inner.generate(
        messages,
        json_schema=json_schema,
        temperature=temperature,
        seed=seed,
        n=n,
      )

    asked = [list(messages), json_schema, temperature, seed, n]
    return [str(x) for x in self.answered("text", asked, ask, n, "text")]


class Images(_Recorded[ImageProvider]):
  """Pictures."""

  def generate(
    self, prompt: str | Graph, n: int, seed: int, size: int
  ) -> UInt8[np.ndarray, "n S S 3"]:
    """See `providers.ImageProvider`."""

    def ask(inner: ImageProvider) -> list[str]:
      return [pictures.sent(x) for x in inner.generate(prompt, n, seed, size)]

    of = graphs.to_json(prompt) if isinstance(prompt, Graph) else prompt
    found = self.answered("pictures", [of, n, seed, size], ask, n, "picture")
    path = str(self.recording.path)
    return pictures.decoded(path, [str(x) for x in found], n, size)


class VQA(_Recorded[VQAProvider]):
  """Judgements of pictures."""

  def p_yes(
    self, images: UInt8[np.ndarray, "n H W 3"], texts: Sequence[str]
  ) -> Float[np.ndarray, " n"]:
    """See `providers.VQAProvider`."""

    def ask(inner: VQAProvider) -> list[float]:
      return [float(p) for p in inner.p_yes(images, texts)]

    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    asked = [digest, list(images.shape), list(texts)]
    found = self.answered("yes", asked, ask, len(texts), "judgement")
    return np.array(found, float)

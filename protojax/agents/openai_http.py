"""Models behind a server that speaks the protocol of OpenAI.

Many programs that run models speak it. Chat completions, images, embeddings;
of a JSON schema, of log-probabilities and of a seed only as much as the server
knows.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, TypedDict

from jaxtyping import Float, UInt8
import numpy as np

from protojax.agents import pictures
from protojax.agents.graph import Graph
from protojax.agents.providers import Message
from protojax.agents.remote import Remote
from protojax.agents.replies import checked, likely, unit
from protojax.types import UserError

KEY_VARIABLE = "OPENAI_API_KEY"
BASE_URL = "https://api.openai.com/v1"


class _Text(TypedDict):
  content: str | None


class _Choice(TypedDict):
  message: _Text


class _Completion(TypedDict):
  choices: list[_Choice]


class _Image(TypedDict):
  b64_json: str


class _Images(TypedDict):
  data: list[_Image]


class _Vector(TypedDict):
  embedding: list[float]


class _Vectors(TypedDict):
  data: list[_Vector]


def remote(base_url: str, **limits: Any) -> Remote:
  """A server; limits are those of `Remote`."""
  return Remote(base_url or BASE_URL, KEY_VARIABLE, **limits)


@dataclasses.dataclass(frozen=True)
class _Model:
  remote: Remote
  model: str

  @property
  def name(self) -> str:
    """Of provider and model."""
    return f"openai_http {self.model}"

  def asked(
    self, path: str, content: Mapping[str, Any], optional: Mapping[str, Any]
  ) -> dict[str, Any]:
    """All of an answer; its tokens are counted."""
    found = self.remote.post(path, content, optional)
    self.remote.count(found.get("usage"), "prompt_tokens", "completion_tokens")
    return found


@dataclasses.dataclass(frozen=True)
class LLM(_Model):
  """Language, by chat completions."""

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
    content = {"model": self.model, "messages": list(messages)}
    form = {"name": "answer", "schema": json_schema, "strict": True}
    optional: dict[str, Any] = {"temperature": temperature}
    if json_schema is not None:
      optional["response_format"] = {"type": "json_schema", "json_schema": form}
    # Not every server makes several at once.
    return [
      self._one(content, {**optional, "seed": seed + i}) for i in range(n)
    ]

  def _one(
    self, content: Mapping[str, Any], optional: Mapping[str, Any]
  ) -> str:
    found = self.asked("chat/completions", content, optional)
    choices = checked(self.name, found, _Completion)["choices"]
    text = choices[0]["message"]["content"] if choices else None
    if not text:
      raise UserError(f"{self.name} answers nothing")
    return text


@dataclasses.dataclass(frozen=True)
class Images(_Model):
  """Pictures, by the endpoint of images."""

  def generate(
    self, prompt: str | Graph, n: int, seed: int, size: int
  ) -> UInt8[np.ndarray, "n S S 3"]:
    """See `providers.ImageProvider`; the protocol has no seed."""
    text = prompt.prompt if isinstance(prompt, Graph) else prompt
    content = {"model": self.model, "prompt": text, "n": n}
    optional = {"size": f"{size}x{size}", "response_format": "b64_json"}
    found = self.remote.post("images/generations", content, optional)
    self.remote.usage.add(pictures=n)
    data = checked(self.name, found, _Images)["data"]
    return pictures.decoded(self.name, [x["b64_json"] for x in data], n, size)


@dataclasses.dataclass(frozen=True)
class VQA(_Model):
  """Yes or no, by the probabilities of the first word, where there are any."""

  def p_yes(
    self, images: UInt8[np.ndarray, "n H W 3"], texts: Sequence[str]
  ) -> Float[np.ndarray, " n"]:
    """See `providers.VQAProvider`."""
    return pictures.judged(self.name, images, texts, self._words)

  def _words(self, image: str, question: str) -> dict[str, float]:
    parts = [
      {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{image}"},
      },
      {"type": "text", "text": question},
    ]
    content = {
      "model": self.model,
      "messages": [{"role": "user", "content": parts}],
    }
    optional = {"logprobs": True, "top_logprobs": 5, "max_tokens": 1}
    found = self.asked("chat/completions", content, optional)
    choices = checked(self.name, found, _Completion)["choices"]
    if not choices:
      raise UserError(f"{self.name} answers nothing")
    path = "choices", 0, "logprobs", "content", 0, "top_logprobs"
    said = choices[0]["message"]["content"] or ""
    return likely(found, path, "logprob") or {said: 1.0}


@dataclasses.dataclass(frozen=True)
class Embed(_Model):
  """Vectors of texts."""

  def text(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """See `providers.EmbedProvider`."""
    content = {"model": self.model, "input": list(texts)}
    found = self.asked("embeddings", content, {})
    data = checked(self.name, found, _Vectors)["data"]
    return unit(self.name, [x["embedding"] for x in data], len(texts))

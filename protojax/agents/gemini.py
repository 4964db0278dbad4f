"""Google's Gemini and Imagen, by their REST interface."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NotRequired, TypedDict

from jaxtyping import Float, UInt8
import numpy as np

from protojax.agents import pictures
from protojax.agents.graph import Graph
from protojax.agents.providers import Message
from protojax.agents.remote import Remote
from protojax.agents.replies import checked, likely, unit
from protojax.types import UserError

KEY_VARIABLE = "GEMINI_API_KEY"
BASE_URL = "https://generativelanguage.googleapis.com/v1beta"


class _Inline(TypedDict):
  data: str


class _Part(TypedDict):
  text: NotRequired[str]
  inlineData: NotRequired[_Inline]


class _Parts(TypedDict):
  parts: NotRequired[list[_Part]]


class _Candidate(TypedDict):
  content: NotRequired[_Parts]
  finishReason: NotRequired[str]


class _Content(TypedDict):
  candidates: NotRequired[list[_Candidate]]


class _Prediction(TypedDict):
  bytesBase64Encoded: str


class _Predictions(TypedDict):
  predictions: list[_Prediction]


class _Values(TypedDict):
  values: list[float]


class _Embeddings(TypedDict):
  embeddings: list[_Values]


def remote(base_url: str, **limits: Any) -> Remote:
  """The service; the key stands in a header, never in an address."""
  return Remote(
    base_url or BASE_URL,
    KEY_VARIABLE,
    key_header="x-goog-api-key",
    key_form="{}",
    **limits,
  )


@dataclasses.dataclass(frozen=True)
class _Model:
  remote: Remote
  model: str

  @property
  def name(self) -> str:
    """Of provider and model."""
    return f"gemini {self.model}"

  def asked(
    self, content: Mapping[str, Any], optional: Mapping[str, Any]
  ) -> tuple[list[_Part], Any]:
    """The parts of an answer, and all of it."""
    found = self.remote.post(
      f"models/{self.model}:generateContent",
      content,
      {"generationConfig": dict(optional)},
    )
    used = found.get("usageMetadata")
    self.remote.count(used, "promptTokenCount", "candidatesTokenCount")
    candidates = checked(self.name, found, _Content).get("candidates", [])
    if not candidates:
      raise UserError(f"{self.name} answers nothing")
    parts = candidates[0].get("content", {}).get("parts", [])
    if not parts:
      why = candidates[0].get("finishReason", "no reason given")
      raise UserError(f"{self.name} answers nothing: {why[:40]}")
    return parts, found["candidates"][0]


@dataclasses.dataclass(frozen=True)
class LLM(_Model):
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
    roles = {"user": "user", "assistant": "model"}
    content: dict[str, Any] = {
      "contents": [
        {"role": roles[m["role"]], "parts": [{"text": m["content"]}]}
        for m in messages
        if m["role"] != "system"
      ]
    }
    rules = [{"text": m["content"]} for m in messages if m["role"] == "system"]
    if rules:
      content["systemInstruction"] = {"parts": rules}
    optional: dict[str, Any] = {"temperature": temperature}
    if json_schema is not None:
      optional["responseMimeType"] = "application/json"
      optional["responseSchema"] = _form(json_schema)
    return [
      self._one(content, {**optional, "seed": seed + i}) for i in range(n)
    ]

  def _one(
    self, content: Mapping[str, Any], optional: Mapping[str, Any]
  ) -> str:
    parts, _ = self.asked(content, optional)
    return "".join(part.get("text", "") for part in parts)


@dataclasses.dataclass(frozen=True)
class Images(_Model):
  """Pictures: Imagen by its predictions, others in their answers."""

  def generate(
    self, prompt: str | Graph, n: int, seed: int, size: int
  ) -> UInt8[np.ndarray, "n S S 3"]:
    """See `providers.ImageProvider`."""
    text = prompt.prompt if isinstance(prompt, Graph) else prompt
    made = self._predicted if self.model.startswith("imagen") else self._drawn
    sent = made(text, n, seed)
    self.remote.usage.add(pictures=n)
    return pictures.decoded(self.name, sent, n, size)

  def _predicted(self, text: str, n: int, seed: int) -> list[str]:
    found = self.remote.post(
      f"models/{self.model}:predict",
      {"instances": [{"prompt": text}], "parameters": {"sampleCount": n}},
      # A watermark and a seed exclude each other.
      {"parameters": {"sampleCount": n, "seed": seed, "addWatermark": False}},
    )
    sent = checked(self.name, found, _Predictions)["predictions"]
    return [x["bytesBase64Encoded"] for x in sent]

  def _drawn(self, text: str, n: int, seed: int) -> list[str]:
    content = {
      "contents": [{"role": "user", "parts": [{"text": text}]}],
      "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
    }
    found = []
    for i in range(n):
      optional = {"responseModalities": ["TEXT", "IMAGE"], "seed": seed + i}
      parts, _ = self.asked(content, optional)
      found += [x["inlineData"]["data"] for x in parts if "inlineData" in x][:1]
    return found


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
      {"inlineData": {"mimeType": "image/png", "data": image}},
      {"text": question},
    ]
    content = {"contents": [{"role": "user", "parts": parts}]}
    optional = {"responseLogprobs": True, "logprobs": 5, "temperature": 0.0}
    said, found = self.asked(content, optional)
    path = "logprobsResult", "topCandidates", 0, "candidates"
    first = likely(found, path, "logProbability")
    return first or {said[0].get("text", ""): 1.0}


@dataclasses.dataclass(frozen=True)
class Embed(_Model):
  """Vectors of texts."""

  def text(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """See `providers.EmbedProvider`."""
    model = f"models/{self.model}"
    requests = [
      {"model": model, "content": {"parts": [{"text": text}]}} for text in texts
    ]
    found = self.remote.post(
      f"{model}:batchEmbedContents", {"requests": requests}
    )
    sent = checked(self.name, found, _Embeddings)["embeddings"]
    return unit(self.name, [x["values"] for x in sent], len(texts))


def _form(json_schema: Mapping[str, Any]) -> dict[str, Any]:
  """A schema as the service has them: fewer words, types in capitals."""
  found = {k: v for k, v in json_schema.items() if k != "additionalProperties"}
  found["type"] = found["type"].upper()
  if "items" in found:
    found["items"] = _form(found["items"])
  if "properties" in found:
    found["properties"] = {k: _form(v) for k, v in found["properties"].items()}
  return found

"""Words -> vectors: tokenisers, text towers, prompts, learned tables.

A text tower is found by name: a module of this package that declares `NAMES`
and `load(name, vocabulary)` has towers, and no table lists it.

  encoder = text.load("minilm")
  params = encoder.load()
  states = encoder.encode(params, text.prompts("A photo of a {}.", names))

`states.final` is a vector for each prompt, `states.pooled` one behind each
block, `states.tokens` one for each token. A tower that no stage trains is an
asset: see `Frozen`.
"""

from collections.abc import Sequence
import dataclasses
import importlib
from typing import Any

import jax
import numpy as np

from protojax import finding
from protojax.text.encoder import States, TextEncoder, Tokens
from protojax.types import PyTree, UserError

__all__ = [
  "Frozen",
  "States",
  "TextEncoder",
  "Tokens",
  "load",
  "names",
  "prompts",
]

_SETTING = "config.text.name"


def names() -> tuple[str, ...]:
  """Names of all text towers, sorted."""
  return tuple(sorted(_modules()))


def load(name: str, vocabulary: str = "") -> TextEncoder:
  """The text encoder of that name, without weights.

  Args:
    name: one of `names()`.
    vocabulary: file of its tokeniser's words; '' takes those that come as a
      package.

  Raises:
    UserError: there is no such tower, or its vocabulary is not there.
  """
  modules = _modules()
  if name not in modules:
    raise finding.unknown(_SETTING, name, modules)
  return modules[name].load(name, vocabulary)


def prompts(template: str, words: Sequence[str]) -> tuple[str, ...]:
  """Prompts from a template such as "A photo of a {}."; {} is the word.

  Underscores of a word become blanks.

  Raises:
    UserError: the template has not exactly one {}.
  """
  if template.count("{}") != 1:
    raise UserError(
      f"the template {template!r} of a prompt has {template.count('{}')} {{}};"
      " expected one, in the place of the word, as in 'A photo of a {}.'"
    )
  begin, _, end = template.partition("{}")
  return tuple(f"{begin}{word.replace('_', ' ')}{end}" for word in words)


@dataclasses.dataclass(frozen=True)
class Frozen:
  """Vectors of words by a tower that is not trained: the tree of an asset.

  Attributes:
    encoder: the tower.
    weights: see `TextEncoder.load`.
    texts: the prompts.
  """

  encoder: TextEncoder
  weights: str
  texts: tuple[str, ...]

  def make(self) -> PyTree:
    """{"pooled": [b n w], "final": [n d]} of the texts, float32."""
    states = self.encoder.encode(self.encoder.load(self.weights), self.texts)
    return {
      "pooled": np.float32(states.pooled),
      "final": np.float32(states.final),
    }

  def shapes(self) -> PyTree:
    """The shapes of `make`; reads nothing."""
    e, count = self.encoder, len(self.texts)
    return {
      "pooled": jax.ShapeDtypeStruct((e.blocks, count, e.width), np.float32),
      "final": jax.ShapeDtypeStruct((count, e.channels), np.float32),
    }


def _modules() -> dict[str, Any]:
  """Name of a tower -> its module."""
  found = {}
  for name in finding.names(__name__, "NAMES"):
    module = importlib.import_module(f"{__name__}.{name}")
    found.update(dict.fromkeys(module.NAMES, module))
  return found

"""A trained judge of pictures of the embedded world, and what it is trained of.

It answers for each cell of `world` whether a picture shows it, and gives each
picture a vector. VQAScore (Lin et al., arXiv 2404.01291) of a caption is the
product of P(yes) over its facts, or their geometric mean.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, UInt8
import numpy as np

from protojax.agents import language, scenes
from protojax.agents import world as worlds
from protojax.agents.facts import NO
from protojax.agents.scenes import Fact, Grammar
from protojax.types import UserError

# Cells that are facts of a scene: background and style are always there.
_NUMBERS = np.arange(worlds.CELLS)
_WHOLE = (len(scenes.TYPES) <= _NUMBERS) & (worlds.SIZES.entities > _NUMBERS)
FACTS = worlds.EXISTS & ~_WHOLE
_AT_ONCE = 64  # pictures
_LEAST = 1e-6  # of an answer, in a geometric mean


class Scores(NamedTuple):
  """How well pictures show facts.

  Attributes:
    product: of P(yes) over the facts.
    geometric: their geometric mean.
    recall: share of the facts with P(yes) above 1/2.
  """

  product: Float[np.ndarray, " n"]
  geometric: Float[np.ndarray, " n"]
  recall: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Judge:
  """A `providers.VQAProvider`.

  Attributes:
    name: of the run that trained it.
    seen: pictures -> P(yes) of every cell of `world` [n k], and vectors of
      length 1 [n v].
  """

  name: str
  seen: Callable[
    [UInt8[np.ndarray, "n S S 3"]],
    tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n v"]],
  ]

  def p_yes(
    self, images: UInt8[np.ndarray, "n H W 3"], texts: Sequence[str]
  ) -> Float[np.ndarray, " n"]:
    """How probable it is that each picture shows what its text says.

    Raises:
      UserError: a text says nothing of this world.
    """
    p, _ = self.seen(images)
    return np.array([_of_text(*x) for x in zip(p, texts, strict=True)])


def in_parts(
  seen: Callable, images: UInt8[np.ndarray, "n S S 3"]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n v"]]:
  """What `seen` makes of parts of one size, so that it is compiled once."""
  found = []
  for first in range(0, len(images), _AT_ONCE):
    part = images[first : first + _AT_ONCE]
    left = _AT_ONCE - len(part)
    padded = np.pad(part, ((0, left), (0, 0), (0, 0), (0, 0)))
    found.append([x[: len(part)] for x in seen(padded)])
  p, vectors = zip(*found, strict=True)
  return np.concatenate(p), np.concatenate(vectors)


def _of_text(p: Float[np.ndarray, " k"], text: str) -> float:
  facts = language.read(text).facts
  if not facts:
    raise UserError(f"{text!r} says nothing that the embedded world has")
  return float(np.prod([of_fact(p, fact) for fact in facts]))


def of_fact(p: Float[np.ndarray, " k"], fact: Fact) -> float:
  """The probability of a fact, by that of every cell."""
  found = float(p[worlds.cell(fact.place, fact.value)])
  absent = not fact.place.name and fact.value == NO
  return found if fact.holds != absent else 1 - found


def scores(
  p: Float[np.ndarray, "n k"], facts: Bool[np.ndarray, "n k"]
) -> Scores:
  """Scores of pictures by P(yes) of every cell and the facts wanted of each."""
  there = np.where(facts, p, 1.0)
  count = facts.sum(1)
  logs = np.log(np.maximum(there, _LEAST)).sum(1)
  return Scores(
    there.prod(1),
    np.exp(logs / np.maximum(count, 1)),
    ((p > 0.5) & facts).sum(1) / np.maximum(count, 1),
  )


class Trained(NamedTuple):
  """What a run has trained, in place of the lexicon and renderer alone.

  Attributes:
    grammar: counted over its training scenes.
    learned: weights of the policy "learned"; see `selfplay.fit`.
    judge: of pictures.
  """

  grammar: Grammar
  learned: Float[np.ndarray, " x"]
  judge: Judge

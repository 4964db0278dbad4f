"""Pictures of self-play, judged: what a user would have seen after each turn.

Dialogues with truthful users are said again from their questions; after chosen
turns a picture is painted, as `Dialogue.drawn` would, and scored by a trained
judge against all facts of the goal.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.agents import judge, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.judge import Trained
from protojax.agents.scenes import Scenes
from protojax.agents.world import World
from protojax.datasets.dialogue_pictures import paint
from protojax.types import Array

_AT_ONCE = 50  # dialogues
_PICTURES = 200  # painted at once
_E, _A, _R, _V = worlds.SIZES
_T = len(scenes.TYPES)


class Shown(NamedTuple):
  """Scores of the pictures of each goal [g] after some turns [t].

  Attributes:
    product: VQAScore of the goal: the product of P(yes) of its facts.
    geometric: their geometric mean.
    seen: share of the facts with P(yes) above 1/2.
    exact: share of the facts that the painted scene has.
    likeness: cosine of the vectors of picture and goal.
  """

  product: Float[np.ndarray, "g t"]
  geometric: Float[np.ndarray, "g t"]
  seen: Float[np.ndarray, "g t"]
  exact: Float[np.ndarray, "g t"]
  likeness: Float[np.ndarray, "g t"]


def shown(
  trained: Trained,
  world: World,
  goals: Scenes,
  questions: Int[np.ndarray, "g s"],
  turns: Sequence[int],
  seed: int = 0,
  yes_or_no: bool = False,
) -> Shown:
  """Scores the pictures of dialogues.

  Args:
    trained: judges.
    world: of the trained grammar.
    goals: what the users want.
    questions: `selfplay.Curves.question` of truthful users.
    turns: after how many questions a picture is painted, ascending.
    seed: of what was not said.
    yes_or_no: questions are whether a value is right, as those of "binary".
  """
  found = drawn(trained, world, goals, questions, turns, seed, yes_or_no)
  p, vectors = trained.judge.seen(pictures(found))
  _, wanted = trained.judge.seen(pictures(goals))
  own = worlds.cells(goals) & judge.FACTS
  facts = np.repeat(own, len(turns), axis=0)
  scores = judge.scores(p, facts)
  exact = (worlds.cells(found) & facts).sum(1) / facts.sum(1)
  alike = (vectors * np.repeat(wanted, len(turns), axis=0)).sum(1)
  every = scores.product, scores.geometric, scores.recall, exact, alike
  return Shown(*(x.reshape(goals.size, len(turns)) for x in every))


def pictures(wanted: Scenes) -> UInt8[np.ndarray, "n S S 3"]:
  """Pictures of any number of scenes, compiled for one number."""
  found = []
  for first in range(0, wanted.size, _PICTURES):
    at = np.arange(first, first + _PICTURES).clip(max=wanted.size - 1)
    part = paint(jax.tree.map(lambda x, at=at: x[at], wanted))
    found.append(part[: wanted.size - first])
  return np.concatenate(found)


def drawn(
  trained: Trained,
  world: World,
  goals: Scenes,
  questions: Int[np.ndarray, "g s"],
  turns: Sequence[int],
  seed: int,
  yes_or_no: bool,
) -> Scenes:
  """Scenes as they are believed after chosen turns, dialogue by dialogue.

  A training scene that agrees with as much of what was said as any, changed to
  what was said; positions are those of that scene.
  """
  keys = jax.random.split(jax.random.key(seed), goals.size)
  said = _replayed(
    world, jnp.asarray(worlds.cells(goals)), questions, keys, yes_or_no
  )
  at = np.asarray(turns)
  yes, no, chosen = (
    x[:, at].reshape(-1, *x.shape[2:]) for x in jax.device_get(said)
  )
  found = jax.tree.map(lambda x: np.array(x[chosen]), trained.grammar.scenes)
  there = (found.there | yes[:, :_T]) & ~no[:, :_T]
  values = yes[:, _E : _E + _E * _A * _V].reshape(-1, _E, _A, _V)
  known, code = values.any(-1), values.argmax(-1)
  attributes = np.where(known[:, :_T], code[:, :_T], found.attributes)
  whole = np.where(known[:, _T:, 0], code[:, _T:, 0], found.whole)
  return Scenes(
    there, attributes.astype(np.int32), whole.astype(np.int32), found.at
  )


@functools.partial(jax.jit, static_argnames="yes_or_no")
def _replayed(
  world: World,
  goals: Bool[Array, "g k"],
  questions: Int[Array, "g s"],
  keys: Array,
  yes_or_no: bool,
) -> tuple[Array, Array, Array]:
  """What is true and what is not [g t k], and a training scene [g t].

  Of each turn t from 0: the first prompt alone.
  """

  def after(told, key):
    return told.yes, told.no, worlds.drawn(told, key)

  def one(goal, asked, key):
    def turn(told, given):
      question, key = given
      told = selfplay.answered(
        world, told, goal, question, yes_or_no, selfplay.TRUTHFUL, key
      )
      return told, after(told, key)

    told = worlds.first_told(world, goal[:_T])
    own = jax.random.split(key, len(asked) + 1)
    first = after(told, own[0])
    _, rest = jax.lax.scan(turn, told, (asked, own[1:]))
    return jax.tree.map(
      lambda x, more: jnp.concatenate([x[None], more]), first, rest
    )

  return jax.lax.map(
    lambda x: one(*x), (goals, questions, keys), batch_size=_AT_ONCE
  )

"""Dialogues with users who know the picture they want, many at once.

A goal is a scene. The first prompt names its things and nothing more; the agent
asks, the user answers of the goal, and after every answer it is measured how
well the agent knows the goal. All turns of many goals, by any policy, are one
compiled program.
"""

from collections.abc import Sequence
import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import choices
from protojax.agents import world as worlds
from protojax.agents.choices import FEATURES, Now
from protojax.agents.likelihood import LEAST
from protojax.agents.policies import NOTHING
from protojax.agents.scenes import Scenes
from protojax.agents.world import Told, World
from protojax.types import Array, ArrayLike, UserError

Policy = Literal[
  "ag1", "binary", "eig", "learned", "checklist", "random", "none"
]
POLICIES: Sequence[Policy] = get_args(Policy)
# Goals of one call: so many keep the arrays over scenes small.
_AT_ONCE = 100
_E, _A, _R, _V = worlds.SIZES
_T = _E - 2  # entities that may be missing


class User(NamedTuple):
  """How a user answers.

  Attributes:
    wrong: probability of an answer that is not true.
    silent: probability of "I don't know".
  """

  wrong: float = 0.0
  silent: float = 0.0


TRUTHFUL = User()


class Curves(NamedTuple):
  """Of each goal [g] after each turn [t], from 0: the first prompt alone.

  Attributes:
    question: what was asked in each turn [g s], one less than t; `NOTHING` if
      nothing was.
    weighted: `likelihood.negative_log` of the goal by importances, in nats.
    unweighted: the same, every fact counting 1.
    recall: share of the goal's facts that are true in a picture painted then.
    told: F1 of the facts that were told against those of the goal.
  """

  question: Int[np.ndarray, "g s"]
  weighted: Float[np.ndarray, "g t"]
  unweighted: Float[np.ndarray, "g t"]
  recall: Float[np.ndarray, "g t"]
  told: Float[np.ndarray, "g t"]


def play(
  world: World,
  goals: Scenes,
  policy: Policy,
  turns: int,
  seed: int = 0,
  user: User = TRUTHFUL,
  learned: Float[ArrayLike, " x"] | None = None,
) -> Curves:
  """Lets an agent ask of every goal.

  Args:
    world: of the agent's beliefs.
    goals: scenes that are not among those of the world.
    policy: what is asked.
    turns: questions of each dialogue, at the most.
    seed: of the pictures, the random questions and the user.
    user: of all goals.
    learned: what `fit` found; for the policy "learned" alone.

  Returns:
    Figures of each goal and turn.

  Raises:
    UserError: the policy "learned" without what it has learned.
  """
  if policy == "learned" and learned is None:
    raise UserError("the policy learned needs `learned`: see selfplay.fit")
  return _curves(world, goals, policy, turns, seed, user, learned)[0]


def fit(
  world: World, goals: Scenes, turns: int = 10, seed: int = 0
) -> Float[np.ndarray, " x"]:
  """Learns how much a question is worth, from dialogues of random questions.

  The worth of an unknown is a weighted sum of `choices.features`: the least
  squares fit to what `Curves.weighted` lost by the answer.

  Args:
    world: of the agent's beliefs.
    goals: other ones than those that are played for.
    turns: questions of each dialogue.
    seed: of the questions.
  """
  curves, features = _curves(world, goals, "any", turns, seed, TRUTHFUL, None)
  gained = curves.weighted[:, :-1] - curves.weighted[:, 1:]
  asked = curves.question != NOTHING
  return np.linalg.lstsq(features[asked], gained[asked], rcond=None)[0]


def _curves(world, goals, policy, turns, seed, user, learned):
  """`Curves`, and features of what was asked [g s x]."""
  world = jax.device_put(world)
  keys = jax.random.split(jax.random.key(seed), goals.size)
  weights = np.zeros(FEATURES) if learned is None else learned
  number = list(choices.CHOOSES).index(policy)
  goal = worlds.cells(goals)
  parts = []
  for first in range(0, goals.size, _AT_ONCE):
    # Filled up by the last goal, so that one program plays for any number.
    those = np.minimum(first + np.arange(_AT_ONCE), goals.size - 1)
    of_these = goal[those], keys[those], user, np.float32(weights), number
    parts.append(_played(world, *of_these, turns))
  features, asked, *figures = (
    np.concatenate(part, 1).swapaxes(0, 1)[: goals.size]
    for part in zip(*jax.device_get(parts), strict=True)
  )
  return Curves(asked[:, :-1], *figures), features[:, :-1]


@functools.partial(jax.jit, static_argnames="turns")
def _played(world, goal, keys, user, learned, policy, turns: int):
  """Features, questions and figures of some goals after each turn [t b].

  The policy is a number: to compile one program of all is cheaper than one of
  each.
  """
  names = list(choices.CHOOSES)
  yes_or_no = policy == names.index("binary")
  # Where nothing is asked, all stays as it was after the first prompt.
  played = jnp.where(policy == names.index("none"), 0, turns)

  def measured(goal, told, belief, asked, key):
    unknown = jnp.asarray(worlds.UNKNOWN)[jnp.maximum(asked, 0)]
    features = choices.features(world, belief)[unknown]
    return features, asked, *_figures(world, goal, told, belief, key)

  def answer(told, goal, asked, key):
    return answered(world, told, goal, asked, yes_or_no, user, key)

  def go(told, number):
    parts = jax.vmap(lambda key: _parts(key, number))(keys)
    asks, answers, paints = (parts[:, i] for i in range(3))
    belief = jax.vmap(lambda told: worlds.believe(world, told))(told)

    def ask(choose, told, belief, key):
      return choose(Now(world, told, belief, number, key, learned))

    chooses = [
      jax.vmap(functools.partial(ask, choose))
      for choose in choices.CHOOSES.values()
    ]
    asked = jax.lax.switch(policy, chooses, told, belief, asks)
    found = jax.vmap(measured)(goal, told, belief, asked, paints)
    return jax.vmap(answer)(told, goal, asked, answers), found

  def turn(last, number):
    last = jax.lax.cond(
      number <= played, lambda: go(last[0], number), lambda: last
    )
    return last, last[1]

  told = jax.vmap(lambda goal: worlds.first_told(world, goal[:_T]))(goal)
  features = jnp.zeros((len(goal), FEATURES))
  asked, figures = jnp.zeros(len(goal), jnp.int32), [jnp.zeros(len(goal))] * 4
  start = told, (features, asked, *figures)
  # The last one is asked for nothing: its figures are those after the turns.
  return jax.lax.scan(turn, start, jnp.arange(turns + 1))[1]


def _parts(key, turn):
  """Keys of a turn: of the question, the answer and the picture."""
  return jax.random.split(jax.random.fold_in(key, turn), 3)


def answered(
  world: World,
  told: Told,
  goal: Bool[Array, " k"],
  question: Int[Array, ""],
  yes_or_no: bool | Bool[Array, ""],
  user: User,
  key: Array,
) -> Told:
  """What was told after an answer.

  A thing that is not there is said to be missing, whatever was asked of it.

  Args:
    world: of the beliefs.
    told: before.
    goal: what is true of the goal.
    question: a number of `beliefs.place`, or `NOTHING`.
    yes_or_no: the question is whether this one value is right, and not which
      is.
    user: whether the answer is wrong, or missing.
    key: of the user.
  """
  errs, silent, other = jax.random.split(key, 3)
  asked = jnp.maximum(question, 0)
  unknown = jnp.asarray(worlds.UNKNOWN)[asked]
  needs = jnp.asarray(worlds.NEEDS)[unknown]
  missing = jnp.where(goal[needs[0]], needs[1], needs[0])
  there = goal[missing] & (asked >= _E)
  wrong = jax.random.bernoulli(errs, user.wrong)
  same = (jnp.asarray(worlds.UNKNOWN) == unknown) & worlds.EXISTS
  right = jnp.argmax(goal & same)
  other = jax.random.categorical(
    other, jnp.where(same & ~goal & ~told.no, 0.0, -jnp.inf)
  )
  value = jnp.where(wrong, other, right)
  cell = jnp.where(yes_or_no, asked, value)
  holds = jnp.where(yes_or_no, goal[asked] ^ wrong, True)
  # Of an appearance: of what is missing, its absence.
  cell = jnp.where(there, cell, missing)
  holds = jnp.where(there, holds, goal[missing] ^ (wrong & (asked < _E)))
  knows = ~jax.random.bernoulli(silent, user.silent)
  says = (question != NOTHING) & knows
  told = worlds.tell(world, told, jnp.where(says, cell, -1), holds)
  passes = (question != NOTHING) & ~knows
  passed = jnp.asarray(told.passed).at[unknown].max(passes)
  return told._replace(passed=passed)


def _figures(world, goal, told, belief, key) -> tuple[Array, ...]:
  """Those of `Curves` at one time."""
  appears = jnp.concatenate(
    [jnp.where(belief.weight > 0, belief.appears, 0), jnp.ones(_R)]
  )
  owner = jnp.asarray(worlds.NEEDS)[worlds.UNKNOWN]
  held = (appears[owner[:, 0]] > 0) & (appears[owner[:, 1]] > 0)
  p = jnp.where(held, worlds.probabilities(belief), 0.0)
  lost = -jnp.log(jnp.maximum(p, LEAST))
  weighted = jnp.sum(jnp.where(goal, worlds.importances(world) * lost, 0.0))
  unweighted = jnp.sum(jnp.where(goal, lost, 0.0))
  # Whole and style are always there, which is no fact.
  fact = goal & (
    (jnp.arange(worlds.CELLS) < _T) | (jnp.arange(worlds.CELLS) >= _E)
  )
  drawn = worlds.drawn(told, key)
  sure = jnp.zeros(worlds.UNKNOWNS, bool).at[worlds.UNKNOWN].max(told.yes)
  painted = jnp.where(
    sure[worlds.UNKNOWN],
    told.yes,
    (jnp.asarray(world.holds)[:, drawn] == 1) & ~told.no,
  )
  recall = jnp.sum(painted & fact) / jnp.sum(fact)
  said = jnp.sum(told.yes & fact)
  both = jnp.sum(told.yes) + jnp.sum(fact)
  return weighted, unweighted, recall, 2 * said / both

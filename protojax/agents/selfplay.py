"""Dialogues with users who know the picture they want, many at once.

A goal is a scene. The first prompt names its things and nothing more; the agent
asks, the user answers of the goal, and after every answer it is measured how
well the agent knows the goal. All goals, and all turns of them, are one
compiled program.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import beliefs, policies, scenes
from protojax.agents import world as worlds
from protojax.agents.beliefs import Beliefs
from protojax.agents.likelihood import LEAST
from protojax.agents.policies import NOTHING
from protojax.agents.scenes import Scenes
from protojax.agents.world import Told, World
from protojax.types import Array, ArrayLike, UserError

Policy = Literal[
  "ag1", "binary", "eig", "learned", "checklist", "random", "none"
]
POLICIES: Sequence[Policy] = get_args(Policy)
# More training scenes than these are not looked through one by one for what an
# answer would tell; of more that agree, so many stand for all.
_LOOKED_AT = 256
_AT_ONCE = 50
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


class _Now(NamedTuple):
  """All that a policy may look at."""

  world: World
  told: Told
  belief: Beliefs
  turn: Array
  key: Array
  learned: Array


_Chooses = Callable[[_Now], Array]  # a question of `beliefs.place`


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

  The worth of an unknown is a weighted sum of its features (`_features`): the
  least squares fit to what `Curves.weighted` lost by the answer.

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
  goal = jnp.asarray(worlds.cells(goals))
  keys = jax.random.split(jax.random.key(seed), len(goal))
  found = learned if learned is not None else np.zeros(FEATURES, np.float32)
  # Where nothing is asked, all stays as it was after the first prompt.
  played = 0 if policy == "none" else turns
  features, asked, *figures = jax.device_get(
    _played(world, goal, keys, user, np.float32(found), policy, played)
  )
  left = (0, 0), (0, turns - played)
  asked = np.pad(asked, left, constant_values=NOTHING)
  figures = [np.pad(x, left, mode="edge") for x in figures]
  return Curves(asked, *figures), features


@functools.partial(jax.jit, static_argnames=("policy", "turns"))
def _played(world, goal, keys, user, learned, policy: str, turns: int):
  choose = _CHOOSES[policy]

  def one(goal, key):
    told = worlds.named(world, goal[:_T])

    def turn(told, number):
      now = jax.random.fold_in(key, number)
      asks, answers, paints = jax.random.split(now, 3)
      belief = worlds.believe(world, told)
      asked = choose(_Now(world, told, belief, number, asks, learned))
      unknown = jnp.asarray(worlds.UNKNOWN)[jnp.maximum(asked, 0)]
      features = _features(world, belief)[unknown]
      figures = _figures(world, goal, told, belief, paints)
      told = answered(
        world, told, goal, asked, policy == "binary", user, answers
      )
      return told, (asked, features, figures)

    # The last one is asked for nothing: its figures are those after the turns.
    _, (asked, features, figures) = jax.lax.scan(
      turn, told, jnp.arange(turns + 1)
    )
    return features[:-1], asked[:-1], *figures

  # So many at once as keep the arrays over scenes small.
  return jax.lax.map(lambda x: one(*x), (goal, keys), batch_size=_AT_ONCE)


def answered(
  world: World,
  told: Told,
  goal: Bool[Array, " k"],
  question: Int[Array, ""],
  yes_or_no: bool,
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
  if yes_or_no:
    cell, holds = asked, goal[asked] ^ wrong
  else:
    cell, holds = value, jnp.asarray(True)
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
  least = told.against == jnp.min(told.against)
  nth = jax.random.randint(key, (), 1, jnp.sum(least) + 1)
  drawn = jnp.searchsorted(jnp.cumsum(least), nth)
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


def _features(world: World, belief: Beliefs) -> Float[Array, "u x"]:
  """What "learned" looks at of each unknown.

  Importance, entropy, probability of what it needs, these two and all three
  multiplied, the largest probability, and which kind of unknown it is.
  """
  appears = jnp.asarray(belief.appears)
  yes_no = jnp.stack([appears, 1 - appears], -1)
  values = [yes_no, belief.attributes.reshape(-1, _V), belief.relations]
  entropy = jnp.concatenate([beliefs.entropy(p) for p in values])
  most = jnp.concatenate([jnp.max(p, -1) for p in values])
  there = jnp.prod(appears[worlds.NEEDS], -1) ** jnp.where(_ALONE, 0.5, 1)
  there = jnp.where(_TOPIC == 1, 1.0, there)
  weight = worlds.importances(world)[_FIRST_CELL]
  numbers = [weight, entropy, there, weight * entropy, weight * entropy * there]
  kinds = _TOPIC[:, None] == np.arange(4)
  return jnp.concatenate([jnp.stack([*numbers, most], -1), kinds], -1)


FEATURES = 10


def _by_attribute(now: _Now) -> Array:
  # There is a limit of turns: what is open is asked for to the end.
  return policies.by_attribute(now.belief, jnp.inf).question


def _by_candidate(now: _Now) -> Array:
  return policies.by_candidate(now.belief).question


def _at_random(now: _Now) -> Array:
  return policies.at_random(now.belief, now.key).question


def _any(now: _Now) -> Array:
  """Anything that may be asked for, appearances as well."""
  drawn = jax.random.uniform(now.key, (worlds.UNKNOWNS,), minval=0.5)
  return _best(worlds.open_unknowns(now.belief), drawn)


def _by_worth(now: _Now) -> Array:
  """The policy "learned"."""
  worth = _features(now.world, now.belief) @ now.learned
  # What is worth least is still asked, as by the others.
  can = worlds.open_unknowns(now.belief)
  return _best(can, 1 + worth - jnp.min(worth))


def _none(now: _Now) -> Array:
  del now
  return jnp.asarray(NOTHING)


def _by_gain(now: _Now) -> Array:
  """The policy "eig", by the scenes that agree with what was told."""
  world, told = now.world, now.told
  agree = told.against == 0
  found = jnp.sum(agree)
  ranks = jnp.arange(_LOOKED_AT) * found // _LOOKED_AT + 1
  drawn = jnp.searchsorted(jnp.cumsum(agree), ranks)
  codes = jax.nn.one_hot(jnp.asarray(world.codes)[drawn], _V + 1)
  seen = jnp.einsum("nfa,ngv->fagv", codes, codes[..., :_V])
  # As the beliefs: beside some scenes in which the unknowns are independent.
  before = worlds.expected(world, told)
  apart = jnp.einsum("fa,gv->fagv", before, before[:, :_V])
  same = jnp.arange(worlds.UNKNOWNS)
  known = jnp.eye(_V + 1, _V)[None]
  apart = apart.at[same, :, same].set(before[..., None] * known)
  together = seen * (found / _LOOKED_AT) + scenes.PRIOR * apart
  together /= found + scenes.PRIOR
  weight = worlds.importances(world)[_FIRST_CELL]
  gains = policies.gains_of(together, weight)
  return _best(worlds.open_unknowns(now.belief), gains)


def _by_list(now: _Now) -> Array:
  """The policy "checklist": topic by topic in turn, whatever is believed.

  Topics are the looks of the things, further things, where they stand, and the
  whole: those that the principles of the paper's third agent name.
  """
  named = jnp.asarray(now.told.yes)[:_T]
  can = worlds.open_unknowns(now.belief)
  of_named = jnp.all(jnp.append(named, jnp.ones(2, bool))[worlds.NEEDS], -1)
  can &= of_named | (_TOPIC == 1)
  later = (_TOPIC - now.turn) % 4 * worlds.UNKNOWNS + jnp.arange(
    worlds.UNKNOWNS
  )
  return _best(can, 1.0 / (1 + later))


def _topics() -> np.ndarray:
  of_thing = np.repeat(np.arange(_E) < _T, _A)
  return np.concatenate(
    [np.full(_E, 1), np.where(of_thing, 0, 3), np.full(_R, 2)]
  )


_TOPIC = _topics()
_ALONE = worlds.NEEDS[:, 0] == worlds.NEEDS[:, 1]
_FIRST_CELL = np.searchsorted(worlds.UNKNOWN, np.arange(worlds.UNKNOWNS))


def _best(
  can: Bool[Array, " u"], score: Float[ArrayLike, " u"]
) -> Int[Array, ""]:
  """The question for the best unknown that may be asked for."""
  score = jnp.where(can, score, 0.0)
  best = jnp.argmax(score)
  return jnp.where(score[best] > 0, jnp.asarray(_FIRST_CELL)[best], NOTHING)


_CHOOSES: dict[str, _Chooses] = {
  "ag1": _by_attribute,
  "binary": _by_candidate,
  "eig": _by_gain,
  "learned": _by_worth,
  "checklist": _by_list,
  "random": _at_random,
  "none": _none,
  "any": _any,
}

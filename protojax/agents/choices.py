"""What is asked in self-play: policies over numbers of the embedded world.

Each takes what is known in one dialogue, and gives a question of
`beliefs.place`, or `NOTHING`. They are written for one dialogue, and mapped
over many.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import beliefs, policies, scenes
from protojax.agents import world as worlds
from protojax.agents.beliefs import Beliefs
from protojax.agents.policies import NOTHING
from protojax.agents.world import Told, World
from protojax.types import Array, ArrayLike

# More training scenes than these are not looked through one by one for what an
# answer would tell; of more that agree, so many stand for all.
_LOOKED_AT = 256
_E, _A, _R, _V = worlds.SIZES
_T = _E - 2  # entities that may be missing


class Now(NamedTuple):
  """All that a policy may look at."""

  world: World
  told: Told
  belief: Beliefs
  turn: Array
  key: Array
  learned: Array


_Chooses = Callable[[Now], Array]  # a question of `beliefs.place`


def features(world: World, belief: Beliefs) -> Float[Array, "u x"]:
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


def _by_attribute(now: Now) -> Array:
  # There is a limit of turns: what is open is asked for to the end.
  return policies.by_attribute(now.belief, jnp.inf).question


def _by_candidate(now: Now) -> Array:
  return policies.by_candidate(now.belief).question


def _at_random(now: Now) -> Array:
  return policies.at_random(now.belief, now.key).question


def _any(now: Now) -> Array:
  """Anything that may be asked for, appearances as well."""
  drawn = jax.random.uniform(now.key, (worlds.UNKNOWNS,), minval=0.5)
  return _best(worlds.open_unknowns(now.belief), drawn)


def _by_worth(now: Now) -> Array:
  """The policy "learned"."""
  worth = features(now.world, now.belief) @ now.learned
  # What is worth least is still asked, as by the others.
  can = worlds.open_unknowns(now.belief)
  return _best(can, 1 + worth - jnp.min(worth))


def _none(now: Now) -> Array:
  del now
  return jnp.asarray(NOTHING)


def _by_gain(now: Now) -> Array:
  """The policy "eig", by the scenes that agree with what was told."""
  world, told = now.world, now.told
  agree = told.against == 0
  found = jnp.sum(agree)
  ranks = jnp.arange(_LOOKED_AT) * found // _LOOKED_AT + 1
  codes = jnp.asarray(world.codes)[worlds.nth(agree, ranks)]
  before = worlds.expected(world, told)
  weight = worlds.importances(world)[_FIRST_CELL]
  gains = _gains(codes[:, _DOUBTS], found, before[_DOUBTS], weight[_DOUBTS])
  gains = jnp.zeros(worlds.UNKNOWNS).at[_DOUBTS].set(gains)
  return _best(worlds.open_unknowns(now.belief), gains)


# One by one: the arrays of one goal stay in the cache of a processor.
@jax.custom_batching.sequential_vmap
def _gains(codes, found, before, weight):
  """Of some unknowns [u].

  Args:
    codes: of scenes that agree [n u].
    found: how many agree.
    before: of `worlds.expected` [u a].
    weight: importances [u].
  """
  one_hot = jax.nn.one_hot(codes, _V + 1)
  seen = jnp.einsum("nfa,ngv->fagv", one_hot, one_hot[..., :_V])
  # As the beliefs: beside some scenes in which the unknowns are independent.
  apart = jnp.einsum("fa,gv->fagv", before, before[:, :_V])
  same = jnp.arange(len(weight))
  known = jnp.eye(_V + 1, _V)[None]
  apart = apart.at[same, :, same].set(before[..., None] * known)
  together = seen * (found / _LOOKED_AT) + scenes.PRIOR * apart
  return policies.gains_of(together / (found + scenes.PRIOR), weight)


def _by_list(now: Now) -> Array:
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
# What may be uncertain: it has values, and is not that there is a background.
_DOUBTS = np.setdiff1d(worlds.UNKNOWN[worlds.EXISTS], np.arange(_T, _E))
_FIRST_CELL = np.searchsorted(worlds.UNKNOWN, np.arange(worlds.UNKNOWNS))


def _best(
  can: Bool[Array, " u"], score: Float[ArrayLike, " u"]
) -> Int[Array, ""]:
  """The question for the best unknown that may be asked for."""
  score = jnp.where(can, score, 0.0)
  best = jnp.argmax(score)
  return jnp.where(score[best] > 0, jnp.asarray(_FIRST_CELL)[best], NOTHING)


CHOOSES: dict[str, _Chooses] = {
  "ag1": _by_attribute,
  "binary": _by_candidate,
  "eig": _by_gain,
  "learned": _by_worth,
  "checklist": _by_list,
  "random": _at_random,
  "none": _none,
  "any": _any,
}

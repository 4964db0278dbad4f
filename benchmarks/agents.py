"""What agents of the embedded world reach, of a run that was trained for them.

See benchmarks/experiments/proactive_agents.py; `measured` is its MEASURE.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from protojax import loading, parallel
from protojax.agents import painted, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.judge import FACTS
from protojax.agents.selfplay import User
from protojax.methods.proactive_agents import judging

# Goals are drawn with seeds of their own, as are scenes to test beliefs on.
_GOALS, _BELIEFS = 5_000_000, 6_000_000
_SCENES = 1000
_TURNS = (0, 1, 2, 3, 5, 10)
AFTER = 5  # questions that policies are compared after
_USERS = {
  "a tenth is wrong": User(wrong=0.1),
  "three in ten are wrong": User(wrong=0.3),
  "three in ten are silent": User(silent=0.3),
}
_EQUAL = "entropy alone"  # "ag1" that takes all to be as important


def _figures() -> dict[str, str]:
  found = {
    "VQA: AUC": "auc",
    "VQA: calibration error": "ece",
    "captions: correlation with the oracle": "oracle_geometric",
    "captions: AUC of the product": "oracle_product",
    "likeness: correlation with F1 of facts": "likeness",
    "self-play: correlation of VQAScore with the oracle": "with_oracle",
    "beliefs: calibration error": "beliefs.error",
    "beliefs: the same, of draws from them": "beliefs.sampling",
  }
  for name in (*selfplay.POLICIES, _EQUAL):
    found[f"{name}: VQAScore, product"] = f"play.{name}.product"
    found[f"{name}: VQAScore, geometric"] = f"play.{name}.geometric"
    found[f"{name}: nats, weighted"] = f"play.{name}.weighted"
  for name in ("ag1", "eig"):
    found[f"{name}: product as a multiple of none"] = f"play.{name}.factor"
    found[f"{name} over random: product, standard errors"] = (
      f"play.{name}.product_errors"
    )
    found[f"random over {name}: nats, standard errors"] = (
      f"play.{name}.weighted_errors"
    )
  for user in _USERS:
    found[f"ag1, {user}: nats, weighted"] = f"users.{user}"
  return found


FIGURES = _figures()


def measured(workdir: Path, data: Path, goals: int) -> Mapping[str, Any]:
  """Figures of a run, by the names of `FIGURES`.

  Args:
    workdir: of the run.
    data: of no use: all is drawn.
    goals: that each policy asks about.
  """
  del data
  parallel.setup()
  method, state, config = loading.load(workdir)
  trained = method.trained(state, str(workdir))
  world = worlds.world(trained.grammar)
  equal = worlds.world(scenes.Grammar(trained.grammar.scenes))
  wanted = scenes.draw(goals, _GOALS + config.seed)
  play, seen, exact = {}, [], []
  for name in (*selfplay.POLICIES, _EQUAL):
    asked = equal if name == _EQUAL else world
    policy = "ag1" if name == _EQUAL else name
    curves = selfplay.play(
      asked, wanted, policy, max(_TURNS), config.seed, learned=trained.learned
    )
    shown = painted.shown(
      trained,
      world,
      wanted,
      curves.question,
      _TURNS,
      config.seed,
      policy == "binary",
    )
    at = _TURNS.index(AFTER)
    play[name] = {
      "product": shown.product[:, at],
      "geometric": shown.geometric[:, at],
      "weighted": curves.weighted[:, AFTER],
    }
    seen.append(shown.geometric.ravel())
    exact.append(shown.exact.ravel())
  users = {
    title: selfplay.play(world, wanted, "ag1", AFTER, config.seed, user)
    .weighted[:, AFTER]
    .mean()
    for title, user in _USERS.items()
  }
  both = np.concatenate(seen), np.concatenate(exact)
  return {
    **method.evaluate(state, "test"),
    "with_oracle": judging.correlation(*both),
    "beliefs": _beliefs(world, config.seed),
    "play": _compared(play),
    "users": users,
  }


def _compared(
  play: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, float]]:
  """Means over goals; of agents, how much better than random, goal by goal."""
  found = {
    name: {field: float(x.mean()) for field, x in of.items()}
    for name, of in play.items()
  }
  for name in ("ag1", "eig"):
    other = play["random"]
    better = {
      "product_errors": play[name]["product"] - other["product"],
      "weighted_errors": other["weighted"] - play[name]["weighted"],
    }
    for field, apart in better.items():
      error = apart.std(ddof=1) / np.sqrt(len(apart))
      found[name][field] = float(apart.mean() / error)
    none = found["none"]["product"]
    found[name]["factor"] = found[name]["product"] / none
  return found


def _beliefs(world: worlds.World, seed: int) -> dict[str, float]:
  """Calibration of what is believed of scenes whose things were named.

  "sampling" is the error of truths that are drawn by the beliefs themselves.
  """
  held = scenes.draw(_SCENES, _BELIEFS + seed)
  true = worlds.cells(held)

  @jax.jit
  def believe(things):
    def one(things):
      told = worlds.first_told(world, things)
      found = worlds.believe(world, told)
      return worlds.probabilities(found), worlds.open_unknowns(found)

    return jax.lax.map(one, things, batch_size=50)

  p, is_open = jax.device_get(believe(held.there))
  there = true[:, : worlds.SIZES.entities]
  needs = worlds.NEEDS[worlds.UNKNOWN]
  # An appearance is judged of all, the rest of what is there.
  known = there[:, needs[:, 0]] & there[:, needs[:, 1]]
  known |= np.arange(worlds.CELLS) < worlds.SIZES.entities
  asked = is_open[:, worlds.UNKNOWN] & known & FACTS
  said, truth = p[asked], true[asked]
  drawn = np.random.default_rng(seed).random(len(said)) < said
  return {
    "error": judging.calibration_error(said, truth),
    "sampling": judging.calibration_error(said, drawn),
  }

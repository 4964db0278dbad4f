"""Self-play: agents ask simulated users, and what it brings is told."""

import argparse
from pathlib import Path

import numpy as np

from protojax import printing, writing
from protojax.agents import dialogue, painted, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.judge import Trained
from protojax.agents.scenes import Scenes
from protojax.agents.selfplay import Curves, User
from protojax.agents.world import World
from protojax.operations import taught

# Goals are drawn with seeds of their own, and so are those learned from.
_GOALS, _LEARNED_FROM = 1000, 500
_SHOWN = (0, 1, 2, 5, 10, 20, 50)
_ROWS = {
  "nats of the goal, weighted": "weighted",
  "facts that a picture has, of 1": "recall",
  "VQAScore of the goal, geometric mean": "picture_geometric",
  "VQAScore of the goal, product": "picture_product",
  "cosine of picture and goal": "picture_likeness",
}


def run(args: argparse.Namespace) -> int:
  """Plays, prints the curves, and writes them."""
  trained = taught.trained(args.workdir)
  world = worlds.world(trained.grammar if trained else dialogue.embedded())
  learned = trained.learned if trained else None
  if learned is None and "learned" in args.policy:
    others = scenes.draw(_LEARNED_FROM, seed=_GOALS - 1)
    learned = selfplay.fit(world, others, args.turns)
  user = User(args.wrong, args.silent)
  found: dict[str, dict[str, np.ndarray]] = {}
  for policy in args.policy:
    parts = []
    for seed in range(args.seed, args.seed + args.seeds):
      goals = scenes.draw(args.goals, seed=_GOALS + seed)
      curves = selfplay.play(
        world, goals, policy, args.turns, seed, user, learned
      )
      parts.append(_figures(curves))
      if trained and user == selfplay.TRUTHFUL:
        parts[-1] |= _judged(trained, world, goals, curves, policy, args, seed)
    found[policy] = {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
  _print(found, args)
  if trained and user != selfplay.TRUTHFUL:
    printing.say(
      "Pictures are judged for users who are neither wrong nor silent."
    )
  else:
    printing.say(taught.said(trained))
  if args.json:
    content = {
      "goals": args.goals,
      "seeds": list(range(args.seed, args.seed + args.seeds)),
      "wrong": args.wrong,
      "silent": args.silent,
      "policies": {name: _summary(c) for name, c in found.items()},
    }
    with writing.replacing(Path(args.json)) as file:
      file.write(writing.json_text(content, indent=1))
    printing.say(f"written: {args.json}")
  return 0


def _figures(curves: Curves) -> dict[str, np.ndarray]:
  """All but the questions."""
  found = curves._asdict()
  del found["question"]
  return found


def _judged(
  trained: Trained,
  world: World,
  goals: Scenes,
  curves: Curves,
  policy: str,
  args: argparse.Namespace,
  seed: int,
) -> dict[str, np.ndarray]:
  """What pictures after each turn show."""
  turns = range(args.turns + 1)
  binary = policy == "binary"
  shown = painted.shown(
    trained, world, goals, curves.question, turns, seed, binary
  )
  return {f"picture_{name}": x for name, x in shown._asdict().items()}


def _print(
  found: dict[str, dict[str, np.ndarray]], args: argparse.Namespace
) -> None:
  turns = [t for t in _SHOWN if t <= args.turns]
  count = args.goals * args.seeds
  printing.say(
    f"{count} goals, simulated users; mean and standard error after each turn"
  )
  for title, field in _ROWS.items():
    if not all(field in figures for figures in found.values()):
      continue
    heads = "".join(f"{f'turn {t}':>16}" for t in turns)
    printing.say(title)
    printing.say(f"{'':10}{heads}")
    for policy, figures in found.items():
      mean, error = _mean(figures[field])
      cells = "".join(f"{mean[t]:9.3f} ±{error[t]:5.3f}" for t in turns)
      printing.say(f"{policy:10}{cells}")


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Over goals [g t], with its standard error."""
  spread = values.std(0, ddof=1) if len(values) > 1 else 0 * values[0]
  return values.mean(0), spread / np.sqrt(len(values))


def _summary(
  figures: dict[str, np.ndarray],
) -> dict[str, dict[str, list[float]]]:
  found = {}
  for name, values in figures.items():
    mean, error = _mean(values)
    found[name] = {"mean": mean.tolist(), "standard_error": error.tolist()}
  return found

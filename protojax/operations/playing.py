"""Self-play: agents ask simulated users, and what it brings is told."""

import argparse
from pathlib import Path

import numpy as np

from protojax import printing, writing
from protojax.agents import dialogue, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.selfplay import Curves, User

# Goals are drawn with seeds of their own, and so are those learned from.
_GOALS, _LEARNED_FROM = 1000, 500
_SHOWN = (0, 1, 2, 5, 10, 20, 50)
_ROWS = {
  "nats of the goal, weighted": "weighted",
  "facts that a picture has, of 1": "recall",
}


def run(args: argparse.Namespace) -> int:
  """Plays, prints the curves, and writes them."""
  world = worlds.world(dialogue.embedded())
  learned = None
  if "learned" in args.policy:
    others = scenes.draw(_LEARNED_FROM, seed=_GOALS - 1)
    learned = selfplay.fit(world, others, args.turns)
  user = User(args.wrong, args.silent)
  found = {}
  for policy in args.policy:
    curves = [
      selfplay.play(
        world,
        scenes.draw(args.goals, seed=_GOALS + seed),
        policy,
        args.turns,
        seed,
        user,
        learned,
      )
      for seed in range(args.seed, args.seed + args.seeds)
    ]
    found[policy] = Curves(
      *(np.concatenate(x) for x in zip(*curves, strict=True))
    )
  _print(found, args)
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


def _print(found: dict[str, Curves], args: argparse.Namespace) -> None:
  turns = [t for t in _SHOWN if t <= args.turns]
  count = args.goals * args.seeds
  printing.say(
    f"{count} goals, simulated users; mean and standard error after each turn"
  )
  for title, field in _ROWS.items():
    heads = "".join(f"{f'turn {t}':>16}" for t in turns)
    printing.say(title)
    printing.say(f"{'':10}{heads}")
    for policy, curves in found.items():
      mean, error = _mean(getattr(curves, field))
      cells = "".join(f"{mean[t]:9.3f} ±{error[t]:5.3f}" for t in turns)
      printing.say(f"{policy:10}{cells}")


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Over goals [g t], with its standard error."""
  spread = values.std(0, ddof=1) if len(values) > 1 else 0 * values[0]
  return values.mean(0), spread / np.sqrt(len(values))


def _summary(curves: Curves) -> dict[str, dict[str, list[float]]]:
  found = {}
  for name in Curves._fields[1:]:
    mean, error = _mean(getattr(curves, name))
    found[name] = {"mean": mean.tolist(), "standard_error": error.tolist()}
  return found

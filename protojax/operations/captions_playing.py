"""Self-play about the captions of a file: models ask, and answer."""

import argparse
from pathlib import Path
import sys

from protojax import printing, writing
from protojax.agents import captions, goals
from protojax.agents.captions import Judges
from protojax.agents.providers import together
from protojax.operations import providing

_SHOWN = (0, 1, 2, 5, 10, 20, 50)


def run(args: argparse.Namespace) -> int:
  """Plays, prints the curves, and writes them.

  What models have answered is kept, so that the same command goes on where one
  did not answer any more.

  Raises:
    UserError: the file has no captions, or a model does not answer.
  """
  every = goals.read(args.goals_file, args.goals)
  lines = (line.strip() for line in sys.stdin)
  models = providing.models(args, printing.say, lambda: next(lines, None))
  judges = Judges(models.images, models.vqa, models.embed, args.pictures)
  printing.say(
    f"{len(every)} goals of {args.goals_file}; {models.parser.llm.name} asks,"
    " and answers for users: none of them is a person"
  )
  folder, found = Path(args.output), {}
  for policy in args.policy:

    def one(number: int, policy=policy):
      return captions.play(
        every[number],
        models.parser,
        policy,
        args.turns,
        args.seed,
        judges,
        folder / f"{policy}-{number:04d}.jsonl",
        args.user,
      )

    played = together(one, range(len(every)), args.at_once)
    found[policy] = captions.summary(played)
    printing.tell(f"{policy}: {models.usage}")
  _print(found, args.turns)
  if args.json:
    content = {
      "goals": [goal.name for goal in every],
      "file": str(args.goals_file),
      "llm": models.parser.llm.name,
      "images": models.images.name if models.images else None,
      "vqa": models.vqa.name if models.vqa else None,
      "seed": args.seed,
      "user": args.user,
      "policies": found,
    }
    with writing.replacing(Path(args.json)) as file:
      file.write(writing.json_text(content, indent=1))
    printing.say(f"written: {args.json}")
  return 0


def _print(found: dict[str, dict[str, dict[str, list[float]]]], most) -> None:
  turns = [t for t in _SHOWN if t <= most]
  heads = "".join(f"{f'turn {t}':>16}" for t in turns)
  for name in next(iter(found.values())):
    printing.say(name, f"{'':20}{heads}")
    for policy, figures in found.items():
      mean, error = figures[name].values()
      cells = "".join(f"{mean[t]:9.3f} ±{error[t]:5.3f}" for t in turns)
      printing.say(f"{policy:20}{cells}")

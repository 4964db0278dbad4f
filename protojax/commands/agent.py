"""Asks what a picture shall show, before it is painted.

  python -m protojax agent chat
  python -m protojax agent chat --prompt="a red coin and a cup" --output=DIR

begins a dialogue in the terminal, about scenes of an embedded world, offline.
Answer the questions, or say something else: "the cup is small, no cat". At any
time,

  paint             writes pictures of what is believed so far into DIR
  belief            lists what is believed, with probabilities
  undo              takes the last answer back
  quit              ends, as does the end of the input

DIR/dialogue.json is written after every turn, and the same command goes on with
it. Sentences are read by a lexicon, without a language model; beliefs are
counted over drawn scenes.

  python -m protojax agent selfplay --policy=ag1,eig,random --json=FILE

lets agents ask simulated users who know the picture they want, and tells how
well the agents know it after each turn. It is all of the embedded world.
"""

import argparse

from protojax import cli
from protojax.errors import UserError

_OF_CHAT = ("ag1", "binary", "random", "none")
_POLICIES = (*_OF_CHAT, "eig", "learned", "checklist")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "what",
    choices=["chat", "selfplay"],
    help="a dialogue in the terminal, or many with simulated users",
  )
  parser.add_argument(
    "--prompt",
    default="",
    metavar="TEXT",
    help="what the picture shall show; asked for by default",
  )
  parser.add_argument(
    "--policy",
    type=_policies,
    metavar="NAMES",
    help="what is asked next: ag1 (the default) asks for the attribute that"
    " matters most and is least certain, binary whether one value is right,"
    " random anything that is open, none nothing; of selfplay also eig, by"
    " what an answer is expected to tell, learned, by what answers told in"
    " other dialogues, and checklist, topic by topic; selfplay takes several,"
    " with commas, and all by default",
  )
  parser.add_argument(
    "--pictures",
    default=4,
    type=cli.whole_number(1, 100),
    metavar="N",
    help="painted at once; 4 by default",
  )
  parser.add_argument(
    "--seed",
    default=0,
    type=cli.whole_number(0, 2**31 - 1),
    metavar="S",
    help="of the pictures and of random questions; 0 by default",
  )
  parser.add_argument(
    "--output",
    default="agent",
    type=cli.path,
    metavar="DIR",
    help="folder of the dialogue and the pictures; agent by default",
  )

  for name, most, default, text in (
    ("goals", 100_000, 200, "pictures that are asked for, of each seed"),
    ("turns", 100, 10, "questions of each dialogue, at the most"),
    ("seeds", 100, 3, "how often, from --seed on, with other goals"),
  ):
    parser.add_argument(
      f"--{name}",
      default=default,
      type=cli.whole_number(1, most),
      metavar="N",
      help=f"of selfplay: {text}; {default} by default",
    )
  for name, text in (("wrong", "is wrong"), ("silent", 'is "I don\'t know"')):
    parser.add_argument(
      f"--{name}",
      default=0.0,
      type=_share,
      metavar="P",
      help=f"of selfplay: how often, from 0 to 1, an answer {text}; 0 by"
      " default",
    )
  parser.add_argument(
    "--json",
    default="",
    type=cli.path,
    metavar="FILE",
    help="of selfplay: where the curves are written to",
  )


def _policies(text: str) -> list[str]:
  names = text.split(",")
  for name in names:
    if name not in _POLICIES:
      raise argparse.ArgumentTypeError(
        f"there is no policy {name!r}: {', '.join(_POLICIES)}"
      )
  return names


def _share(text: str) -> float:
  try:
    found = float(text)
  except ValueError:
    found = -1.0
  if not 0 <= found <= 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
  return found


def run(args: argparse.Namespace) -> int:
  """Runs the command."""
  if args.what == "selfplay":
    args.policy = args.policy or list(_POLICIES)
    return cli.operation("playing").run(args)
  names = args.policy or ["ag1"]
  if len(names) > 1 or names[0] not in _OF_CHAT:
    raise UserError(
      f"chat takes one policy of {', '.join(_OF_CHAT)}, and not"
      f" {','.join(names)}"
    )
  args.policy = names[0]
  return cli.operation("chatting").run(args)

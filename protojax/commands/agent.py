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
"""

import argparse

from protojax import cli

_POLICIES = ("ag1", "binary", "random", "none")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "what", choices=["chat"], help="a dialogue in the terminal"
  )
  parser.add_argument(
    "--prompt",
    default="",
    metavar="TEXT",
    help="what the picture shall show; asked for by default",
  )
  parser.add_argument(
    "--policy",
    default="ag1",
    choices=_POLICIES,
    help="what is asked next: ag1 (the default) asks for the attribute that"
    " matters most and is least certain, binary whether one value is right,"
    " random anything that is open, none nothing",
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


def run(args: argparse.Namespace) -> int:
  """Runs the command."""
  return cli.operation("chatting").run(args)

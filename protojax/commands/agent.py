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

  python -m protojax agent chat --llm=openai_http --base-url=URL --model=NAME

is about any picture: a language model reads, asks and merges. What you say is
sent to it. The key is that of the environment, OPENAI_API_KEY or
GEMINI_API_KEY, and in no file. What a model has answered is kept in
DIR/answers.jsonl and not asked for twice; --llm=recorded --recording=FILE
answers by such a file alone.

  python -m protojax agent page

is the same on a page of this machine: the belief as a graph, with sliders.

  python -m protojax agent replay --trace=DIR/trace.jsonl --output=OTHER

does all steps of a dialogue again and compares beliefs and pictures, bit for
bit.

  python -m protojax agent selfplay --policy=ag1,eig,random --json=FILE

lets agents ask simulated users who know the picture they want, and tells how
well the agents know it after each turn. Without --llm it is all of the embedded
world; with it, goals are the captions of --goals-file.

  python -m protojax agent selfplay --workdir=DIR

takes beliefs and the policy "learned" from a run that was trained with
configs/proactive_agents_scenes.py, and lets its network judge what would be
painted after each turn. So do chat, page and replay.
"""

import argparse

from protojax import cli
from protojax.errors import UserError

_OF_CHAT = ("ag1", "binary", "random", "none")
_OFFLINE = (*_OF_CHAT, "eig", "learned", "checklist")
_BY_MODELS = (*_OF_CHAT, "belief-prompted", "principle-prompted")
_POLICIES = tuple(dict.fromkeys((*_OFFLINE, *_BY_MODELS)))
_PORT = 8644
_USERS = ("literal", "likely", "sampled")
_MODELS = ("embedded", "openai_http", "gemini", "recorded", "human")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Declares what the command takes."""
  parser.add_argument(
    "what",
    choices=["chat", "page", "selfplay", "replay"],
    help="a dialogue in the terminal, or in a browser, many with simulated"
    " users, or one again",
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
    " other dialogues, and checklist, topic by topic; with --llm also"
    " belief-prompted and principle-prompted, by which the model itself asks;"
    " selfplay takes several, with commas, and all by default",
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
  parser.add_argument(
    "--workdir",
    default="",
    type=cli.path,
    metavar="DIR",
    help="a run of configs/proactive_agents_scenes.py, whose network judges"
    " pictures of the embedded world; by default none does",
  )
  _of_models(parser)
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="of page: address to listen on; other machines can connect unless it"
    " is 127.0.0.1, the default",
  )
  parser.add_argument(
    "--port",
    default=_PORT,
    type=cli.whole_number(0, 65_535),
    help=f"of page; {_PORT} by default. 0: any free port",
  )


def _of_models(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--llm",
    choices=_MODELS,
    help="which kind of language model reads and asks: openai_http is any"
    " server that speaks this protocol, gemini Google's, recorded what one has"
    " answered before, human a person, embedded the embedded world; none by"
    " default",
  )
  for name, text in (
    ("base-url", "of the server; that of the service by default"),
    ("model", "of the language model"),
    ("image-model", "which makes pictures"),
    ("vqa-model", "of selfplay: which judges pictures"),
    ("embed-model", "of selfplay: which compares texts"),
  ):
    parser.add_argument(f"--{name}", default="", metavar="NAME", help=text)
  for name, text in (
    ("recording", "of --llm=recorded: answers.jsonl of a dialogue"),
    ("trace", "of replay: trace.jsonl of a dialogue"),
    ("goals-file", "of selfplay: captions of DesignBench, COCO or IIW"),
  ):
    parser.add_argument(
      f"--{name}", default="", type=cli.path, metavar="FILE", help=text
    )
  parser.add_argument(
    "--user",
    choices=_USERS,
    default=_USERS[0],
    help="of selfplay with --llm: what users answer that the goal does not say:"
    " literal, the default, that they don't know; likely, what is believed"
    " most; sampled, what is drawn from the belief",
  )
  parser.add_argument(
    "--timeout",
    default=120.0,
    type=_seconds,
    metavar="S",
    help="seconds for an answer of a model, tried again or not; 120 by default",
  )
  parser.add_argument(
    "--at-once",
    default=4,
    type=cli.whole_number(1, 64),
    metavar="N",
    help="requests to a model at a time; 4 by default",
  )


def _seconds(text: str) -> float:
  try:
    found = float(text)
  except ValueError:
    found = 0.0
  if not 0 < found <= 86_400:
    raise argparse.ArgumentTypeError(
      f"{text!r} is no number of seconds up to a day"
    )
  return found


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
  """Runs the command.

  Raises:
    UserError: flags do not go together, or what they name is not there.
  """
  if args.workdir and args.llm:
    raise UserError("--workdir is of the embedded world: leave --llm out")
  if args.what == "replay":
    return cli.operation("replaying").run(args)
  if args.what == "selfplay":
    offered = _BY_MODELS if args.llm else _OFFLINE
    args.policy = args.policy or list(offered)
    _require(args.policy, offered, "selfplay")
    if bool(args.llm) != bool(args.goals_file):
      raise UserError("selfplay needs both --llm and --goals-file, or neither")
    name = "captions_playing" if args.llm else "playing"
    return cli.operation(name).run(args)
  offered = _BY_MODELS if args.llm else _OF_CHAT
  names = args.policy or ["ag1"]
  if len(names) > 1:
    raise UserError(
      f"{args.what} takes one policy of {', '.join(offered)}, and not"
      f" {','.join(names)}"
    )
  _require(names, offered, args.what)
  args.policy = names[0]
  name = "asking" if args.what == "page" else "chatting"
  return cli.operation(name).run(args)


def _require(names: list[str], offered: tuple[str, ...], what: str) -> None:
  for name in names:
    if name not in offered:
      raise UserError(
        f"{what} takes no policy {name} there: {', '.join(offered)}"
      )

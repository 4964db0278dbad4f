"""Chatting: the dialogue of an agent in the terminal."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
import sys

from PIL import Image

from protojax import printing
from protojax.agents import dialogue, facts
from protojax.agents.dialogue import Dialogue
from protojax.agents.questions import Question
from protojax.errors import UserError
from protojax.writing import replacing

_ENLARGED = 4  # pixels for each pixel of a picture
_MOST = 4  # candidates that a line of the belief lists


def run(args: argparse.Namespace) -> int:
  """Goes on with the dialogue of a folder, or begins one.

  Raises:
    UserError: the folder holds something else, or `--prompt` names nothing of
      this world.
  """
  folder = Path(args.output)
  folder.mkdir(parents=True, exist_ok=True)
  lines = (line.strip() for line in sys.stdin)
  file = folder / "dialogue.json"
  if file.exists():
    if args.prompt:
      raise UserError(
        f"{file} holds a dialogue already: leave --prompt out to go on with it,"
        " or name another --output"
      )
    spoken = dialogue.load(file)
    printing.say(f"going on with {file}")
  else:
    printing.say("Scenes of an embedded world; no language model reads.")
    prompt = args.prompt or _asked("What shall the picture show?", lines)
    if prompt is None:
      return 0
    spoken = Dialogue(prompt, policy=args.policy, seed=args.seed)
    _tell_unknown(spoken)
    spoken.save(file)
  printing.say(f"So far: {spoken.prompt or 'nothing'}.")
  _talk(spoken, lines, args, folder)
  return 0


def _talk(
  spoken: Dialogue, lines: Iterator[str], args: argparse.Namespace, folder: Path
) -> None:
  """Until the user ends it; every turn is saved."""
  while True:
    question = spoken.ask()
    if question is None:
      text = "Nothing is left to ask. paint, say more, or quit?"
    else:
      text = f"{question.text} ({', '.join(question.options)})"
    said = _asked(text, lines)
    if said is None or said.casefold() in ("quit", "exit"):
      break
    try:
      _take(spoken, question, said, args, folder)
    except UserError as error:
      printing.say(str(error))
    spoken.save(folder / "dialogue.json")
  printing.say(f"{folder / 'dialogue.json'}: the same command goes on.")


def _take(
  spoken: Dialogue,
  question: Question | None,
  said: str,
  args: argparse.Namespace,
  folder: Path,
) -> None:
  match said.casefold():
    case "":
      return
    case "paint":
      _paint(spoken, args, folder)
      return
    case "belief":
      printing.say(*_listed(spoken))
      return
    case "undo":
      spoken.undo()
    case _:
      if question is None:
        spoken.say(said)
      else:
        spoken.answer(question, said)
  _tell_unknown(spoken)
  printing.say(f"So far: {spoken.prompt or 'nothing'}.")


def _paint(spoken: Dialogue, args: argparse.Namespace, folder: Path) -> None:
  pictures = spoken.generate(args.pictures, args.seed)
  for number, picture in enumerate(pictures):
    image = Image.fromarray(picture)
    size = [_ENLARGED * side for side in image.size]
    path = folder / f"{len(spoken.turns):02d}-{number:02d}.png"
    with replacing(path, "wb") as file:
      image.resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    printing.say(str(path))


def _listed(spoken: Dialogue) -> Iterable[str]:
  """A line for each unknown: what it is, and its likeliest values."""
  for place in facts.places(spoken.belief):
    one = facts.require(spoken.belief, place)
    name = " ".join(filter(None, (place.entity, place.name, place.second)))
    likely = sorted(one.candidates, key=lambda c: -c.probability)[:_MOST]
    values = ", ".join(f"{c.name} {c.probability:.0%}" for c in likely)
    yield f"  {name}: {values}{' (said)' if one.pinned else ''}"


def _tell_unknown(spoken: Dialogue) -> None:
  if spoken.unknown:
    printing.say(f"Not understood: {', '.join(spoken.unknown)}.")


def _asked(text: str, lines: Iterator[str]) -> str | None:
  """The next line of the input; None at its end."""
  printing.say(text)
  return next(lines, None)

"""Chatting: the dialogue of an agent in the terminal."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
import sys
from typing import NamedTuple, NotRequired, TypedDict

from PIL import Image

from protojax import json_files, printing
from protojax.agents import dialogue, facts, language, prompted
from protojax.agents import trace as traces
from protojax.agents.dialogue import Dialogue
from protojax.agents.judge import Trained
from protojax.agents.questions import Question
from protojax.agents.trace import Begun, Spoken, Trace
from protojax.errors import UserError
from protojax.operations import providing, taught
from protojax.operations.providing import Models
from protojax.writing import replacing

HELD = (
  "{file} holds a dialogue already: leave --prompt out to go on with it, or"
  " name another --output"
)
_SMALL, _ENLARGED = 64, 4  # pixels of a side; and for each of its pixels
_MOST = 4  # candidates that a line of the belief lists


class _Chat(NamedTuple):
  spoken: Spoken
  trace: Trace
  lines: Iterator[str]
  args: argparse.Namespace
  folder: Path
  trained: Trained | None


def run(args: argparse.Namespace) -> int:
  """Goes on with the dialogue of a folder, or begins one.

  Raises:
    UserError: the folder holds something else, `--prompt` names nothing of
      this world, or a model does not answer.
  """
  folder = Path(args.output)
  folder.mkdir(parents=True, exist_ok=True)
  lines = (line.strip() for line in sys.stdin)
  models, trained = None, taught.trained(args.workdir)
  if args.llm:
    models = providing.models(args, printing.say, lambda: next(lines, None))
  file = folder / "dialogue.json"
  trace = Trace(folder / "trace.jsonl")
  if file.exists():
    if args.prompt:
      raise UserError(HELD.format(file=file))
    spoken = loaded(file, models, trained)
    printing.say(f"going on with {file}")
  else:
    printing.say(*_greeting(models, trained))
    prompt = args.prompt or _asked("What shall the picture show?", lines)
    if prompt is None:
      return 0
    spoken = begun(how(args, models, prompt), models, trained)
    _tell_unknown(spoken)
    spoken.save(file)
    trace.begin(spoken, how(args, models, prompt))
  printing.say(f"So far: {spoken.prompt or 'nothing'}.")
  _talk(_Chat(spoken, trace, lines, args, folder, trained))
  if models is not None:
    printing.say(f"{models.usage}.")
  return 0


def how(args: argparse.Namespace, models: Models | None, prompt: str) -> Begun:
  """How a dialogue begins."""
  return {
    "version": traces.VERSION,
    "llm": models.parser.llm.name if models else "",
    "images": models.images.name if models and models.images else "",
    "policy": args.policy,
    "seed": args.seed,
    "prompt": prompt,
  }


def begun(
  begin: Begun, models: Models | None, trained: Trained | None
) -> Spoken:
  """A dialogue at its beginning.

  Raises:
    UserError: a model does not answer, or there is no such policy.
  """
  policy, seed = begin["policy"], begin["seed"]
  if models is None:
    offline = {str(name): name for name in dialogue.POLICIES}
    if policy not in offline:
      raise UserError(f"without a model there is no policy {policy!r}")
    grammar = trained.grammar if trained else None
    return Dialogue(begin["prompt"], grammar, offline[policy], seed=seed)
  return prompted.PromptedDialogue(
    begin["prompt"], models.parser, models.images, policy, seed=seed
  )


class _Named(TypedDict):
  llm: NotRequired[str]


def loaded(
  file: Path, models: Models | None, trained: Trained | None
) -> Spoken:
  """The dialogue of a file.

  Raises:
    UserError: it is none, or one with other models.
  """
  held = json_files.read_json(file, _Named, "it is no dialogue").get("llm", "")
  if bool(held) != (models is not None):
    of = f"with {held}: name it by --llm" if held else "without --llm"
    raise UserError(
      f"{file} is a dialogue {of}, or name another --output for this one"
    )
  if models is None:
    return dialogue.load(file, trained.grammar if trained else None)
  return prompted.load(file, models.parser, models.images)


def _greeting(models: Models | None, trained: Trained | None) -> list[str]:
  if models is None:
    return [
      "Scenes of an embedded world; no language model reads.",
      taught.said(trained),
    ]
  return [
    f"What you say is sent to {models.parser.llm.name}, which reads, and asks."
  ]


def _talk(chat: _Chat) -> None:
  """Until the user ends it; every turn is saved."""
  file = chat.folder / "dialogue.json"
  while True:
    question = None
    try:
      question = chat.spoken.ask()
    except UserError as error:
      printing.say(str(error))
      text = (
        "There is no question. Return asks again; paint, say more, or quit?"
      )
    else:
      text = "Nothing is left to ask. paint, say more, or quit?"
    if question is not None:
      options = f" ({', '.join(question.options)})" if question.options else ""
      text = f"{question.text}{options}"
    said = _asked(text, chat.lines)
    if said is None or said.casefold() in ("quit", "exit"):
      break
    try:
      _take(chat, question, said)
    except UserError as error:
      printing.say(str(error))
    chat.spoken.save(file)
  printing.say(f"{file}: the same command goes on.")


def _take(chat: _Chat, question: Question | None, said: str) -> None:
  spoken, trace = chat.spoken, chat.trace
  match said.casefold():
    case "":
      return
    case "paint":
      _paint(chat)
      return
    case "belief":
      printing.say(*_listed(spoken))
      return
    case "undo":
      spoken.undo()
      trace.undone(spoken)
    case _:
      if question is None:
        spoken.say(said)
        trace.said(spoken, said)
      else:
        spoken.answer(question, said)
        trace.answered(spoken, question, said)
  _tell_unknown(spoken)
  printing.say(f"So far: {spoken.prompt or 'nothing'}.")


def _paint(chat: _Chat) -> None:
  spoken, seed = chat.spoken, chat.args.seed
  pictures = spoken.generate(chat.args.pictures, seed)
  write(pictures, chat.folder, len(spoken.turns))
  chat.trace.painted(spoken, pictures, seed)
  if chat.trained is not None and language.read(spoken.prompt).facts:
    texts = [spoken.prompt] * len(pictures)
    yes = chat.trained.judge.p_yes(pictures, texts)
    each = ", ".join(f"{p:.2f}" for p in yes)
    printing.say(f"P(yes) that each shows what was said: {each}")


def write(pictures, folder: Path, number: int) -> None:
  """Writes pictures as PNG files, small ones enlarged; tells their names."""
  for i, picture in enumerate(pictures):
    image = Image.fromarray(picture)
    times = _ENLARGED if image.width <= _SMALL else 1
    size = [times * side for side in image.size]
    path = folder / f"{number:02d}-{i:02d}.png"
    with replacing(path, "wb") as file:
      image.resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    printing.say(str(path))


def _listed(spoken: Spoken) -> Iterable[str]:
  """A line for each unknown: what it is, and its likeliest values."""
  for place in facts.places(spoken.belief):
    one = facts.require(spoken.belief, place)
    name = " ".join(filter(None, (place.entity, place.name, place.second)))
    likely = sorted(one.candidates, key=lambda c: -c.probability)[:_MOST]
    values = ", ".join(f"{c.name} {c.probability:.0%}" for c in likely)
    yield f"  {name}: {values}{' (said)' if one.pinned else ''}"


def _tell_unknown(spoken: Spoken) -> None:
  if spoken.unknown:
    printing.say(f"Not understood: {', '.join(spoken.unknown)}.")


def _asked(text: str, lines: Iterator[str]) -> str | None:
  """The next line of the input; None at its end."""
  printing.say(text)
  return next(lines, None)

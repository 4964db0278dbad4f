"""Asking: the page of a dialogue."""

import argparse
from pathlib import Path

from protojax import printing
from protojax.agents.trace import Trace
from protojax.errors import UserError
from protojax.interact.asking import Asking
from protojax.operations import chatting, providing, taught
from protojax.operations.serving import served


def run(args: argparse.Namespace) -> int:
  """Serves a page until Ctrl-C.

  Raises:
    UserError: the folder holds something else, `--prompt` names nothing of
      this world, a model does not answer, or the address is not available.
  """
  if args.llm == "human":
    raise UserError("--llm=human types in the terminal: take chat")
  folder = Path(args.output)
  folder.mkdir(parents=True, exist_ok=True)
  models, trained = None, taught.trained(args.workdir)
  if args.llm:
    models = providing.models(args, printing.say, lambda: None)
  file = folder / "dialogue.json"
  trace = Trace(folder / "trace.jsonl")
  if file.exists() and not args.prompt:
    spoken = chatting.loaded(file, models, trained)
    printing.say(f"going on with {file}")
  elif file.exists():
    raise UserError(chatting.HELD.format(file=file))
  else:
    prompt = args.prompt or "a coin and a cup"
    begun = chatting.how(args, models, prompt)
    spoken = chatting.begun(begun, models, trained)
    spoken.save(file)
    trace.begin(spoken, begun)
  if models is None:
    printing.say(taught.said(trained))
  session = Asking(spoken, trace, lambda: spoken.save(file), args.seed)
  stopped = served(session, args, folder, session.state)
  printing.tell(f"{file}: the same command goes on")
  return stopped

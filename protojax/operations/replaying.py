"""Replaying: a dialogue is held again, and has to come out the same."""

import argparse
from pathlib import Path

from protojax import printing
from protojax.agents import trace as traces
from protojax.agents.recorded import Recording
from protojax.agents.trace import Begun, Spoken
from protojax.errors import UserError
from protojax.operations import chatting, providing, taught


def run(args: argparse.Namespace) -> int:
  """Replays a trace; gives 1 if a step comes out otherwise.

  Raises:
    UserError: there is no trace, or an answer of a model is missing.
  """
  if not args.trace:
    raise UserError("replay needs --trace=FILE, such as agent/trace.jsonl")
  path, out = Path(args.trace), Path(args.output)
  trained = taught.trained(args.workdir)

  def begin(begun: Begun) -> Spoken:
    models = None
    if begun["llm"]:
      answers = path.parent / providing.ANSWERS
      models = providing.replaying(Recording(answers), begun["seed"])
    return chatting.begun(begun, models, trained)

  steps, painted, others = 0, 0, []
  for step in traces.replayed(path, begin):
    steps += 1
    if step.pictures is not None:
      chatting.write(step.pictures, out / "replayed", step.line)
      painted += len(step.pictures)
    if not step.same:
      others.append(step.line)
      printing.tell(f"line {step.line}, {step.do}: came out otherwise")
  same = "all as before" if not others else f"{len(others)} came out otherwise"
  printing.say(f"{steps} steps, {painted} pictures: {same}")
  return int(bool(others))

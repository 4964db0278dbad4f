"""Taught: what a run has trained for agents of the embedded world."""

from pathlib import Path

from protojax import loading, parallel
from protojax.agents.judge import Trained
from protojax.methods.base import needed

UNTAUGHT = (
  "Pictures are painted, and nothing trained judges them: --workdir=DIR takes a"
  " run of configs/proactive_agents_scenes.py."
)


def trained(workdir: str) -> Trained | None:
  """What a run has trained; None without one.

  Raises:
    UserError: there is no run, or one of another method.
  """
  if not workdir:
    return None
  parallel.setup()
  method, state, _ = loading.load(Path(workdir))
  return needed(method, "asks").trained(state, workdir)


def said(found: Trained | None) -> str:
  """What a command says of it."""
  if found is None:
    return UNTAUGHT
  return f"Beliefs are counted, and pictures judged, by {found.judge.name}."

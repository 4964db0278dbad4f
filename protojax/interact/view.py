"""The page itself, in the frame and the colours of the reports."""

from collections.abc import Mapping
import functools
from importlib import resources
from typing import Any

import jinja2

_FOLDERS = ("protojax.interact", "protojax.report.templates")


def page(title: str, facts: Mapping[str, Any], nonce: str) -> str:
  """The page as HTML; its script asks the server for all else.

  Args:
    title: of the run.
    facts: see `Session.facts`.
    nonce: lets the page's own script run, and no other.
  """
  template = _environment().get_template("interact.html.jinja")
  run = {"title": title, "version": "", "facts": (), "alerts": ()}
  return template.render(run=run, facts=facts, nonce=nonce)


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
  return jinja2.Environment(
    loader=jinja2.FunctionLoader(_text),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )


def _text(name: str) -> str | None:
  for folder in _FOLDERS:
    file = resources.files(folder) / name
    if file.is_file():
      return file.read_text("utf-8")
  return None

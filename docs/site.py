"""Hooks of MkDocs, so that a new page needs no line in mkdocs.yml.

Links out of docs/ become the names of files: they work in a clone, but a site
holds docs/ alone.
"""

from pathlib import Path
import re
from typing import Any


def on_config(config: Any) -> Any:
  """Puts pages that the navigation does not name under "Methods"."""
  named = set(re.findall(r"\w+\.md", str(config["nav"])))
  pages = sorted(p.name for p in Path(config["docs_dir"]).glob("*.md"))
  others = [p for p in pages if p not in named and p != "package.md"]
  for section in config["nav"]:
    if "Methods" in section:
      section["Methods"] += others
  return config


def on_page_markdown(markdown: str, **others: object) -> str:
  """Gives the text of a page without links to files beside docs/."""
  del others
  return re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (`\2`)", markdown)

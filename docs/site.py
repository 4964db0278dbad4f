"""A hook of MkDocs: links of pages out of docs/ become the names of files.

The pages are read in a clone, too, where such links work; a site holds docs/
alone.
"""

import re


def on_page_markdown(markdown: str, **others: object) -> str:
  """Gives the text of a page without links to files beside docs/."""
  del others
  return re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (`\2`)", markdown)

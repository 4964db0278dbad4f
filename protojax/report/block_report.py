"""The report of explanations in blocks, of any method: it needs no HTML.

Writes rows and pictures at once and holds in memory what the pages show, with
pictures as files.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
import dataclasses
from typing import Any

from PIL import Image
from rich.table import Table

from protojax.explain import blocks, evidence_blocks
from protojax.explain.blocks import Explanation
from protojax.report import (
  block_drawing,
  explanation_tables,
  json_lines,
  page,
  page_files,
)
from protojax.report.block_tables import BlockTables
from protojax.report.block_text import signed
from protojax.report.pictures import Pictures
from protojax.report.report_folder import ReportFolder
from protojax.types import Picture
from protojax.writing import replacing

# The most explanations for one file.
_EXPLANATIONS = 150


@dataclasses.dataclass(frozen=True)
class _Group:
  """The explanations of one group, and where they are shown."""

  name: str
  found: Sequence[dict[str, Any]]
  address: str


class Report(ReportFolder):
  """Explanations in blocks; evidence of other classes is turned into them."""

  FILES = (json_lines.NAME, "report", "report.html", "summary.json")
  FOLDERS = ("png", "tables")
  FORMATS = ("html", "csv", "json", "png")
  NOUN = "examples"

  def __init__(self, *arguments: Any, **options: Any) -> None:
    """Prepares to write; see `ReportFolder`."""
    super().__init__(*arguments, **options)
    self._found: list[dict[str, Any]] = []
    self._keys: set[str] = set()
    self._scopes: Counter[str] = Counter()

  def __enter__(self) -> "Report":
    super().__enter__()
    self._pictures = self._files.enter_context(Pictures(self.folder))
    self._tables_of_blocks = BlockTables(self.folder / "tables", self._files)
    return self

  def add(self, explained: Any) -> None:
    """Adds an explanation.

    Raises:
      ValueError: another one has its key.
    """
    self._write_line(explained)
    if not isinstance(explained, Explanation):
      explained = evidence_blocks.of(explained)
    if explained.key in self._keys:
      raise ValueError(f"two explanations have the key {explained.key!r}")
    self._keys.add(explained.key)
    self._scopes[explained.scope] += 1
    if "csv" in self.formats:
      self._tables_of_blocks.add(explained)
    if "png" in self.formats:
      for name, picture in _pictures(explained):
        path = self._path_inside("png", f"{explained.key}-{name}.png")
        with replacing(path, "wb") as file:
          Image.fromarray(picture).save(file, "PNG")
    if "html" in self.formats:
      drawn = block_drawing.explanation(explained, self._pictures.put)
      self._found.append(drawn)

  def _write(self) -> dict[str, Any]:
    for path in self._tables_of_blocks.paths:
      self._path_inside("tables", path.name)
    summary = {**self._counts(), "explanations": dict(self._scopes)}
    explanation_tables.summary(self._path("summary.json"), summary)
    if "html" in self.formats:
      self.written.append(self._write_pages(summary))
    return summary

  def _write_pages(self, summary: dict[str, Any]) -> Any:
    count = len(self._found)
    run = self._head([("Explanations", f"{count:,}")], summary, {})
    single = count <= _EXPLANATIONS and self._pictures.size <= page_files.BYTES
    values = {
      "run": run if single else run.down(),
      "single": single,
      "lead": self._lead(),
      "overviews": _told_apart(
        [e for e in self._found if e["scope"] == "overview"]
      ),
      "groups": self._groups(single),
    }
    if not single:
      return page_files.write_folder(self._pictures, _folder(values))
    to = page_files.embedding(self._pictures.pages)
    content = page.render("block_report.html.jinja", to=to, **values)
    return page_files.write_one(self._pictures, content)

  def _lead(self) -> str:
    """What the report holds."""
    names = {
      "local": "of single images or examples",
      "global": "of parts of the model",
      "overview": "of a whole split",
    }
    parts = [f"{n:,} {names[scope]}" for scope, n in self._scopes.items()]
    said = f"{len(self._found):,} explanations", ", ".join(parts)
    return f"{': '.join(filter(None, said))}."

  def _groups(self, single: bool) -> list[_Group]:
    """Explanations by group, in the order in which they came."""
    found: dict[str, list[dict[str, Any]]] = {}
    for e in self._found:
      if e["scope"] != "overview":
        found.setdefault(e["group"], []).append(e)
    return [
      _Group(
        signed(name) or _unnamed(of, len(found)),
        _told_apart(of),
        f"#group-{n}" if single else f"group-{n}.html",
      )
      for n, (name, of) in enumerate(found.items())
    ]

  def _tables(self) -> list[Table]:
    table = Table("scope", "explanations", box=None, pad_edge=False)
    for scope, count in self._scopes.items():
      table.add_row(scope, str(count))
    return [table] if self._scopes else []


def _unnamed(found: Sequence[dict[str, Any]], groups: int) -> str:
  """The name of what has no group, among so many groups."""
  if all(e["scope"] == "global" for e in found):
    return "Parts of the model"
  return "Not grouped" if groups > 1 else "All"


def _told_apart(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """The same, their labels with the split where two would be alike."""
  counts = Counter(e["label"] for e in found)
  return [
    {**e, "label": f"{e['label']} ({e['split']})"}
    if e["split"] and counts[e["label"]] > 1
    else e
    for e in found
  ]


def _folder(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
  """A page for each group, and the index with the overviews."""
  values = {**values, "to": page_files.beside}
  for n, group in enumerate(values["groups"]):
    content = page.render("block_group.html.jinja", number=n, **values)
    yield group.address, content
  yield "index.html", page.render("block_report.html.jinja", **values)


def _pictures(explained: Explanation) -> Iterator[tuple[str, Picture]]:
  """Pictures of an explanation, and the last part of their names."""
  for n, block in enumerate(explained.blocks):
    if isinstance(block, blocks.Picture):
      yield str(n), block.image
    elif isinstance(block, blocks.Regions):
      yield str(n), block.picture.image
    elif isinstance(block, blocks.Map):
      yield str(n), block_drawing.painted(block)
    elif isinstance(block, blocks.Gallery):
      for m, picture in enumerate(block.pictures):
        yield f"{n}-{m}", picture.image

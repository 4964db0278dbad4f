"""Lists of bags: the task, the class and the split of each.

Three formats are read:

  bag,task,label,split        ours; with "patient", patients stay whole, and
                              without "split" a share is drawn for testing
  case_id,slide_id,label      those of CLAM, such as for TCGA: one file a task,
                              which has the name of the file
  test_001,Tumor,...          reference.csv of CAMELYON16, without a heading;
                              bags normal_001 and tumor_001 are for training
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
import re
from typing import NamedTuple

from protojax import csv_files
from protojax.data import splits
from protojax.types import UserError

_CAMELYON = re.compile(r"test_\d+", re.IGNORECASE)
_CAMELYON_TRAIN = re.compile(r"(normal|tumor)_\d+", re.IGNORECASE)
CAMELYON_TASK = "camelyon16"
_OURS = ("bag", "task", "label")
_CLAM = ("case_id", "slide_id", "label")


class Row(NamedTuple):
  """One bag.

  Attributes:
    bag: its name, or its path below the root.
    task: it belongs to.
    label: name of its class.
    split: "train" or "test"; "" if the list does not say it.
    patient: whose bag it is; the bag's name if the list does not say it.
  """

  bag: str
  task: str
  label: str
  split: str
  patient: str


def read(path: Path, bags: Sequence[str]) -> list[Row]:
  """The rows of a list, or of all lists in a folder.

  Args:
    path: of a CSV file, or of a folder of such.
    bags: names of all bags, for a list that does not name those of training.

  Raises:
    UserError: a file is no such list.
  """
  files = [path] if path.is_file() else sorted(path.glob("*.csv"))
  if not files:
    raise UserError(f"{path} is no list of bags (CSV), nor a folder of lists")
  return [row for file in files for row in _of_file(file, bags)]


def drawn(rows: Sequence[Row], fraction: float, seed: int) -> list[Row]:
  """The rows, where the list names no split with one that is drawn.

  Args:
    rows: of the lists.
    fraction: of the patients of each class, for testing.
    seed: of the draw.

  Raises:
    UserError: a share must be drawn, and none is given.
  """
  without = [row for row in rows if not row.split]
  if without and not 0 < fraction < 1:
    raise UserError(
      f"the list of bags says no split of {without[0].bag}: set"
      f" --config.data.test_fraction, which is {fraction}, to a share between 0"
      " and 1"
    )
  held: set[tuple[str, str]] = set()
  for kind in sorted({(row.task, row.label) for row in without}):
    patients = sorted(
      {row.patient for row in without if (row.task, row.label) == kind}
    )
    if len(patients) > 1:
      held |= {
        (kind[0], patients[i])
        for i in splits.held_out(patients, fraction, seed)
      }

  def split(row: Row) -> str:
    return "test" if (row.task, row.patient) in held else "train"

  return [row._replace(split=row.split or split(row)) for row in rows]


def _of_file(path: Path, bags: Sequence[str]) -> Iterator[Row]:
  table = csv_files.read(path)
  if set(_OURS) <= set(table.columns):
    for line, row in table.rows:
      found = _cells(path, line, row, _OURS)
      patient = row.get("patient") or found["bag"]
      yield Row(**found, split=row.get("split", ""), patient=patient)
  elif set(_CLAM) <= set(table.columns):
    for line, row in table.rows:
      found = _cells(path, line, row, _CLAM)
      case, slide = found["case_id"], found["slide_id"]
      yield Row(slide, path.stem, found["label"], row.get("split", ""), case)
  elif table.columns and _CAMELYON.fullmatch(Path(table.columns[0]).stem):
    yield from _camelyon(table, bags)
  else:
    found = ", ".join(table.columns[:5]) or "none"
    raise UserError(
      f"{path} has the columns {found}; expected {', '.join(_OURS)}, split, or"
      f" {', '.join(_CLAM)}, or CAMELYON16's reference.csv"
    )


def _camelyon(table: csv_files.Table, bags: Sequence[str]) -> Iterator[Row]:
  """Bags of CAMELYON16: names say those of training, the list of testing."""
  first = table.columns
  lines = [first[:2], *(tuple(row.values())[:2] for _, row in table.rows)]
  for bag, label in lines:
    name = Path(bag).stem
    yield Row(name, CAMELYON_TASK, label.lower(), "test", name)
  for bag in bags:
    name = Path(bag).stem
    if kind := _CAMELYON_TRAIN.fullmatch(name):
      yield Row(name, CAMELYON_TASK, kind.group(1).lower(), "train", name)


def _cells(
  path: Path, line: int, row: dict[str, str], names: Sequence[str]
) -> dict[str, str]:
  for name in names:
    if not row.get(name):
      raise UserError(f"{path}, line {line}: no {name!r}")
  return {name: row[name] for name in names}

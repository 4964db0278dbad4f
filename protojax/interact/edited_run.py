"""Files of edits, what edits do in figures, and edited models as runs.

WORKDIR/edits.json of an edited run is a file of edits with

  "of"        the workdir that was edited
  "earlier"   the files of edits that made that model, the first one first
  "figures"   what the edits did

beside what `edits` describes. Applied to "of" it makes the same model again.
"""

from collections.abc import Iterable, Mapping, Sequence
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
import numpy as np

from protojax import json_files, methods
from protojax.csv_files import Writer
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints
from protojax.interact import edits as edits_lib
from protojax.interact.editing import Answers, Edited, Editor
from protojax.interact.edits import Edit
from protojax.interact.intervention import nearest
from protojax.interact.saved import number
from protojax.prototypes.bank import bank_of
from protojax.shown import shown
from protojax.types import UserError
from protojax.writing import json_text

NAME = "edits.json"
_KEYS = ("edits", "author", "model", "of", "earlier", "figures")
_COLUMNS = (
  *("class", "images", "accuracy_before", "accuracy_now"),
  *("answers_before", "answers_now"),
)


class Asked(NamedTuple):
  """The edits that a person asks for.

  Attributes:
    edits: in order.
    author: name of the person; may be empty.
    model: digest of the model that they are of; empty if it is not said.
  """

  edits: tuple[Edit, ...]
  author: str = ""
  model: str = ""


def parse(content: Any, where: str = "") -> Asked:
  """Edits out of the JSON of a file, or of what a page sends.

  Args:
    content: the object; its "of", "earlier" and "figures" are not read.
    where: start of messages about mistakes, such as the name of a file.

  Raises:
    UserError: it is not as `edits` describes it.
  """
  start = where and f"{where}: "
  if not isinstance(content, Mapping):
    raise UserError(
      f"{start}edits are {shown(content)}; they must be an object {{...}} with"
      ' the key "edits"'
    )
  for key in content:
    if key not in _KEYS:
      raise UserError(
        f"{start}unknown key {key!r}{nearest(key, _KEYS)}; there are"
        f" {', '.join(_KEYS[:3])}"
      )
  if "edits" not in content:
    raise UserError(f'{start}no key "edits", the list of edits')
  return Asked(
    edits_lib.parse(content["edits"], where),
    edits_lib.text(content.get("author", ""), f"{start}author"),
    edits_lib.text(content.get("model", ""), f"{start}model"),
  )


def read(path: Path, editor: Editor) -> Asked:
  """The edits of a file.

  Args:
    path: of the file.
    editor: of the model that they are applied to.

  Raises:
    UserError: the file cannot be read, is not as described, or is of another
      model.
  """
  asked = parse(json_files.read_json(path, Any), str(path))
  require_same_model(asked, editor, str(path))
  if not asked.edits:
    raise UserError(f"{path} has no edit: its list of edits is empty")
  return asked


def require_same_model(asked: Asked, editor: Editor, where: str) -> None:
  """Refuses edits of another model, whose numbers mean other prototypes.

  Raises:
    UserError: they are.
  """
  if asked.model and asked.model != editor.digest:
    raise UserError(
      f"{where}: these edits are of another model ({asked.model:.40}) than this"
      f" run ({editor.digest}), where the numbers mean other prototypes: take"
      ' the run that they were made for, or leave "model" out to mean this one'
    )


def earlier(folder: Path) -> list[Mapping[str, Any]]:
  """The files of edits that made the model of a run, the first one first.

  Raises:
    UserError: the run's file of edits is damaged.
  """
  path = folder / NAME
  if not path.exists():
    return []
  content = json_files.read_json(path, dict[str, Any])
  before = content.pop("earlier", [])
  if not isinstance(before, list):
    raise UserError(f"{path}: earlier is {shown(before)}; it must be a list")
  return [*before, content]


def edits_of(files: Iterable[Mapping[str, Any]], folder: Path) -> list[Edit]:
  """All edits of some files, in order.

  Args:
    files: from `earlier`.
    folder: of the run, for messages.

  Raises:
    UserError: one is not as described.
  """
  where = str(folder / NAME)
  every = [parse(one, where).edits for one in files]
  return list(itertools.chain.from_iterable(every))


def figures(editor: Editor, edited: Edited) -> dict[str, Any]:
  """What edits did to the answers.

  Returns:
    "images": how many are judged; "accuracy" before and now, None where no
    image has a label; "agreement", the share of images with the answer of the
    classifier that is explained, None without one; "alive", of prototypes;
    "classes", the same by class; "changed", the images whose answer changes.
  """
  before, now = editor.before, edited.answers
  source, names = editor.judged.source, editor.edits.class_names
  labels = np.asarray(source.labels)
  known = labels >= 0

  def share(chosen: np.ndarray, answers: Answers) -> float | None:
    if not chosen.any():
      return None
    return number(np.mean(answers.answer[chosen] == labels[chosen]))

  def both(chosen: np.ndarray) -> dict[str, float | None]:
    return {"before": share(chosen, before), "now": share(chosen, now)}

  changed = np.flatnonzero(before.answer != now.answer)
  reference = editor.reference
  return {
    "images": len(labels),
    "accuracy": both(known) if known.any() else None,
    "agreement": None
    if reference is None
    else {
      when: number(np.mean(answers.answer == reference.answer))
      for when, answers in (("before", before), ("now", now))
    },
    "alive": {
      "before": int(editor.model.alive.sum()),
      "now": int(edited.effect.alive.sum()),
    },
    "classes": [
      {
        "class": name,
        "images": int(np.sum(labels == k)),
        "accuracy": both(labels == k),
        "answers": {
          "before": int(np.sum(before.answer == k)),
          "now": int(np.sum(now.answer == k)),
        },
      }
      for k, name in enumerate(names)
    ],
    "changed": [
      {
        "number": i,
        "image": source.name(i),
        "label": names[labels[i]] if labels[i] >= 0 else None,
        "before": _told(names, before, i),
        "now": _told(names, now, i),
      }
      for i in changed.tolist()
    ],
  }


def _told(names: Sequence[str], answers: Answers, i: int) -> dict[str, Any]:
  answer = answers.answer[i]
  probability = answers.probabilities[i, answer]
  return {"class": names[answer], "probability": number(probability)}


def write(found: Mapping[str, Any], file: Any, form: str) -> None:
  """Writes figures as CSV, a row for each class, or as JSON.

  Args:
    found: from `figures`.
    file: to write to.
    form: "csv" or "json".
  """
  if form == "json":
    file.write(json_text(found, indent=2) + "\n")
    return
  writer = Writer(file, lineterminator="\n")
  writer.row(_COLUMNS)
  for one in found["classes"]:
    accuracy, answers = one["accuracy"], one["answers"]
    shares = ["" if x is None else x for x in accuracy.values()]
    writer.row((one["class"], one["images"], *shares, *answers.values()))


def told(found: Mapping[str, Any]) -> str:
  """Figures in one line."""
  parts = []
  for name in ("accuracy", "agreement"):
    if (both := found[name]) is not None:
      parts.append(f"{name} {both['before']:.3f} -> {both['now']:.3f}")
  count, images = len(found["changed"]), found["images"]
  alive = found["alive"]
  parts.append(f"{count} of {images} answers change")
  parts.append(f"{alive['now']} of {alive['before']} prototypes are left")
  return "; ".join(parts)


def save(
  folder: Path,
  parent: Path,
  config: ConfigDict,
  editor: Editor,
  asked: Asked,
  edited: Edited,
) -> None:
  """Writes the edited model as a run that every command opens.

  Args:
    folder: workdir of the new run.
    parent: workdir of the run that was edited.
    config: of that run.
    editor: of its model.
    asked: the edits.
    edited: the model after them.

  Raises:
    UserError: the folder holds a run, or cannot be written.
  """
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(
      f"{folder} exists already: name a new folder for the edited run with"
      " --save-as"
    )
  found = figures(editor, edited)
  before = earlier(parent)
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, tuple(editor.edits.class_names))
  checkpoints = Checkpoints(parent)
  progress = checkpoints.progress()
  checkpoints.close()
  # It is not trained further: of an unfinished run it is a copy that ends here.
  progress.finished, progress.best = True, {}
  checkpoints = Checkpoints(folder)
  checkpoints.save(progress, edited.state, {})
  checkpoints.close()
  content = {
    "edits": [edit.as_json() for edit in asked.edits],
    "author": asked.author,
    "model": editor.digest,
    "of": str(parent.resolve()),
    "earlier": before,
    "figures": {k: x for k, x in found.items() if k != "changed"},
  }
  workdir.write_json(folder / NAME, content)
  # Last: a folder with it is complete.
  workdir.write_json(folder / "summary.json", _summary(found, editor, edited))


def _summary(
  found: Mapping[str, Any], editor: Editor, edited: Edited
) -> dict[str, Any]:
  """What summary.json of an edited run says."""
  accuracy = found["accuracy"]
  more: dict[str, Any] = {}
  if accuracy is not None:
    more["metrics"] = {"accuracy": accuracy["now"]}
    more["accuracy"] = {
      "before_edits": accuracy["before"],
      "after_edits": accuracy["now"],
    }
  alive = bank_of(edited.state).alive
  return {
    **more,
    "edited": NAME,
    "prototypes": len(alive),
    "alive": int(np.sum(alive)),
    "class_names": list(editor.edits.class_names),
  }


def free_folder(beside: Path, ending: str) -> Path:
  """A folder that does not exist yet: NAME + ending, or with -2, -3, ...

  Args:
    beside: the folder whose NAME and place it takes.
    ending: of its name.
  """
  place = Path(beside).resolve()
  first = place.with_name(f"{place.name}{ending}")
  numbered = (first.with_name(f"{first.name}-{n}") for n in itertools.count(2))
  return next(p for p in itertools.chain([first], numbered) if not p.exists())

"""Edits of a model by a person: which prototypes shall not count, and why.

A file of edits, WORKDIR/edits.json and what the page sends hold

  {"edits": [EDIT, ...], "author": NAME, "model": DIGEST}

where an edit is one of

  {"edit": "remove", "prototypes": [3, 8], "reason": "confounded"}
  {"edit": "forbid", "prototypes": [3], "class": "robin"}
  {"edit": "merge", "prototypes": [4, 9, 2]}

each with the author's "words", if there are any. Of prototypes that are merged
the first stays. "author" and "model" may be left out; a model has another
digest as soon as a number of it changes. Nothing here computes a score.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

from jaxtyping import Bool, Int
import numpy as np

from protojax.interact.intervention import mapping, nearest, sequence
from protojax.shown import shown
from protojax.types import UserError

KINDS = ("remove", "forbid", "merge")
REASONS = ("wrong", "background", "confounded")
# Of an author's name, and of words on an edit.
MOST_CHARACTERS = 500
# Key of an edit -> the kinds that have it; None: all.
_KEYS: Mapping[str, tuple[str, ...] | None] = {
  "edit": None,
  "prototypes": None,
  "words": None,
  "reason": ("remove",),
  "class": ("forbid",),
}


@dataclasses.dataclass(frozen=True)
class Edit:
  """One edit.

  Attributes:
    kind: one of `KINDS`.
    prototypes: their numbers; of "merge" the first one stays.
    reason: of "remove", one of `REASONS`.
    of_class: of "forbid", the class that they shall say nothing about.
    words: what the author says of it.
  """

  kind: str
  prototypes: tuple[int, ...]
  reason: str = ""
  of_class: str = ""
  words: str = ""

  def as_json(self) -> dict[str, Any]:
    """The edit as JSON, as `parse` reads it."""
    found: dict[str, Any] = {
      "edit": self.kind,
      "prototypes": list(self.prototypes),
    }
    if self.kind == "remove":
      found["reason"] = self.reason
    if self.kind == "forbid":
      found["class"] = self.of_class
    return {**found, "words": self.words}


class Model(NamedTuple):
  """What edits are checked against.

  Attributes:
    class_names: the classes.
    class_of: int [p], the class of each prototype.
    alive: bool [p].
    forbidden: bool [k p], weights that earlier edits have forbidden.
    merges: whether prototypes can be duplicates of each other.
    owned: whether each class has prototypes of its own, and needs one.
  """

  class_names: Sequence[str]
  class_of: Int[np.ndarray, " p"]
  alive: Bool[np.ndarray, " p"]
  forbidden: Bool[np.ndarray, "k p"]
  merges: bool = True
  owned: bool = True


class Effect(NamedTuple):
  """What is left.

  Attributes:
    alive: bool [p].
    forbidden: bool [k p], weights that must be 0.
  """

  alive: Bool[np.ndarray, " p"]
  forbidden: Bool[np.ndarray, "k p"]


def parse(content: Any, where: str = "") -> tuple[Edit, ...]:
  """Edits out of a list of JSON objects.

  Args:
    content: the list.
    where: start of messages about mistakes, such as the name of a file.

  Raises:
    UserError: one is not as described above; says which, and what.
  """
  where = where and f"{where}: "
  listed = sequence(content, f"{where}edits")
  return tuple(_edit(one, f"{where}edit {n}") for n, one in enumerate(listed))


def text(content: Any, what: str) -> str:
  """A short text of an author.

  Raises:
    UserError: it is not text, or too long.
  """
  if not isinstance(content, str):
    raise UserError(f"{what} is {shown(content)}; it must be a text")
  if len(content) > MOST_CHARACTERS:
    raise UserError(
      f"{what} has {len(content)} characters; it may have {MOST_CHARACTERS}"
    )
  return content


def _edit(content: Any, where: str) -> Edit:
  content = mapping(content, where)
  kind = _choice(content, "edit", KINDS, where)
  for key in content:
    if key not in _KEYS:
      raise UserError(
        f"{where} has an unknown key {key!r}{nearest(key, tuple(_KEYS))}; there"
        f" are {', '.join(_KEYS)}"
      )
    if (of := _KEYS[key]) is not None and kind not in of:
      raise UserError(f"{where}: {kind!r} has no {key!r}; {of[0]!r} has")
  numbers = sequence(content.get("prototypes", []), f"{where}: prototypes")
  for number in numbers:
    if isinstance(number, bool) or not isinstance(number, int):
      raise UserError(
        f"{where}: {shown(number)} is not the number of a prototype"
      )
  if len(set(numbers)) < len(numbers):
    raise UserError(f"{where} names a prototype twice: {list(numbers)}")
  least = 2 if kind == "merge" else 1
  if len(numbers) < least:
    raise UserError(
      f"{where} names {len(numbers)} prototypes; {kind!r} needs {least} or more"
    )
  return Edit(
    kind,
    tuple(numbers),
    _choice(content, "reason", REASONS, where) if kind == "remove" else "",
    text(content.get("class"), f"{where}: class") if kind == "forbid" else "",
    text(content.get("words", ""), f"{where}: words"),
  )


def _choice(
  content: Mapping[str, Any], key: str, known: Sequence[str], where: str
) -> str:
  found = content.get(key)
  if not isinstance(found, str) or found not in known:
    what = f"{key!r} is {shown(found)}" if key in content else f"no {key!r}"
    raise UserError(f"{where}: {what}; it must be one of {', '.join(known)}")
  return found


def applied(edits: Sequence[Edit], model: Model, where: str = "") -> Effect:
  """What is left of a model after edits, one after the other.

  Args:
    edits: in order.
    model: before them.
    where: start of messages about mistakes, such as the name of a file.

  Raises:
    UserError: an edit names a prototype or class that is not there, or has been
      thrown out; merges prototypes of several classes; or leaves a class with
      nothing that speaks for it.
  """
  where = where and f"{where}: "
  alive, forbidden = model.alive.copy(), model.forbidden.copy()
  for number, edit in enumerate(edits):
    here, chosen = f"{where}edit {number}", list(edit.prototypes)
    _require_there(chosen, alive, here)
    if edit.kind == "remove":
      alive[chosen] = False
    elif edit.kind == "merge":
      _require_duplicates(chosen, model, here)
      alive[chosen[1:]] = False
    else:
      if edit.of_class not in model.class_names:
        raise UserError(
          f"{here}: no class {edit.of_class!r}"
          f"{nearest(edit.of_class, model.class_names)}; there are"
          f" {', '.join(model.class_names)}"
        )
      forbidden[list(model.class_names).index(edit.of_class), chosen] = True
    _require_spoken_for(alive, forbidden, model, here)
  return Effect(alive, forbidden)


def _require_there(
  chosen: Sequence[int], alive: Bool[np.ndarray, " p"], where: str
) -> None:
  for number in chosen:
    if not 0 <= number < len(alive):
      raise UserError(
        f"{where}: no prototype {number}; they have the numbers 0 to"
        f" {len(alive) - 1}"
      )
    if not alive[number]:
      raise UserError(
        f"{where}: prototype {number} does not count any more: it was pruned,"
        " or thrown out by an earlier edit"
      )


def _require_duplicates(
  chosen: Sequence[int], model: Model, where: str
) -> None:
  if not model.merges:
    raise UserError(
      f"{where}: the prototypes of this model are directions that differ, so"
      " none repeats another; remove those that should not count"
    )
  classes = np.unique(model.class_of[chosen])
  if len(classes) > 1:
    names = ", ".join(model.class_names[k] for k in classes[:5])
    raise UserError(
      f"{where} merges prototypes of several classes ({names}); merge those of"
      " one class, or remove one"
    )


def _require_spoken_for(
  alive: Bool[np.ndarray, " p"],
  forbidden: Bool[np.ndarray, "k p"],
  model: Model,
  where: str,
) -> None:
  if not alive.any():
    raise UserError(f"{where} throws out the last prototype of the model")
  if not model.owned:
    return

  def speaking(
    alive: Bool[np.ndarray, " p"], forbidden: Bool[np.ndarray, "k p"]
  ) -> Int[np.ndarray, " k"]:
    own = ~forbidden[model.class_of, np.arange(len(alive))]
    chosen = model.class_of[alive & own]
    return np.bincount(chosen, minlength=len(model.class_names))

  before = speaking(model.alive, model.forbidden)
  emptied = np.flatnonzero((speaking(alive, forbidden) == 0) & (before > 0))
  if len(emptied):
    raise UserError(
      f"{where} leaves the class {model.class_names[emptied[0]]!r} without a"
      " prototype that may speak for it; keep one, or train anew without the"
      " class"
    )

"""Reads a preset from a JSON file of the user.

{"modifications": [
  {"name": "contrast", "change": "contrast_luma", "factor": 0.3},
  {"name": "shape", "change": "warp", "amplitude": 6, "frequency": 0.02}
]}

Each modification is a change of `modification.CHANGES` with its strengths by
name. A strength with a default may be left out. The name may be left out if it
is that of the change. "identity" is put first if it is missing. Beside the
list, "name", "own_cell" and "weighted" may stand, as in `presets.Preset`.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from protojax import json_files
from protojax.modify.modification import CHANGES, Modification, require_known
from protojax.shown import shown
from protojax.types import UserError

_WAY_OUT = 'expected {"modifications": [{"change": ...}, ...]}'


class _Modification(TypedDict):
  """One of the list; it also has the strengths of its change."""

  name: NotRequired[str]
  change: str


class _Preset(TypedDict):
  """What a file holds."""

  name: NotRequired[str]
  own_cell: NotRequired[bool]
  weighted: NotRequired[bool]
  modifications: list[_Modification]


def read(path: Path) -> dict[str, Any]:
  """Reads the fields of a `presets.Preset`.

  Raises:
    UserError: the file cannot be read, or its content is wrong.
  """
  content = json_files.read_json(path, _Preset, _WAY_OUT)
  try:
    return {"name": path.stem, **_fields(content)}
  except UserError as error:
    raise UserError(f"{path}: {error}") from error


def _fields(content: dict[str, Any]) -> dict[str, Any]:
  for key in content:
    require_known("key", key, _Preset.__annotations__)
  found = [_modification(m) for m in content["modifications"]]
  if "identity" not in [m.name for m in found]:
    found = [Modification("identity", "identity"), *found]
  return {**content, "modifications": tuple(found)}


def _modification(content: dict[str, Any]) -> Modification:
  change = content["change"]
  name = content.get("name", change)
  require_known(f"change of {name}", change, CHANGES)
  strengths = {s.name: s.default for s in CHANGES[change].strengths}
  for key, value in content.items():
    require_known(f"key of {name}", key, ("name", "change", *strengths))
    if key in strengths:
      if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(
          f"{name:.80}: {key} is {shown(value)}; expected a number"
        )
      strengths[key] = value
  given = tuple(value for value in strengths.values() if value is not None)
  return Modification(name, change, given)

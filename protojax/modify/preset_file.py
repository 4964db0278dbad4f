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

import json
from pathlib import Path
from typing import Any

from protojax.modify.modification import CHANGES, Modification, require_known
from protojax.types import UserError

_KINDS = {
  "name": (str, "a text"),
  "own_cell": (bool, "true or false"),
  "weighted": (bool, "true or false"),
  "modifications": (list, "a list"),
}


def read(path: Path) -> dict[str, Any]:
  """Reads the fields of a `presets.Preset`.

  Raises:
    UserError: the file cannot be read, or its content is wrong.
  """
  try:
    return {"name": path.stem, **_fields(json.loads(path.read_text()))}
  except OSError as error:
    raise UserError(f"preset {path}: {error.strerror}") from error
  except ValueError as error:
    raise UserError(f"preset {path} is not JSON: {error}") from error
  except UserError as error:
    raise UserError(f"preset {path}: {error}") from error


def _fields(content: Any) -> dict[str, Any]:
  if not isinstance(content, dict) or "modifications" not in content:
    raise UserError('expected {"modifications": [...]}')
  for key, value in content.items():
    require_known("key", key, _KINDS)
    kind, expected = _KINDS[key]
    if not isinstance(value, kind):
      raise UserError(f"{key} is {value!r}; expected {expected}")
  found = [_modification(m) for m in content["modifications"]]
  if "identity" not in [m.name for m in found]:
    found = [Modification("identity", "identity"), *found]
  return {**content, "modifications": tuple(found)}


def _modification(content: Any) -> Modification:
  if not isinstance(content, dict) or "change" not in content:
    raise UserError(f'{content!r}: expected {{"change": ...}}')
  change = str(content["change"])
  name = str(content.get("name", change))
  require_known(f"change of {name}", change, CHANGES)
  strengths = {s.name: s.default for s in CHANGES[change].strengths}
  for key, value in content.items():
    require_known(f"key of {name}", key, ("name", "change", *strengths))
    if key in strengths:
      if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{name}: {key} is {value!r}; expected a number")
      strengths[key] = value
  given = tuple(value for value in strengths.values() if value is not None)
  return Modification(name, change, given)

"""An acquisition of monochromatic sources, in a folder of NumPy arrays.

  data.npy                 [interferometers sources], in counts
  central_wavenumbers.npy  [sources], in 1/um
  mean.npy                 as data, smoother; optional
  norm.npy                 flat field, as data or [sources]; optional
  options.json             "opd_step" in um; optional

These are the files of github.com/Danaroth83/irca. With more axes in front, such
as [rows columns interferometers sources], each pixel is calibrated for itself;
arrays are mapped from the disk, not read as a whole.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxtyping import Float
import numpy as np

from protojax import json_files
from protojax.datasets import array_file, device_sheet
from protojax.datasets.responses import Responses
from protojax.types import UserError

# The folder data.root must be given.
FOLDERS = True
_DATA, _WAVENUMBERS = "data.npy", "central_wavenumbers.npy"
# A fit of the smallest model needs as many.
_FEWEST = 8
# In 1/um, a wavelength of 10 nm: what is above it is in another unit.
_LARGEST = 100


class _Options(TypedDict):
  """What is read of options.json."""

  opd_step: NotRequired[float]


def load(data: Any, split: str, seed: int) -> Responses:
  """The responses; they are the same whatever the split.

  Args:
    data: `root`, the folder; `sheet`, a file that describes the device, and
      `opd_step` in um, either of which gives the nominal OPDs. Without them
      options.json gives them.
    split: ignored: each interferometer is fitted by itself.
    seed: ignored.

  Raises:
    UserError: files are missing or do not fit together.
  """
  del split, seed
  if not data.root:
    raise UserError(
      "--config.data.root is empty: give the folder of an acquisition, with"
      f" {_DATA} and {_WAVENUMBERS}"
    )
  folder = Path(data.root)
  _require(folder)
  s, order, notes = _ascending(
    array_file.read(folder / _WAVENUMBERS, mapped=True)
  )
  rows = array_file.read(folder / _DATA, mapped=True)
  if rows.ndim < 2 or rows.shape[-1] != len(s):
    raise UserError(
      f"{folder / _DATA} has shape {rows.shape}; expected [interferometers"
      f" {len(s)}], with one column for each of {_WAVENUMBERS}"
    )
  flat = rows.reshape(-1, len(s))
  mean, norm = flat, np.ones((1, len(s)))
  if (folder / "mean.npy").exists():
    mean = _like(folder / "mean.npy", rows).reshape(flat.shape)
  if (folder / "norm.npy").exists():
    norm = _flat_field(folder / "norm.npy", rows)
  return Responses(
    folder.resolve().name,
    s,
    flat,
    mean,
    norm,
    _nominal(data, folder, rows.shape[-2]),
    rows.shape[:-1],
    notes,
    order,
  )


def _require(folder: Path) -> None:
  """Requires the two files that every acquisition has."""
  if not folder.is_dir():
    raise UserError(f"--config.data.root: there is no folder {folder}")
  missing = [n for n in (_DATA, _WAVENUMBERS) if not (folder / n).exists()]
  if not missing:
    return
  inside = sorted(path.parent.name for path in folder.glob(f"*/{_DATA}"))
  if inside:
    raise UserError(
      f"{folder} holds several acquisitions, {', '.join(inside)}: choose one"
      f" with --config.data.root={folder / inside[0]}"
    )
  raise UserError(
    f"{folder} has no {' and no '.join(missing)}; expected {_DATA}"
    f" [interferometers sources] and {_WAVENUMBERS} [sources]"
  )


def _ascending(found: np.ndarray) -> tuple[np.ndarray, Any, tuple[str, ...]]:
  """Wavenumbers in order, their order if it was another one, and notes."""
  s = np.asarray(found, np.float64)
  if s.ndim != 1 or len(s) < _FEWEST or not (np.isfinite(s) & (s > 0)).all():
    raise UserError(
      f"{_WAVENUMBERS} has shape {s.shape}, from {np.min(s, initial=np.inf):g}"
      f" to {np.max(s, initial=-np.inf):g}; expected {_FEWEST} or more"
      " wavenumbers above 0, in 1/um"
    )
  if s.max() > _LARGEST:
    raise UserError(
      f"{_WAVENUMBERS} goes from {s.min():g} to {s.max():g}; expected"
      f" wavenumbers in 1/um, {_LARGEST} at most: of wavelengths in nm save"
      " 1000 / nm, of wavenumbers in 1/cm a 10000th"
    )
  order, notes = None, []
  if np.any(np.diff(s) < 0):
    order = np.argsort(s, kind="stable")
    s = s[order]
    notes.append(f"{_WAVENUMBERS} is not ascending: the sources are sorted")
  if repeated := int(np.sum(np.diff(s) == 0)):
    notes.append(
      f"{_WAVENUMBERS} repeats {repeated} wavenumbers: each counts by itself"
    )
  if s[0] == s[-1]:
    raise UserError(
      f"all of {_WAVENUMBERS} are {s[0]:g}; expected different ones"
    )
  return s, order, tuple(notes)


def _like(path: Path, rows: np.ndarray) -> np.ndarray:
  found = array_file.read(path, mapped=True)
  if found.shape != rows.shape:
    raise UserError(
      f"{path} has shape {found.shape}; expected {rows.shape}, as {_DATA}"
    )
  return found


def _flat_field(path: Path, rows: np.ndarray) -> np.ndarray:
  """A flat field for all rows, for each interferometer, or for each row."""
  found = array_file.read(path, mapped=True)
  *_, interferometers, sources = rows.shape
  fitting = {(sources,), (interferometers, sources), rows.shape}
  if found.shape not in fitting:
    raise UserError(
      f"{path} has shape {found.shape}; expected {rows.shape}, as {_DATA}, or"
      f" ({sources},)"
    )
  return found.reshape(-1, sources)


def _nominal(data: Any, folder: Path, count: int) -> Float[np.ndarray, " i"]:
  """The OPD of each interferometer by sheet, step or options; else nan."""
  if data.sheet:
    return device_sheet.opds(Path(data.sheet), count)
  step, options = data.opd_step, folder / "options.json"
  if not step and options.exists():
    step = json_files.read_json(options, _Options).get("opd_step", 0.0)
  if not step:
    return np.full(count, np.nan)
  return np.arange(count) * step

"""The text files of KITTI's object benchmark: labels, results, calibration.

A line of a label file is an object in 15 columns: its kind, how much of it is
truncated (0..1), how it is occluded (0..3), the angle alpha, the box (left,
top, right, bottom), height, width and length, x, y and z, the yaw. A result
has its score as column 16. Areas that nobody labelled are of the kind
"DontCare", with -1, -10 and -1000 for what is unknown.
"""

from pathlib import Path

from jaxtyping import Float
import numpy as np

from protojax import text_files
from protojax.data import cuboids
from protojax.data.cuboids import Cuboids
from protojax.types import UserError

DONT_CARE = "DontCare"
_COLUMNS = 15
_MOST = 1 << 24  # bytes of a file


def read(path: str | Path) -> Cuboids:
  """The objects of a label or result file; an empty file has none.

  Raises:
    UserError: a line is not of 15 or 16 columns, or not of numbers.
  """
  return parsed(text_files.read(path, _MOST), str(path))


def parsed(text: str, name: str) -> Cuboids:
  """The objects of the text of a file.

  Args:
    text: of the file.
    name: of the file, for messages.

  Raises:
    UserError: see `read`.
  """
  kinds, rows = [], []
  for number, line in enumerate(text.splitlines(), 1):
    kind, *values = line.split() or [""]
    if not kind:
      continue
    found = _numbers(values)
    if found is None or len(found) + 1 not in (_COLUMNS, _COLUMNS + 1):
      raise UserError(
        f"{name}, line {number}: {line.strip()[:60]!r} is no label of KITTI:"
        f" expected a kind and {_COLUMNS - 1} numbers, or {_COLUMNS} with a"
        " score"
      )
    kinds.append(kind)
    rows.append([*found, np.nan][:_COLUMNS])
  table = np.array(rows, float).reshape(-1, _COLUMNS)
  return Cuboids(
    kinds=tuple(kinds),
    boxes=table[:, 3:7],
    sizes=table[:, 7:10],
    places=table[:, 10:13],
    yaws=table[:, 13],
    alphas=table[:, 2],
    truncated=table[:, 0],
    occluded=table[:, 1].astype(np.int64),
    scores=table[:, 14],
  )


def written(objects: Cuboids) -> str:
  """The text of a label file; with scores, of a result file."""
  lines = []
  for i, kind in enumerate(objects.kinds):
    numbers = [
      objects.alphas[i],
      *objects.boxes[i],
      *objects.sizes[i],
      *objects.places[i],
      objects.yaws[i],
    ]
    words = [kind, f"{objects.truncated[i]:.2f}", str(int(objects.occluded[i]))]
    words += [f"{x:.2f}" for x in numbers]
    if np.isfinite(objects.scores[i]):
      words.append(f"{objects.scores[i]:.4f}")
    lines.append(" ".join(words) + "\n")
  return "".join(lines)


def camera(path: str | Path) -> Float[np.ndarray, "3 4"]:
  """P2 of a calibration file: from space to pixels of the left colour camera.

  Raises:
    UserError: the file is not there, or has no P2 of twelve numbers.
  """
  for line in text_files.read(path, _MOST).splitlines():
    name, _, rest = line.partition(":")
    if name.strip() == "P2":
      found = _numbers(rest.split())
      if found is None or len(found) != 12:
        break
      matrix = np.array(found).reshape(3, 4)
      if matrix[0, 0] > 0 and matrix[1, 1] > 0:
        return matrix
      break
  raise UserError(
    f"{path} has no camera: expected a line 'P2:' with twelve numbers, rows of"
    " the projection matrix"
  )


def written_camera(matrix: Float[np.ndarray, "3 4"]) -> str:
  """The text of a calibration file; the camera stands where the scanner is."""
  row = " ".join(f"{x:.6e}" for x in matrix.reshape(-1))
  unit = " ".join(f"{x:.6e}" for x in np.eye(3).reshape(-1))
  moved = " ".join(f"{x:.6e}" for x in np.eye(3, 4).reshape(-1))
  return (
    "".join(f"P{k}: {row}\n" for k in range(4))
    + f"R0_rect: {unit}\nTr_velo_to_cam: {moved}\nTr_imu_to_velo: {moved}\n"
  )


def seen(objects: Cuboids, height: int, width: int) -> Cuboids:
  """Objects with a box inside the image, cut at its edges; no "DontCare"."""
  boxes, there = cuboids.inside(objects.boxes, height, width)
  known = np.array([kind != DONT_CARE for kind in objects.kinds], bool)
  return objects._replace(boxes=boxes).chosen(there & known)


def _numbers(words: list[str]) -> list[float] | None:
  """Finite numbers; None if one is none."""
  try:
    found = [float(word) for word in words]
  except ValueError:
    return None
  return found if np.all(np.isfinite(found)) else None

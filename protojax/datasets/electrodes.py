"""Electrodes of the 10-10 system on a flat head, and two montages."""

from collections.abc import Sequence
import math
import re

from jaxtyping import Float
import numpy as np

from protojax.types import UserError

# Emotiv EPOC, as in DREAMER (Katsigiannis and Ramzan, 2018).
EPOC = (
  *("AF3", "F7", "F3", "FC5", "T7", "P7", "O1"),
  *("O2", "P8", "T8", "FC6", "F4", "F8", "AF4"),
)
# BioSemi with 32 electrodes, as in MAHNOB-HCI (Soleymani et al., 2012).
BIOSEMI = (
  *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3"),
  *("P7", "PO3", "O1", "Oz", "Pz", "Fp2", "AF4", "Fz", "F4", "F8", "FC6"),
  *("FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
)
# Row -> angle from the nose of its outermost electrode, in degrees, and the
# place of its middle one on the line from the nose to the back.
_ROWS = {
  "FP": (18, 1.0),
  "AF": (36, 0.75),
  "F": (54, 0.5),
  "FC": (72, 0.25),
  "FT": (72, 0.25),
  "C": (90, 0.0),
  "T": (90, 0.0),
  "TP": (108, -0.25),
  "CP": (108, -0.25),
  "P": (126, -0.5),
  "PO": (144, -0.75),
  "O": (162, -1.0),
}
# Names before 1991.
_OLD = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_NAME = re.compile(r"([A-Z]+?)(Z|\d+)")


def places(names: Sequence[str]) -> Float[np.ndarray, "e 2"]:
  """x to the right ear and y to the nose; the outermost ring has radius 1.

  An electrode lies between the middle and the outermost one of its row, at a
  quarter of the way for each pair of numbers. The lines are straight here and
  curved on a head.

  Raises:
    UserError: a name is not of the 10-10 system.
  """
  return np.array([_place(name) for name in names], np.float64)


def _place(name: str) -> tuple[float, float]:
  plain = name.strip().upper()
  found = _NAME.fullmatch(_OLD.get(plain, plain))
  if not found or found[1] not in _ROWS:
    raise UserError(
      f"the electrode {name!r} is not of the 10-10 system; expected names such"
      " as Fz, AF3, T7"
    )
  angle, middle = _ROWS[found[1]]
  if found[2] == "Z":
    return 0.0, middle
  number = int(found[2])
  if not 1 <= number <= 10:
    raise UserError(f"the electrode {name!r} has a number above 10")
  side = -1.0 if number % 2 else 1.0
  share = 1.0 if found[1] in ("FP", "O") else (number + 1) // 2 / 4
  x = math.sin(math.radians(angle)) * min(share, 1.0) * side
  edge = math.cos(math.radians(angle))
  return x, middle + min(share, 1.0) * (edge - middle)


def require_montage(
  found: Sequence[str], expected: Sequence[str], where: str
) -> list[int]:
  """The position in a recording of each electrode of a montage.

  Args:
    found: names of the recording's channels.
    expected: electrodes of the montage.
    where: the recording, for the message.

  Raises:
    UserError: an electrode is missing: the recording has another montage.
  """
  known = {_OLD.get(n.strip().upper(), n.strip().upper()): i
           for i, n in enumerate(found)}  # fmt: skip
  missing = [name for name in expected if name.upper() not in known]
  if missing:
    raise UserError(
      f"{where} has {len(found)} channels ({', '.join(found)}) and lacks"
      f" {', '.join(missing)} of the {len(expected)} electrodes that are"
      " expected: it is of another montage; choose the data set that it is of"
      " with --config.modality.name"
    )
  return [known[name.upper()] for name in expected]

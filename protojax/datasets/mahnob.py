"""MAHNOB-HCI: EEG of film clips, --config.modality.root=DIR with Sessions/.

Each folder of Sessions has a session.xml with feltVlnc and feltArsl of 1 to 9
and the subject's id, and a recording *.bdf of 32 electrodes (Soleymani et al.,
2012). A recording begins 30 seconds before the clip and ends 30 seconds after
it; both are left out, unless --config.modality.margin says otherwise. Sessions
without felt scores or without a recording are named and left out.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from protojax import parallel, text_files
from protojax.datasets import bdf, electrodes, topomaps
from protojax.datasets.measurements import Measurements
from protojax.datasets.topomaps import Recording
from protojax.types import UserError

_MARGIN = 30.0  # seconds
_LOW, _HIGH = 1.0, 9.0  # of the scores


def measure(modality: Any, seed: int) -> Measurements:
  """Maps of all pieces of all sessions.

  Raises:
    UserError: there is no session, or one is of another montage.
  """
  del seed
  if not modality.root:
    raise UserError(
      "no recordings given: set --config.modality.root=DIR, with Sessions/ in"
      " it, or --config.modality.name=synthetic_eeg to try the commands"
    )
  root = Path(modality.root).expanduser()
  home = root / "Sessions" if (root / "Sessions").is_dir() else root
  if not home.is_dir():
    raise UserError(f"no folder {home}: --config.modality.root=DIR")
  margin = _MARGIN if modality.margin < 0 else modality.margin
  found, left_out = [], []
  for file in sorted(home.glob("*/session.xml")):
    session = _session(file)
    recordings = sorted(file.parent.glob("*.bdf"))
    if session is None or not recordings:
      left_out.append(file.parent.name)
      continue
    found.append(_recording(recordings[0], *session, margin))
  if left_out:
    parallel.say(
      f"note: {len(left_out)} sessions of {home} have no felt scores or no .bdf"
      f" and are left out: {', '.join(left_out[:5])}"
    )
  if not found:
    raise UserError(
      f"no session with session.xml and a .bdf in {home}; expected"
      " Sessions/<number>/session.xml"
    )
  return topomaps.measurements(
    "MAHNOB-HCI", found, electrodes.BIOSEMI, modality.size, modality.seconds
  )


def _session(file: Path) -> tuple[int, tuple[float, float]] | None:
  """The subject and what it felt; None where that was not asked."""
  try:
    tree = ElementTree.fromstring(text_files.read(file))
  except ElementTree.ParseError as error:
    raise UserError(f"{file} is no XML ({error}); copy it anew") from error
  felt = [tree.get(name) for name in ("feltVlnc", "feltArsl")]
  subject = tree.find("subject")
  if None in felt or subject is None:
    return None
  try:
    number = int(subject.get("id", ""))
    scores = [float(x or "") for x in felt]
  except ValueError as error:
    raise UserError(
      f"{file}: a score or an id is no number ({error})"
    ) from error
  if not all(_LOW <= x <= _HIGH for x in scores):
    raise UserError(f"{file} has scores {scores}; they go from 1 to 9")
  valence, arousal = ((x - _LOW) / (_HIGH - _LOW) * 2 - 1 for x in scores)
  return number, (valence, arousal)


def _recording(
  file: Path, subject: int, target: tuple[float, float], margin: float
) -> Recording:
  order = electrodes.require_montage(
    bdf.channels(file), electrodes.BIOSEMI, str(file)
  )
  signals = bdf.read(file, order)
  edge = round(margin * signals.rate)
  values = signals.values[edge : len(signals.values) - edge]
  if not len(values):
    raise UserError(
      f"{file} lasts {len(signals.values) / signals.rate:g} s, no longer than"
      f" two margins of {margin:g} s: set --config.modality.margin=0"
    )
  return Recording(
    np.asarray(values, np.float64), signals.rate, subject, target
  )

"""DREAMER: EEG of 23 subjects in 18 film clips, in one Matlab file.

It is read with --config.modality.root=DREAMER.mat. The published file
(Katsigiannis and Ramzan, 2018) is a Matlab struct DREAMER with
Data{subject}.EEG.stimuli{clip} [samples 14], .ScoreValence and .ScoreArousal of
1 to 5, EEG_SamplingRate and EEG_Electrodes. By default the last 60 seconds of
each clip are read, as its authors did.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from protojax import text_files, writing
from protojax.datasets import electrodes, topomaps
from protojax.datasets.measurements import Measurements
from protojax.datasets.topomaps import Recording
from protojax.types import UserError

_LAST = 60.0  # seconds of a clip
_LOW, _HIGH = 1.0, 5.0  # of the scores


def measure(modality: Any, seed: int) -> Measurements:
  """Maps of all pieces of all clips.

  Raises:
    UserError: the file is not there, or is not DREAMER's.
  """
  del seed
  if not modality.root:
    raise UserError(
      "no recordings given: set --config.modality.root=DREAMER.mat, or"
      " --config.modality.name=synthetic_eeg to try the commands"
    )
  path = Path(modality.root).expanduser()
  try:
    recordings = list(_recordings(_struct(path), modality.margin, str(path)))
  except (AttributeError, KeyError, IndexError, TypeError) as error:
    raise UserError(
      f"{path} lacks a part of DREAMER's struct ({writing.first_line(error)});"
      " expected Data{subject}.EEG.stimuli{clip} with its scores"
    ) from error
  return topomaps.measurements(
    path.stem, recordings, electrodes.EPOC, modality.size, modality.seconds
  )


def _struct(path: Path) -> Any:
  import scipy.io

  with text_files.opened(path) as raw:
    try:
      found = scipy.io.loadmat(
        raw, squeeze_me=True, struct_as_record=False, simplify_cells=False
      )
    # A broken file may raise anything.
    except Exception as error:
      raise UserError(
        f"{path} is no .mat file that can be read"
        f" ({writing.first_line(error)}); one of Matlab's format 7.3 must be"
        " saved anew with -v7"
      ) from error
  if "DREAMER" not in found:
    names = [name for name in found if not name.startswith("__")]
    raise UserError(
      f"{path} holds {', '.join(names) or 'nothing'}; expected a struct DREAMER"
    )
  return found["DREAMER"]


def _recordings(struct: Any, margin: float, where: str) -> Iterator[Recording]:
  rate = float(struct.EEG_SamplingRate)
  names = [str(name) for name in np.atleast_1d(struct.EEG_Electrodes)]
  order = electrodes.require_montage(names, electrodes.EPOC, where)
  for subject, of_subject in enumerate(np.atleast_1d(struct.Data)):
    clips = np.atleast_1d(of_subject.EEG.stimuli)
    scores = zip(
      np.atleast_1d(of_subject.ScoreValence),
      np.atleast_1d(of_subject.ScoreArousal),
      strict=True,
    )
    for signal, pair in zip(clips, scores, strict=True):
      signal = np.asarray(signal, np.float64)
      if signal.ndim != 2 or signal.shape[1] != len(names):
        raise UserError(
          f"{where}, subject {subject + 1}: a clip is of shape {signal.shape};"
          f" expected samples by {len(names)} electrodes"
        )
      valence, arousal = (_scaled(float(x), where) for x in pair)
      yield Recording(
        _cut(signal[:, order], rate, margin), rate, subject, (valence, arousal)
      )


def _cut(signal: np.ndarray, rate: float, margin: float) -> np.ndarray:
  """The last minute, or what is between two margins of so many seconds."""
  if margin < 0:
    return signal[-round(_LAST * rate) :]
  edge = round(margin * rate)
  return signal[edge : len(signal) - edge]


def _scaled(score: float, where: str) -> float:
  if not _LOW <= score <= _HIGH:
    raise UserError(
      f"{where} has a score of {score:g}; DREAMER's go from 1 to 5"
    )
  return (score - _LOW) / (_HIGH - _LOW) * 2 - 1

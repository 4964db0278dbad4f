"""Synthetic EEG: made up here, for tests and for trying the commands.

It is no recording, and nothing learned from it says anything about a brain.
Each subject has noise with a spectrum of its own. Alpha power on one side of
the front falls and beta power behind rises with made-up valence and arousal, so
that there is something to learn.
"""

from typing import Any

import numpy as np

from protojax.datasets import electrodes, topomaps
from protojax.datasets.measurements import Measurements
from protojax.datasets.topomaps import Recording

SUBJECTS, TRIALS, RATE, LENGTH = 9, 12, 128.0, 8.0


def measure(modality: Any, seed: int) -> Measurements:
  """Maps of synthetic recordings on the EPOC montage; no file is read."""
  rng = np.random.default_rng([seed, 7])
  made = [
    _recording(rng, subject)
    for subject in range(SUBJECTS)
    for _ in range(TRIALS)
  ]
  return topomaps.measurements(
    "synthetic EEG",
    made,
    electrodes.EPOC,
    modality.size,
    modality.seconds,
    synthetic=True,
  )


def _recording(rng: np.random.Generator, subject: int) -> Recording:
  valence, arousal = rng.uniform(-1, 1, 2)
  t = np.arange(int(LENGTH * RATE)) / RATE
  count = len(electrodes.EPOC)
  signal = rng.normal(size=(len(t), count)) * (1 + 0.2 * (subject % 3))
  at = electrodes.places(electrodes.EPOC)
  right_front = (at[:, 0] > 0) & (at[:, 1] > 0)
  back = at[:, 1] < 0
  for where, low, high, strength in (
    (right_front, 8.0, 13.0, np.exp(valence)),
    (back, 13.0, 30.0, np.exp(-arousal)),
  ):
    wave = np.sin(
      2 * np.pi * rng.uniform(low, high) * t + rng.uniform(0, 2 * np.pi)
    )
    signal[:, where] += strength * wave[:, None]
  return Recording(signal, RATE, subject, (float(valence), float(arousal)))

"""Maps of the scalp from EEG: band power, its logarithm, interpolated.

Steps: pieces of some seconds; power of each electrode in four bands; logarithm;
z-score by subject, electrode and band; inverse-distance weights onto a square,
0 outside of the head. The paper does not say how its maps are made; this is a
design of ours.
"""

from collections.abc import Mapping, Sequence
import dataclasses

from jaxtyping import Float
import numpy as np

from protojax.datasets import electrodes
from protojax.datasets.measurements import Measurements
from protojax.types import UserError

# Hz.
BANDS: Mapping[str, tuple[float, float]] = {
  "theta": (4.0, 8.0),
  "alpha": (8.0, 13.0),
  "beta": (13.0, 30.0),
  "gamma": (30.0, 45.0),
}
# The map reaches so far beyond the outermost ring of electrodes.
_REACH = 1.15
_POWER = 2  # of the distance, in the weights


@dataclasses.dataclass(frozen=True)
class Recording:
  """The EEG of one subject in one trial.

  Attributes:
    signal: of each electrode, in the unit of the file.
    rate: samples a second.
    subject: its number.
    target: what the subject said, brought to -1..1.
  """

  signal: Float[np.ndarray, "t e"]
  rate: float
  subject: int
  target: tuple[float, float]


def band_power(
  signal: Float[np.ndarray, "t e"], rate: float
) -> Float[np.ndarray, "e c"]:
  """Mean power density in each band, of the signal under a Hann window."""
  t = len(signal)
  window = np.hanning(t)[:, None]
  spectrum = (
    np.abs(np.fft.rfft((signal - signal.mean(0)) * window, axis=0)) ** 2
  )
  spectrum /= rate * (window**2).sum()
  frequencies = np.fft.rfftfreq(t, 1 / rate)
  return np.stack(
    [
      spectrum[(frequencies >= low) & (frequencies < high)].mean(axis=0)
      for low, high in BANDS.values()
    ],
    axis=1,
  )


def weights(
  names: Sequence[str], side: int
) -> Float[np.ndarray, "side side e"]:
  """Share of each electrode in each pixel; all are 0 outside of the head.

  The nose is at the top, and the right ear to the right.
  """
  at = electrodes.places(names)
  line = (np.arange(side) + 0.5) / side * 2 * _REACH - _REACH
  x, y = np.meshgrid(line, -line)
  pixels = np.stack([x, y], axis=-1)
  apart = np.linalg.norm(pixels[:, :, None] - at[None, None], axis=-1)
  near = 1 / np.maximum(apart, 1e-6) ** _POWER
  near /= near.sum(axis=-1, keepdims=True)
  return near * (np.hypot(x, y) <= _REACH)[..., None]


def measurements(
  title: str,
  recordings: Sequence[Recording],
  names: Sequence[str],
  side: int,
  seconds: float,
  synthetic: bool = False,
) -> Measurements:
  """Maps of all pieces of some recordings.

  Args:
    title: what they are called.
    recordings: with the electrodes of `names`.
    names: of the montage.
    side: of a map.
    seconds: of a piece; what is left over at the end is dropped.
    synthetic: True if they were made up.

  Raises:
    UserError: no recording is as long as a piece, a signal is not finite or an
      electrode is silent, or the band above half the rate.
  """
  powers, targets, subjects = [], [], []
  for n, recording in enumerate(recordings):
    _require_signal(title, n, recording, len(names))
    length = round(seconds * recording.rate)
    for start in range(0, len(recording.signal) - length + 1, max(length, 1)):
      piece = recording.signal[start : start + length]
      powers.append(band_power(piece, recording.rate))
      targets.append(recording.target)
      subjects.append(recording.subject)
  if not powers:
    raise UserError(
      f"none of the {len(recordings)} recordings of {title} lasts {seconds:g}"
      " s: set --config.modality.seconds lower"
    )
  found, groups = np.log(np.stack(powers)), np.array(subjects, np.int32)
  for subject in np.unique(groups):
    own = groups == subject
    spread = found[own].std(axis=0)
    found[own] = (found[own] - found[own].mean(axis=0)) / np.maximum(
      spread, 1e-6
    )
  maps = np.einsum("hwe,nec->nhwc", weights(names, side), found)
  return Measurements(
    title,
    maps.astype(np.float32),
    np.clip(np.array(targets, np.float32), -1, 1),
    groups,
    tuple(BANDS),
    synthetic,
  )


def _require_signal(
  title: str, number: int, recording: Recording, count: int
) -> None:
  where = f"recording {number} of {title} (subject {recording.subject})"
  signal = recording.signal
  if signal.ndim != 2 or signal.shape[1] != count:
    raise UserError(
      f"{where} is of shape {signal.shape}; expected samples by {count}"
      " electrodes: it is of another montage"
    )
  highest = max(high for _, high in BANDS.values())
  if recording.rate < 2 * highest:
    raise UserError(
      f"{where} has {recording.rate:g} samples a second; the bands reach"
      f" {highest:g} Hz and need {2 * highest:g} or more"
    )
  if not np.isfinite(signal).all():
    raise UserError(f"{where} has numbers that are not finite; leave it out")
  if silent := np.flatnonzero(np.ptp(signal, axis=0) == 0).tolist():
    raise UserError(
      f"{where}: electrode {silent[0]} is silent (all samples are equal); leave"
      " the recording out"
    )

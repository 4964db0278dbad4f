"""Made-up recordings in the published files' formats."""

import numpy as np
from scipy import io

from protojax.datasets import electrodes

RATE = 128


def signal(seconds, count, seed=0, rate=RATE):
  """Noise of so many electrodes."""
  rng = np.random.default_rng(seed)
  return rng.normal(size=(int(seconds * rate), count)) * 10


def dreamer(path, names=electrodes.EPOC, subjects=3, clips=2, score=3.0):
  """A file with the struct of DREAMER, a few seconds a clip."""
  people = np.empty((1, subjects), object)
  for s in range(subjects):
    stimuli = np.empty((clips, 1), object)
    for c in range(clips):
      stimuli[c, 0] = signal(9, len(names), seed=10 * s + c)
    people[0, s] = {
      "Age": "22",
      "EEG": {"stimuli": stimuli},
      "ScoreValence": np.array([[1.0], [score]]),
      "ScoreArousal": np.array([[5.0], [2.0]]),
    }
  struct = {
    "Data": people,
    "EEG_SamplingRate": RATE,
    "EEG_Electrodes": np.array(list(names), object),
  }
  io.savemat(path, {"DREAMER": struct})


def bdf(path, names, values, seconds, bits=(-8388608, 8388607)):
  """A BDF of one-second records; values [t e] in microvolts."""
  low, high = -262144, 262143
  count, rate = len(names), len(values) // seconds

  def fields(words, width):
    return "".join(f"{word!s:<{width}}" for word in words)

  head = f"{'':<80}{'':<80}{'01.01.10':<8}{'00.00.00':<8}"
  head += f"{256 * (count + 1):<8}{'24BIT':<44}{seconds:<8}{1:<8}{count:<4}"
  head += fields(names, 16) + fields(["active"] * count, 80)
  head += fields(["uV"] * count, 8)
  for number in (low, high, *bits):
    head += fields([number] * count, 8)
  head += fields(["none"] * count, 80) + fields([rate] * count, 8)
  head += fields([""] * count, 32)
  share = (values - low) / (high - low)
  digital = np.round(bits[0] + share * (bits[1] - bits[0])).astype(np.int64)
  unsigned = (digital & 0xFFFFFF).reshape(seconds, rate, count)
  ordered = np.moveaxis(unsigned, 2, 1).reshape(-1)
  samples = np.stack([ordered >> shift & 255 for shift in (0, 8, 16)], axis=1)
  content = samples.astype(np.uint8).tobytes()
  path.write_bytes(b"\xffBIOSEMI" + head.encode("ascii") + content)


def mahnob(root, subjects=3, names=electrodes.BIOSEMI, seconds=12, felt=True):
  """A folder of sessions, one for each subject."""
  for s in range(subjects):
    folder = root / "Sessions" / str(2 * s + 1)
    folder.mkdir(parents=True)
    scores = f'feltVlnc="{1 + 4 * s}" feltArsl="9"' if felt else ""
    (folder / "session.xml").write_text(
      f'<?xml version="1.0"?><session sessionId="{s}" {scores}>'
      f'<subject id="{s + 1}"/></session>'
    )
    names_and_status = (*names, "Status")
    values = signal(seconds, len(names_and_status), seed=s)
    bdf(folder / "Part_1_emotion.bdf", names_and_status, values, seconds)

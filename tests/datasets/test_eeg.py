"""EEG: electrodes, maps, and readers of the published files' formats."""

from types import SimpleNamespace

import numpy as np
import pytest

from protojax.datasets import (
  bdf,
  dreamer,
  electrodes,
  mahnob,
  synthetic_eeg,
  topomaps,
)
from protojax.types import UserError
from tests.datasets import eeg_fakes


def modality(root="", size=8, seconds=4.0, margin=-1.0):
  return SimpleNamespace(
    root=str(root), size=size, seconds=seconds, margin=margin
  )


def test_electrodes_lie_where_their_names_say():
  at = dict(
    zip(electrodes.BIOSEMI, electrodes.places(electrodes.BIOSEMI), strict=True)
  )
  np.testing.assert_allclose(at["Cz"], [0, 0], atol=1e-12)
  np.testing.assert_allclose(at["T8"], [1, 0], atol=1e-12)
  np.testing.assert_allclose(at["Fz"], [0, 0.5], atol=1e-12)
  for left, right in (("F3", "F4"), ("PO3", "PO4"), ("Fp1", "Fp2")):
    np.testing.assert_allclose(at[left], at[right] * [-1, 1], atol=1e-12)
  radius = np.hypot(*np.array(list(at.values())).T)
  assert radius.max() <= 1 + 1e-9
  np.testing.assert_allclose(radius[[3, 7, 13]], 1)
  # Older names of the same places.
  old, new = electrodes.places(["T3", "t6"]), electrodes.places(["T7", "P8"])
  np.testing.assert_array_equal(old, new)
  for name in ("EXG1", "F", "F99", ""):
    with pytest.raises(UserError, match="electrode"):
      electrodes.places([name])


def test_band_power_finds_the_band_of_a_wave():
  t = np.arange(512) / 128
  waves = np.stack([np.sin(2 * np.pi * f * t) for f in (6, 10, 20, 38)], axis=1)
  found = topomaps.band_power(waves, 128.0)
  np.testing.assert_array_equal(found.argmax(axis=1), range(4))
  np.testing.assert_allclose(topomaps.band_power(3 * waves, 128.0), 9 * found)


def test_weights_are_shares_inside_the_head():
  weights = topomaps.weights(electrodes.EPOC, 16)
  total = weights.sum(axis=-1)
  assert set(np.unique(total.round(9))) == {0.0, 1.0}
  assert total[0, 0] == 0
  assert total[8, 8] == 1
  # The nose is at the top: AF3 counts most there, O1 at the bottom.
  best = weights.argmax(axis=-1)
  assert electrodes.EPOC[best[1, 6]] == "AF3"
  assert electrodes.EPOC[best[14, 6]] == "O1"
  assert electrodes.EPOC[best[8, 14]] == "T8"


def test_maps_are_z_scores_of_each_subject():
  """So how loud a subject is cannot tell its targets."""
  one, other = (
    topomaps.measurements(
      "maps",
      [
        topomaps.Recording(
          scale * eeg_fakes.signal(20, 14, seed=s), 128.0, s, (0.0, 0.1)
        )
        for s, scale in enumerate(scales)
      ],
      electrodes.EPOC,
      8,
      4.0,
    )
    for scales in ((1, 1), (1, 50))
  )
  np.testing.assert_allclose(one.values, other.values, atol=1e-4)
  assert len(one) == 10
  np.testing.assert_array_equal(one.groups, np.repeat([0, 1], 5))
  np.testing.assert_allclose(one.values[:5].mean(axis=0), 0, atol=1e-5)
  assert one.channels == ("theta", "alpha", "beta", "gamma")
  assert one[3]["values"].shape == (8, 8, 4)


def test_synthetic_recordings_say_so_and_can_be_learned():
  found = synthetic_eeg.measure(modality(size=16), 0)
  assert found.synthetic
  assert "synthetic" in found.title
  assert len(np.unique(found.groups)) == synthetic_eeg.SUBJECTS
  # Alpha at the right front follows valence, beta behind falls with arousal.
  right, back = found.values[:, 5, 12, 1], found.values[:, 13, 8, 2]
  assert np.corrcoef(right, found.targets[:, 0])[0, 1] > 0.7
  assert np.corrcoef(back, found.targets[:, 1])[0, 1] < -0.7


def test_dreamer_is_read_from_its_struct(tmp_path):
  path = tmp_path / "DREAMER.mat"
  eeg_fakes.dreamer(path)
  found = dreamer.measure(modality(path), 0)
  # 9 seconds are two pieces of 4; three subjects, two clips.
  assert len(found) == 12
  np.testing.assert_array_equal(found.groups, np.repeat([0, 1, 2], 4))
  np.testing.assert_allclose(
    found.targets[[0, 2]], [[-1, 1], [0, -0.5]], atol=1e-6
  )
  assert not found.synthetic
  assert len(dreamer.measure(modality(path, margin=2.0), 0)) == 6


def test_dreamer_of_another_montage_is_refused(tmp_path):
  path = tmp_path / "DREAMER.mat"
  eeg_fakes.dreamer(path, names=[*electrodes.EPOC[:-1], "Cz"])
  with pytest.raises(UserError, match=r"lacks AF4 .* another montage"):
    dreamer.measure(modality(path), 0)
  eeg_fakes.dreamer(path, score=9.0)
  with pytest.raises(UserError, match="a score of 9"):
    dreamer.measure(modality(path), 0)
  path.write_bytes(b"MATLAB?")
  with pytest.raises(UserError, match=r"is no \.mat file"):
    dreamer.measure(modality(path), 0)
  from scipy import io

  io.savemat(path, {"DEAP": 1})
  with pytest.raises(UserError, match="expected a struct DREAMER"):
    dreamer.measure(modality(path), 0)
  io.savemat(path, {"DREAMER": {"noOfSubjects": 23}})
  with pytest.raises(UserError, match="lacks a part"):
    dreamer.measure(modality(path), 0)
  with pytest.raises(UserError, match="synthetic_eeg"):
    dreamer.measure(modality(), 0)


def test_bdf_gives_back_what_was_written(tmp_path):
  path, names = tmp_path / "a.bdf", ("Fz", "Cz", "Status")
  values = np.random.default_rng(0).uniform(-2e5, 2e5, (30, 3))
  eeg_fakes.bdf(path, names, values, seconds=3)
  assert bdf.channels(path) == names
  found = bdf.read(path, [2, 0])
  assert found.names == ("Status", "Fz")
  assert found.rate == 10
  # A step of 24 bits is 0.03 microvolts.
  np.testing.assert_allclose(found.values, values[:, [2, 0]], atol=0.02)
  content = path.read_bytes()
  for changed, said in (
    (content[:-3], "is cut off: 2 of 3 records"),
    (content[:300], "cut off within its header"),
    (b"0" + content[1:], "is no BDF file"),
    (content[:252] + b"many" + content[256:], "is no number"),
  ):
    path.write_bytes(changed)
    with pytest.raises(UserError, match=said):
      bdf.read(path, [0])


def test_mahnob_is_read_from_its_sessions(tmp_path):
  eeg_fakes.mahnob(tmp_path)
  found = mahnob.measure(modality(tmp_path, margin=2.0), 0)
  assert len(found) == 6  # 12 s less twice 2, in pieces of 4
  np.testing.assert_array_equal(found.groups, np.repeat([1, 2, 3], 2))
  np.testing.assert_allclose(found.targets[::2], [[-1, 1], [0, 1], [1, 1]])
  with pytest.raises(UserError, match="no longer than two margins of 30 s"):
    mahnob.measure(modality(tmp_path), 0)


def test_mahnob_names_what_is_wrong(tmp_path, capsys):
  names = [*electrodes.BIOSEMI[:-1], "EXG1"]
  eeg_fakes.mahnob(tmp_path / "other", names=names)
  with pytest.raises(UserError, match="lacks O2 of the 32 electrodes"):
    mahnob.measure(modality(tmp_path / "other"), 0)
  eeg_fakes.mahnob(tmp_path / "unfelt", felt=False)
  with pytest.raises(UserError, match=r"no session with session\.xml"):
    mahnob.measure(modality(tmp_path / "unfelt"), 0)
  assert "3 sessions of" in capsys.readouterr().out
  file = next((tmp_path / "unfelt").rglob("session.xml"))
  file.write_text("<session")
  with pytest.raises(UserError, match="is no XML"):
    mahnob.measure(modality(tmp_path / "unfelt"), 0)
  with pytest.raises(UserError, match="no folder"):
    mahnob.measure(modality(tmp_path / "absent"), 0)


@pytest.mark.parametrize(
  ("signal", "rate", "said"),
  [
    (eeg_fakes.signal(5, 13), 128.0, "another montage"),
    (eeg_fakes.signal(5, 14), 60.0, "need 90 or more"),
    (eeg_fakes.signal(5, 14) * [0, *[1] * 13], 128.0, "electrode 0 is silent"),
    (eeg_fakes.signal(5, 14) * np.nan, 128.0, "not finite"),
    (eeg_fakes.signal(2, 14), 128.0, "none of the 1 recordings"),
  ],
)
def test_recordings_that_give_no_maps_are_refused(signal, rate, said):
  recording = topomaps.Recording(signal, rate, 1, (0.0, 0.0))
  with pytest.raises(UserError, match=said):
    topomaps.measurements("a", [recording], electrodes.EPOC, 8, 4.0)

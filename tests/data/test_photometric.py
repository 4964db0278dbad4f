"""SSD's random colours against the standard library's HSV."""

import colorsys

import jax
import numpy as np
from numpy.testing import assert_allclose
import pytest
from scipy import stats

from protojax.data import photometric
from protojax.data.photometric import Drawn

_CHANGED = jax.jit(photometric.changed)
_PLAIN = Drawn(*map(np.float32, (0, 1, 1, 0)), np.bool_(True))


@pytest.fixture
def image():
  rng = np.random.default_rng(0)
  found = rng.uniform(0, 255, (6, 7, 3)).astype(np.float32)
  found[0, :3] = 0, 90, 255  # greys
  found[0, 0] = 0
  return found


def _by_hand(image, drawn):
  def contrasted(x, whether):
    return np.clip(x * (drawn.contrast if whether else 1), 0, 255)

  x = contrasted(np.clip(image + drawn.added, 0, 255), drawn.first)
  for place in np.ndindex(x.shape[:2]):
    h, s, v = colorsys.rgb_to_hsv(*(x[place] / 255))
    h, s = (h + drawn.turn / 360) % 1, min(1, s * drawn.saturated)
    x[place] = 255 * np.array(colorsys.hsv_to_rgb(h, s, v))
  return contrasted(x, not drawn.first)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("turn", [-36.0, 20.0])
@pytest.mark.parametrize("saturated", [0.5, 1.5])
def test_colours_are_those_of_the_standard_librarys_hsv(
  image, first, turn, saturated
):
  numbers = map(np.float32, (-20.0, 1.4, saturated, turn))
  drawn = Drawn(*numbers, np.bool_(first))
  expected = _by_hand(image.astype(float), drawn)
  assert_allclose(_CHANGED(image, drawn), expected, atol=1e-2)


def test_what_is_left_out_changes_nothing(image):
  assert_allclose(_CHANGED(image, _PLAIN), image, atol=1e-3)
  grey = np.full_like(image, 80)
  turned = _PLAIN._replace(turn=np.float32(30), saturated=np.float32(1.5))
  assert_allclose(_CHANGED(grey, turned), grey, atol=1e-4)


def test_each_change_comes_half_of_the_time():
  keys = jax.random.split(jax.random.key(0), 4000)
  drawn = jax.device_get(jax.jit(jax.vmap(photometric.draw))(keys))
  ranges = ((-32, 32, 0), (0.5, 1.5, 1), (0.5, 1.5, 1), (-36, 36, 0))
  there = []
  for values, (low, high, none) in zip(drawn[:4], ranges, strict=True):
    there.append(values != none)
    found = values[there[-1]]
    assert stats.kstest(found, "uniform", (low, high - low)).pvalue > 0.001
  for chosen in (*there, drawn.first):
    assert stats.binomtest(int(chosen.sum()), 4000, 0.5).pvalue > 0.001
  # One does not tell the other.
  together = np.corrcoef(np.stack([*there, drawn.first]))
  assert np.abs(together - np.eye(5)).max() < 0.07

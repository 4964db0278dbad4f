"""Means of what is lost by each characteristic, over images that have it."""

import numpy as np

from protojax.explain.in_blocks import MeanLosses, cause
from protojax.modify import presets

PRESET = presets.load("reference", "fast", "none")


def test_grey_images_count_for_what_they_have():
  found = MeanLosses(PRESET, 2)
  contrast, hue = map(PRESET.names.index, ("contrast", "hue"))
  rng = np.random.default_rng(0)
  delta = rng.normal(size=(3, len(PRESET.names), 2))
  found.add(delta[0], grey=False, there=np.array([True, False]))
  found.add(delta[1], grey=True, there=np.array([True, True]))
  found.add(delta[2], grey=False, there=np.array([True, False]))
  assert found.counts[:, hue].tolist() == [2, 0]
  assert found.counts[:, contrast].tolist() == [3, 1]
  means = found.means
  np.testing.assert_allclose(means[0, hue], delta[[0, 2], hue, 0].mean())
  assert np.isnan(means[1, hue])
  np.testing.assert_allclose(
    means[:, contrast], [delta[:, contrast, 0].mean(), delta[1, contrast, 1]]
  )


def test_the_cause_is_what_an_image_has_and_loses_most_by():
  names = list(presets.TWO_SIDED.names)
  delta = np.full(len(names), 0.1)
  delta[[names.index(n) for n in ("identity", "hue")]] = 0.9
  delta[[names.index(n) for n in ("texture", "more texture")]] = 0.5
  assert cause(presets.TWO_SIDED, delta) == (
    *(0.9, "because of its hue"),
    "with its hue changed",
  )
  grey = cause(presets.TWO_SIDED, delta, grey=True)
  assert grey == (0.5, "because it is smooth", "with grain added")
  assert cause(presets.TWO_SIDED, np.minimum(delta, 0) - 0.1) is None

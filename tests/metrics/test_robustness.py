"""Max-sensitivity, ROAD and MPRT: NumPy twins, SciPy, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
import scipy.sparse.linalg
import scipy.stats

from protojax.metrics import interpretability as metrics
from protojax.metrics import road
from protojax.types import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 7, 6, 3)).astype(np.float32)
MAPS = RNG.normal(size=(2, 7, 6)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), 2)


def test_max_sensitivity_is_the_largest_move_of_a_map():
  def explain(images):
    return jnp.sum(images**2, axis=-1)

  found = jax.jit(
    lambda x: metrics.max_sensitivity(explain, x, KEYS, 3.0, samples=4)
  )(IMAGES)
  for image, key, value in zip(IMAGES, KEYS, found, strict=True):
    moves = []
    for i in range(4):
      own = jax.random.fold_in(key, i)
      noise = jax.random.uniform(own, image.shape, minval=-3, maxval=3)
      moved = ((image + noise) ** 2).sum(-1) - (image**2).sum(-1)
      moves.append(np.linalg.norm(moved) / np.linalg.norm((image**2).sum(-1)))
    assert_allclose(value, max(moves), rtol=1e-4)


def test_a_map_of_zeros_has_no_sensitivity():
  found = metrics.max_sensitivity(
    lambda x: jnp.zeros(x.shape[:3]), IMAGES, KEYS, samples=1
  )
  assert np.isnan(found).all()


def filled(image, gone):
  """The linear system of ROAD, pixel by pixel."""
  height, width = gone.shape
  places = [tuple(p) for p in np.argwhere(gone)]
  matrix = np.zeros((len(places), len(places)))
  right = np.zeros((len(places), image.shape[-1]))
  for row, (y, x) in enumerate(places):
    for dy, dx in np.ndindex(3, 3):
      there = y + dy - 1, x + dx - 1
      inside = 0 <= there[0] < height and 0 <= there[1] < width
      if (dy, dx) == (1, 1) or not inside:
        continue
      weight = 1 / 12 if dy != 1 and dx != 1 else 1 / 6
      matrix[row, row] += weight
      if gone[there]:
        matrix[row, places.index(there)] -= weight
      else:
        right[row] += weight * image[there]
  result = image.copy()
  result[gone] = scipy.sparse.linalg.spsolve(
    scipy.sparse.csc_matrix(matrix), right
  )
  return result


def test_removed_pixels_become_the_mean_of_their_neighbours():
  gone = np.stack([MAPS > 0.5, MAPS > -1], axis=1)
  gone[:, 1, :3, :3] = True
  found = jax.jit(road.imputed)(IMAGES, gone)
  for b, s in np.ndindex(2, 2):
    expected = filled(IMAGES[b], gone[b, s])
    assert_allclose(found[b, s], expected, atol=255e-5)


def test_road_asks_whether_the_class_stays():
  def predict(images):
    dark = jnp.mean(images[:, 0, 0], axis=-1) < 100
    return jax.nn.one_hot(dark.astype(int), 2)

  images = np.full((2, 6, 6, 3), 200, np.float32)
  images[:, 0, 0] = 0
  # The dark pixel is the hottest of one image, and the coldest of the other.
  maps = np.zeros((2, 6, 6), np.float32)
  maps[:, 0, 0] = 1, -1
  classes = np.array([1, 1])
  found = jax.jit(
    lambda maps: metrics.road(predict, images, maps, classes, KEYS, (0.1, 0.9))
  )(maps)
  assert_array_equal(found, [[False, False], [True, True]])


def test_rank_correlation_is_scipys():
  ties = np.round(MAPS)
  compare = jax.jit(metrics.spearman)
  found = compare(MAPS, ties)
  expected = [
    scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic
    for a, b in zip(MAPS, ties, strict=True)
  ]
  assert_allclose(found, expected, rtol=1e-4)
  assert np.isnan(compare(MAPS, np.zeros_like(MAPS))).all()


PARAMS = {
  "head": {"kernel": jnp.asarray(RNG.normal(size=6), jnp.float32)},
  "trunk": {"kernel": jnp.asarray(RNG.normal(size=(7, 1)), jnp.float32)},
  "never": jnp.ones(2),
}


def explain(params, images):
  rows = params["trunk"]["kernel"] + params["head"]["kernel"][None]
  return jnp.sum(images, axis=-1) * rows[None] * params["never"][0]


def mprt(layers, **settings):
  key = jax.random.key(3)
  return jax.jit(
    lambda images: metrics.mprt(
      explain, PARAMS, images, key, layers, **settings
    )
  )(IMAGES)


@pytest.mark.slow
def test_mprt_goes_down_from_the_output():
  together = mprt(["head", "trunk"])
  apart = mprt(["head", "trunk"], cascading=False)
  assert together.shape == (2, 2)
  assert_allclose(together[0], apart[0])
  assert (np.abs(together[1] - apart[1]) > 1e-3).all()
  assert (together < 0.99).all()
  # A constant array keeps its values, and so the maps; a layer by its path.
  paths = mprt(["never", "head/kernel"])
  assert_allclose(paths[0], 1, rtol=1e-4)
  assert_allclose(paths[1], together[0], rtol=1e-4)


@pytest.mark.parametrize(
  ("layers", "message"),
  [
    (["neck"], "no parameters under 'neck'; they begin with head, never"),
    (["head", "head/kernel"], "lies within a layer named before"),
  ],
)
def test_layers_that_are_not_there_are_named(layers, message):
  with pytest.raises(UserError, match=message):
    mprt(layers)

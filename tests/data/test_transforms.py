"""Augmentation against ProtoPNet's recipe."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from protojax.data import transforms
from protojax.types import UserError


@functools.cache
def keys(count, seed=0):
  return jax.random.split(jax.random.key(seed), count)


@pytest.fixture
def image():
  return (
    np.random.default_rng(0).uniform(0, 255, (12, 16, 3)).astype(np.float32)
  )


@functools.cache
def compiled(name):
  return jax.jit(
    jax.vmap(lambda x, k: transforms.draw(name, k).pixels(x), in_axes=(None, 0))
  )


def augmented(name, image, keys):
  return np.asarray(compiled(name)(jnp.asarray(image), keys))


@pytest.mark.parametrize(
  "name", ["", "flip", "crop", "colour", "warp", "bend", "blur"]
)
def test_same_key_same_image_and_values_in_range(name, image):
  first = augmented(name, image, keys(200))
  np.testing.assert_array_equal(first, augmented(name, image, keys(200)))
  assert first.dtype == np.float32
  assert first.min() >= 0
  assert first.max() <= 255.001
  distinct = len(np.unique(first.reshape(200, -1), axis=0))
  assert distinct == {"": 1, "flip": 2}.get(name, 200)
  # Varied around the image, not away from it.
  assert abs(first.mean() - image.mean()) < 10


@pytest.mark.parametrize("name", ["flip", "crop", "warp", "bend"])
def test_a_constant_image_stays(name):
  image = np.full((12, 16, 3), 77.0, np.float32)
  np.testing.assert_allclose(augmented(name, image, keys(200)), 77, rtol=1e-5)


def test_flip_is_exact_and_even(image):
  got = augmented("flip", image, keys(200))
  flipped = np.array([np.array_equal(g, image[:, ::-1]) for g in got])
  kept = np.array([np.array_equal(g, image) for g in got])
  assert (flipped ^ kept).all()
  assert 0.35 < flipped.mean() < 0.65


def test_names_are_done_in_order_each_with_a_key_of_its_own(image):
  def by_hand(x, key):
    for number, step in enumerate(("flip", "colour", "flip")):
      step_key = jax.random.fold_in(key, number)
      augmentation = transforms.AUGMENTATIONS[step]
      x = augmentation.pixels(x, augmentation.draw(step_key))
    return x

  expected = jax.jit(jax.vmap(by_hand, in_axes=(None, 0)))(
    jnp.asarray(image), keys(200)
  )
  got = augmented("flip, colour,flip", image, keys(200))
  np.testing.assert_allclose(got, expected, atol=1e-3)
  assert np.abs(got - augmented("colour", image, keys(200))).max() > 1


def draws(draw):
  return np.asarray(jax.jit(jax.vmap(draw))(keys(4000, 1)), np.float64)


def even(sample, low, high):
  """True if a sample is uniform, by the test of Kolmogorov and Smirnov."""
  test = stats.kstest(sample, stats.uniform(low, high - low).cdf)
  return test.pvalue > 0.001


def often(hits, share):
  """True if something happens as often as it should."""
  test = stats.binomtest(int(hits.sum()), len(hits), share)
  return test.pvalue > 0.001


def test_angles_of_rotation():
  m = draws(transforms._rotation)
  degrees = np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0]))
  assert even(degrees, -15, 15)


def test_angles_and_axes_of_shear():
  m = draws(transforms._shear)
  lean = m[:, 0, 1] + m[:, 1, 0]
  assert even(np.degrees(np.arctan(lean)), -10, 10)
  assert often(m[:, 0, 1] != 0, 1 / 2)
  # Only one of the two.
  assert (m[:, 0, 1] * m[:, 1, 0] == 0).all()


def test_kinds_directions_and_shares_of_skew():
  """As often as Augmentor's: each side 3/16 of the time, each corner 1/32."""
  corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], float)
  # A corner of the image goes beyond the frame, or stays.
  places = corners @ np.linalg.inv(draws(transforms._skew)).transpose(0, 2, 1)
  moves = places[..., :2] / places[..., 2:] - corners[:, :2]
  assert even(np.abs(moves).max(axis=(1, 2)) / 2, 0, 0.2)
  signs = np.sign(np.where(np.abs(moves) < 1e-5, 0, moves)).reshape(-1, 8)
  outward = signs * corners[:, :2].ravel()
  assert set(outward.ravel()) == {0, 1}
  patterns, which = np.unique(outward, axis=0, return_inverse=True)
  assert np.bincount(patterns.sum(axis=1).astype(int)).tolist() == [0, 8, 4]
  for number, pattern in enumerate(patterns):
    share = 1 / 32 if pattern.sum() == 1 else 3 / 16
    assert often(which == number, share)


def test_angles_of_the_affine_warp():
  m = np.linalg.inv(draws(transforms._affine))
  angle = np.arctan2(m[:, 1, 0], m[:, 0, 0])
  assert even(np.degrees(angle), -25, 25)
  lean = np.arctan((-m[:, 0, 1] - np.sin(angle)) / np.cos(angle))
  assert even(np.degrees(lean), -15, 15)


def test_a_distortion_moves_vertices_by_five_pixels_of_224():
  drawn = jax.jit(jax.vmap(transforms._distortion))(keys(100))
  mesh = np.asarray(drawn.mesh, np.float64)
  assert mesh.shape == (100, 11, 11, 2)
  assert even(mesh[:, 1:-1, 1:-1].ravel() * 112, -5, 5)
  mesh[:, 1:-1, 1:-1] = 0
  assert not mesh.any()


def test_one_of_four_each_as_often():
  drawn = jax.jit(jax.vmap(transforms._one_of_four))(keys(4000, 1))
  bent = np.asarray(drawn.mesh).any((1, 2, 3))
  whole = (np.asarray(drawn.matrix) == np.eye(3)).all((1, 2))
  np.testing.assert_array_equal(bent, whole)
  assert often(bent, 1 / 4)


def test_one_of_three_each_as_often():
  m = draws(transforms._one_of_three)
  skewed = (m[:, 2, :2] != 0).any(axis=1)
  turned = (m[:, 0, 1] != 0) & (m[:, 1, 0] != 0) & ~skewed
  sheared = ~skewed & ~turned
  for kind in (skewed, turned, sheared):
    assert often(kind, 1 / 3)


def test_unknown_name_lists_the_known():
  with pytest.raises(UserError, match=r"no augmentation 'flop'; .*flip, crop"):
    transforms.draw("flip,flop", jax.random.key(0))


def test_what_images_go_through_on_the_web(image):
  found = augmented("resample", image, keys(60))
  assert len(np.unique(found.reshape(60, -1), axis=0)) == 3
  assert found.std() < image.std()
  hole = (augmented("cutout", image, keys(60)) == 0).all(axis=-1)
  assert 0 < hole.mean() < 0.16
  shifted = augmented("shift", image + 1, keys(60))
  black = (shifted == 0).all(axis=-1).mean()
  # Each axis loses 7.5 % on average.
  assert 0.05 < black < 0.25


def test_a_question_mark_is_half_of_the_time(image):
  for name in ("blur?", "bend?", "shift?"):
    found = augmented(name, image, keys(64))
    kept = np.array([np.array_equal(one, image) for one in found])
    assert 0.3 < kept.mean() < 0.7
    moves = transforms.draw(name, keys(1)[0]).moves
    assert len(moves) == (name != "blur?")
  with pytest.raises(UserError, match="no augmentation 'blurs\\?'"):
    transforms.draw("blurs?", keys(1)[0])

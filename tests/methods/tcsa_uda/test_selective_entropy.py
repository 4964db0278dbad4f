"""Selective entropy: its views, who agrees, and which way entropy is drawn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.tcsa_uda import objective, selective


@pytest.fixture(scope="module")
def images():
  """Smooth images of a target and of a darker source, grey values 0..255."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:16, :16] / 16
  waves = [np.sin(2 * np.pi * (x + y)), np.cos(2 * np.pi * (2 * x - y))]
  target = np.stack([128 + 40 * wave for wave in waves])
  noise = rng.uniform(-2, 2, (2, 2, 16, 16))
  both = np.stack([target + noise[0], 0.5 * target + noise[1]])
  return np.float32(both[..., None].repeat(3, axis=-1))


def test_views_change_what_they_should(images):
  target, source = images
  keys = jax.random.split(jax.random.key(0), 2)
  views = jax.jit(selective.views, static_argnums=3)
  found = np.asarray(views(target, source, keys, 2))
  assert found.shape == (8, 16, 16, 3)
  assert found.min() >= 0
  assert found.max() <= 255
  photometric, fourier = found[:4], found[4:]
  for view, image in zip(photometric, [*target] * 2, strict=True):
    # Grey values keep their order, and no two views are the same.
    order = np.argsort(image[..., 0].ravel())
    assert (np.diff(view[..., 0].ravel()[order]) >= -1e-4).all()
    assert np.abs(view - image).max() > 1
  assert len({round(float(view.mean()), 3) for view in found}) == 8
  for view, image, style in zip(
    fourier, [*target] * 2, [*source] * 2, strict=True
  ):
    # The mean is the lowest frequency; it goes to that of the source.
    mean, own, given = (x.mean() for x in (view, image, style))
    share = (own - mean) / (own - given)
    assert 0.5 - 1e-3 <= share <= 1 + 1e-3
    # Higher frequencies stay.
    left = np.abs(np.fft.fft2((view - image)[..., 0]))
    rows = np.abs(np.fft.fftfreq(16))
    high = np.maximum(rows[:, None], rows[None]) > 0.05
    assert left[high].max() < 0.05


def test_a_cell_is_firm_where_more_than_half_of_the_views_agree():
  own = jnp.int32([[[0, 1, 2]]])
  views = jnp.int32([[[0, 1, 0]], [[0, 1, 0]], [[0, 0, 2]], [[1, 0, 2]]])
  found = selective.agreed(own, views)
  assert np.asarray(found).tolist() == [[[True, False, False]]]


def test_entropy_is_drawn_down_where_firm_and_up_elsewhere():
  logits = jnp.asarray([[[[1.0, 0.0, -1.0], [0.5, 0.2, 0.1]]]])
  p = np.asarray(jax.nn.softmax(logits))
  each = -(p * np.log(p)).sum(-1) / math.log(3)
  firm = jnp.asarray([[[True, False]]])
  slope = jax.value_and_grad(lambda x: selective.entropy(x, firm), has_aux=True)
  (total, count), gradient = jax.jit(slope)(logits)
  np.testing.assert_allclose(total, each[0, 0, 0] - each[0, 0, 1], atol=1e-5)
  assert count == 2
  moved = np.asarray(jax.nn.softmax(logits - gradient))
  after = -(moved * np.log(moved)).sum(-1)[0, 0]
  before = -(p * np.log(p)).sum(-1)[0, 0]
  assert after[0] < before[0]
  assert after[1] > before[1]


def test_answers_below_the_confidence_are_of_no_class():
  p = np.float32([[[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]]])
  logits = jnp.log(p)
  for least, wanted in ((0.0, [0, 2, 0]), (0.6, [-1, 2, -1])):
    found = objective.confident(logits, least)
    assert np.asarray(found).tolist() == [[wanted]]

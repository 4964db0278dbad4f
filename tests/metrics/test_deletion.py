"""Deletion, insertion and relevance drops against loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from sklearn import metrics

from protojax.metrics import deletion

SIZE = 6

curves_of = {
  insert: jax.jit(
    deletion.insertion if insert else deletion.deletion,
    static_argnums=0,
    static_argnames="steps",
  )
  for insert in (False, True)
}
area = jax.jit(deletion.area)


@jax.jit
def _predict(images):
  """Class 0 is how bright the left half is, class 1 how bright the right."""
  bright = jnp.asarray(images, jnp.float32).mean(axis=(1, 3))
  left, right = bright[:, : SIZE // 2].mean(1), bright[:, SIZE // 2 :].mean(1)
  return jnp.stack([left, right], axis=1) / 255


def _draw(b=3):
  generator = np.random.default_rng(0)
  images = generator.integers(0, 256, (b, SIZE, SIZE, 3), dtype=np.uint8)
  maps = generator.normal(size=(b, SIZE, SIZE)).astype(np.float32)
  return images, maps, np.array([0, 1, 0])[:b]


def _curve(image, heat, label, fill, steps, insert):
  """RISE, algorithm 1, pixel by pixel."""
  hottest = np.argsort(-heat.ravel(), kind="stable")
  points = []
  for step in range(steps + 1):
    count = round(step * heat.size / steps)
    now, other = (fill, image) if insert else (image, fill)
    now = now.copy().reshape(-1, 3)
    for place in hottest[:count]:
      now[place] = other.reshape(-1, 3)[place]
    points.append(float(_predict(now.reshape(1, SIZE, SIZE, 3))[0, label]))
  return points


def test_curves_equal_the_loop():
  images, maps, labels = _draw()
  fill = np.full_like(images, 124)
  for insert in (False, True):
    found = np.asarray(
      curves_of[insert](_predict, images, maps, labels, fill, steps=5)
    )
    for i, row in enumerate(found):
      wanted = _curve(images[i], maps[i], labels[i], fill[i], 5, insert)
      assert_allclose(row, wanted, rtol=1e-5)


def test_the_area_is_the_trapezoid():
  curves = np.random.default_rng(0).random((4, 9)).astype(np.float32)
  for curve, found in zip(curves, np.asarray(area(curves)), strict=True):
    assert_allclose(
      found, metrics.auc(np.linspace(0, 1, len(curve)), curve), rtol=1e-6
    )


def test_closed_areas():
  """White images whose left half is the class: gone first, gone last."""
  image = np.full((1, SIZE, SIZE, 3), 255, np.uint8)
  black = np.zeros_like(image)
  left = np.zeros((1, SIZE, SIZE), np.float32)
  left[:, :, : SIZE // 2] = 1
  for heat, wanted in ((left, 0.25), (-left, 0.75)):
    for insert, share in ((False, wanted), (True, 1 - wanted)):
      curve = curves_of[insert](
        _predict, image, heat, np.array([0]), black, steps=SIZE * SIZE
      )
      assert_allclose(area(curve), share, atol=1e-6)


def test_a_flat_map_goes_row_by_row():
  flat = np.ones((2, 3, 4), np.float32)
  for places in np.asarray(jax.jit(deletion.order)(flat)):
    assert_array_equal(np.ravel(places), np.arange(12))


def test_blurred_is_scipys_gaussian_away_from_the_edges():
  image = np.random.default_rng(0).random((1, 40, 40, 1)).astype(np.float32)
  blurred = jax.jit(deletion.blurred, static_argnames="deviation")
  found = np.asarray(blurred(image, deviation=2 / 40))[0, ..., 0]
  wanted = ndimage.gaussian_filter(image[0, ..., 0], 2, truncate=8)
  assert_allclose(found[16:-16, 16:-16], wanted[16:-16, 16:-16], rtol=1e-4)
  assert_allclose(blurred(np.ones_like(image)), 1, rtol=1e-6)


def test_focus_and_dual_add_up_to_both_images():
  images, maps, _ = _draw()
  modified = 255 - images
  share = 1 / (1 + np.exp(-maps))
  blended = jax.jit(deletion.blended)
  focus = np.asarray(blended(images, modified, share))
  dual = np.asarray(blended(images, modified, 1 - share))
  assert_allclose(focus + dual, np.full(images.shape, 255.0), rtol=1e-5)
  everything = blended(images, modified, np.ones_like(maps))
  assert_array_equal(everything, modified.astype(np.float32))


def test_a_drop_of_nothing_is_not_defined():
  before, after = np.array([2.0, 4.0, 0.0]), np.array([1.0, 5.0, 0.0])
  found = jax.jit(deletion.relative_drop)(before, after)
  assert_array_equal(found, [0.5, -0.25, np.nan])

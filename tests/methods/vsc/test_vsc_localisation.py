"""L_loc: closed forms, the sign of its gradient, and its maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.vsc import localisation


def _halves(share, places=8):
  """A mask that covers this share of some places."""
  mask = np.zeros((1, 1, places), np.float32)
  mask[..., : round(share * places)] = 1
  return jnp.asarray(mask)


TRUE = jnp.ones((1, 1), bool)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_maps_that_are_the_same_everywhere(share):
  p = 0.3
  found = jnp.full((1, 1, 2, 8), p)
  value = localisation.loss(found, _halves(share), TRUE)
  np.testing.assert_allclose(value, 2 * p * (1 - 2 * share), atol=1e-6)
  value = localisation.loss(found, _halves(share), TRUE, by_area=True)
  np.testing.assert_allclose(value, 0, atol=1e-6)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_least_is_all_attention_inside(share):
  masks = _halves(share)
  found = 0.5 * jnp.repeat(masks[:, :, None], 2, axis=2)
  value = localisation.loss(found, masks, TRUE)
  np.testing.assert_allclose(value, -share, atol=1e-6)
  value = localisation.loss(found, masks, TRUE, by_area=True)
  np.testing.assert_allclose(value, -1, atol=1e-6)


def test_the_gradient_on_four_places_by_hand():
  """Attention falls outside and rises inside, a quarter for each place."""
  masks = jnp.asarray([[[1.0, 0.0, 0.0, 0.5]]])
  slope = jax.grad(lambda x: localisation.loss(x, masks, TRUE).sum())(
    jnp.full((1, 1, 2, 4), 0.2)
  )
  expected = np.array([-0.25, 0.25, 0.25, 0.0])
  np.testing.assert_allclose(slope[0, 0], np.stack([expected] * 2), atol=1e-7)


def test_pairs_that_are_not_there_do_not_count():
  rng = np.random.default_rng(0)
  found = jnp.asarray(rng.random((2, 3, 2, 8)), jnp.float32)
  masks = jnp.asarray(rng.random((2, 3, 8)) > 0.5, jnp.float32)
  valid = jnp.asarray([[True, True, False], [False, False, False]])
  value = localisation.loss(found, masks, valid)
  each = localisation.loss(
    found[0, :, None], masks[0, :, None], jnp.ones((3, 1), bool)
  )
  np.testing.assert_allclose(value, [float(each[:2].mean()), 0], atol=1e-6)
  none = jnp.zeros_like(valid)
  slope = jax.grad(lambda x: localisation.loss(x, masks, none).sum())(found)
  assert (np.asarray(slope) == 0).all()


def test_a_pairs_maps_are_means_of_its_words():
  rng = np.random.default_rng(1)
  words = rng.random((1, 4, 6)).astype(np.float32)
  owner = np.array([[-1, 0, 0, 0, -1, 1]])
  noun = np.array([[False, False, False, True, False, True]])
  found = np.asarray(
    localisation.maps(*map(jnp.asarray, (words, owner, noun)), 3)
  )
  np.testing.assert_allclose(found[0, 0, 0], words[0, :, 1:3].mean(-1), 1e-6)
  np.testing.assert_allclose(found[0, 0, 1], words[0, :, 3], 1e-6)
  np.testing.assert_allclose(found[0, 1, 1], words[0, :, 5], 1e-6)
  assert (found[0, 1, 0] == 0).all()
  assert (found[0, 2] == 0).all()


def test_a_mask_on_a_coarser_grid_is_shares():
  mask = np.zeros((1, 1, 4, 8), bool)
  mask[0, 0, :2, :3] = True
  found = localisation.covered(jnp.asarray(mask), (2, 4))
  expected = [[1, 0.5, 0, 0], [0, 0, 0, 0]]
  np.testing.assert_array_equal(np.asarray(found).reshape(2, 4), expected)

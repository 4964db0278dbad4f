"""A finer map of a backbone: its cells, weights and receptive fields."""

import jax
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones.upsampled import upsampled
from protojax.heat import receptive_field
from protojax.types import UserError
from protojax.weights import reading

PLAIN = backbones.load("convnet")


@pytest.mark.slow
def test_it_is_the_map_upsampled_and_has_the_same_weights():
  fine = upsampled(PLAIN, 2)
  images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
  key = jax.random.key(0)
  variables = jax.jit(PLAIN.init, static_argnums=1)(key, 48)
  mine = reading.shapes(fine.module)
  assert jax.tree.structure(mine) == jax.tree.structure(variables)
  params = variables.pop("params")

  @jax.jit
  def both(params, variables, images):
    return [b.features(params, variables, images)[0] for b in (PLAIN, fine)]

  x, found = (np.asarray(z) for z in both(params, variables, images))
  # By hand, as PyTorch: 1/4 and 3/4 of neighbours; the border is repeated.
  for axis in (1, 2):
    edge = [(0, 0)] * 4
    edge[axis] = (1, 1)
    wide = np.moveaxis(np.pad(x, edge, mode="edge"), axis, 0)
    early, late = 0.25 * wide[:-2], 0.25 * wide[2:]
    middle = 0.75 * wide[1:-1]
    pairs = np.stack([early + middle, late + middle], axis=1)
    x = np.moveaxis(pairs.reshape(-1, *wide.shape[1:]), 0, axis)
  np.testing.assert_allclose(found, x, atol=1e-5)
  assert fine.grid(48) == tuple(2 * n for n in PLAIN.grid(48))
  assert upsampled(PLAIN, 1) is PLAIN


def test_cells_apart_by_a_fraction_of_a_pixel_are_refused():
  with pytest.raises(UserError, match=r"upsample is 3; .* divide the 8 pix"):
    upsampled(PLAIN, 3)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_fine_cell_sees_the_two_cells_around_it(factor):
  fine = upsampled(PLAIN, factor)
  field = receptive_field.chain(fine.layers, 64).rows
  coarse = receptive_field.chain(PLAIN.layers, 64).rows
  assert field.cells == factor * coarse.cells == fine.grid(64)[0]
  assert field.jump == fine.stride == PLAIN.stride // factor
  assert field.size == coarse.size + coarse.jump
  # The middles of all fields agree.
  last = field.start + (field.cells - 1) * field.jump
  middle = coarse.start + (coarse.cells - 1) * coarse.jump / 2
  assert (field.start + last) / 2 == middle

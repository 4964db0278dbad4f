"""Position embeddings on other grids, in both ways of DINOv2's checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax import backbones
from protojax.backbones.vit import ViT, resampled
from protojax.weights import reading

GRIDS = [(28, 28), (16, 16), (40, 40), (14, 20)]
POSITION = np.random.default_rng(0).normal(size=(37, 37, 3)).astype(np.float32)


def kernel(x, a):
  x = np.abs(x)
  near = (a + 2) * x**3 - (a + 3) * x**2 + 1
  far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def with_offset(values, points, offset):
  """Along axis 0: four cells to each point, the border repeated."""
  found, side = [], len(values)
  for i in range(points):
    at = (i + 0.5) * side / (points + offset) - 0.5
    first = int(np.floor(at)) - 1
    taps = [values[np.clip(first + k, 0, side - 1)] for k in range(4)]
    shares = kernel(at - np.arange(first, first + 4), -0.75)
    found.append(sum(s * tap for s, tap in zip(shares, taps, strict=True)))
  return np.stack(found)


def antialiased(values, points):
  """Along axis 0: all cells under a kernel as wide as a point of the result.

  What lies beyond the border has no share (Pillow's, and torch's).
  """
  found, side = [], len(values)
  wide = max(side / points, 1)
  for i in range(points):
    centre = (i + 0.5) * side / points
    shares = kernel((np.arange(side) + 0.5 - centre) / wide, -0.5)
    found.append(np.tensordot(shares / shares.sum(), values, 1))
  return np.stack(found)


def on_both(function, grid, *more):
  rows = function(POSITION.astype(float), grid[0], *more)
  return function(rows.swapaxes(0, 1), grid[1], *more).swapaxes(0, 1)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_twins_in_numpy(grid):
  found, smooth, shifted = jax.jit(
    lambda x: [resampled(x, grid, offset) for offset in (0.1, None, 0.0)]
  )(POSITION)
  assert_allclose(found, on_both(with_offset, grid, 0.1), atol=1e-5)
  assert_allclose(smooth, on_both(antialiased, grid), atol=1e-5)
  # They are not the same.
  assert np.abs(found - smooth).max() > 0.1
  assert np.abs(found - shifted).max() > 0.01


def test_the_grid_of_pretraining_stays_as_it_is():
  for offset in (None, 0.1):
    found = resampled(jnp.asarray(POSITION), (37, 37), offset)
    assert_array_equal(found, POSITION)


def test_the_way_goes_with_the_kind_of_checkpoint():
  modules = {name: backbones.load(name).module for name in backbones.names()}
  found = {
    name: (module.registers, module.position_offset)
    for name, module in modules.items()
    if isinstance(module, ViT)
  }
  for size in ("small", "base", "large"):
    assert found[f"dinov2_{size}"] == (4, None)
    assert found[f"dinov2_{size}_plain"] == (0, 0.1)
    assert found[f"dinov2_{size}_offset"] == (4, 0.1)
  others = {v for name, v in found.items() if not name.startswith("dinov2")}
  assert others == {(0, None)}


def test_a_network_adds_what_was_resampled():
  """Without patches, the first block's input is the position embeddings."""
  net = ViT(3, 0, 1, 2, 37, position_offset=0.1)
  variables = jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype), reading.shapes(net, 56)["params"]
  )
  variables["position"] = POSITION
  variables["norm"]["scale"] = np.ones(3, np.float32)
  images = np.zeros((1, 56, 56, 3), np.float32)
  found = jax.jit(net.apply)({"params": variables}, images)[0]
  expected = on_both(with_offset, (28, 28), 0.1)
  expected -= expected.mean(-1, keepdims=True)
  expected /= np.sqrt((expected**2).mean(-1, keepdims=True) + 1e-6)
  assert_allclose(found, expected, atol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("grid", GRIDS)
def test_both_are_pytorchs(grid):
  torch = pytest.importorskip("torch")
  given = torch.tensor(POSITION).permute(2, 0, 1)[None]
  interpolate = torch.nn.functional.interpolate
  by_scale = interpolate(
    given, scale_factor=tuple((n + 0.1) / 37 for n in grid), mode="bicubic"
  )
  by_size = interpolate(given, size=grid, mode="bicubic", antialias=True)
  for offset, expected in ((0.1, by_scale), (None, by_size)):
    found = np.asarray(resampled(jnp.asarray(POSITION), grid, offset))
    expected = expected[0].permute(1, 2, 0).numpy()
    print(f"{grid} {offset}: {np.abs(found - expected).max():.1e}")
    assert_allclose(found, expected, atol=2e-5)

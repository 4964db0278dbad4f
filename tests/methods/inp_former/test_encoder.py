"""Tokens of several levels, against maps put together by hand."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from protojax.methods.inp_former.encoder import Encoder
from protojax.types import State, UserError
from tests.methods.inp_former import encoder_fakes as fakes

LINEAR = Image.Resampling.BILINEAR
NAMES = ("fine", "middle", "coarse", "last")


@functools.cache
def weights():
  key = jax.random.key(0)
  module = fakes.backbone().module
  blank = jnp.zeros((1, fakes.SIZE, fakes.SIZE, 3))
  return fakes.large(jax.eval_shape(module.init, key, blank)["params"])


def encoder(names=NAMES, grid=4, scales=(1.0,)):
  return Encoder(fakes.backbone(), names, grid, scales)


def state(model, scaled=False):
  rng, width = np.random.default_rng(1), sum(model.widths)
  shift, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
  if scaled:
    shift = rng.normal(size=width).astype(np.float32)
    scale = rng.uniform(0.5, 2, width).astype(np.float32)
  return State(
    params={},
    statistics={"shift": shift, "scale": scale},
    buffers={},
    assets={"backbone": {"params": weights()}},
  )


@functools.cache
def maps():
  """Every level as it is, by name, of the fake images."""
  backbone = fakes.backbone()
  found = jax.jit(lambda v, x: backbone.maps(v, x, NAMES))(
    {"params": weights()}, fakes.images()
  )
  return dict(zip(NAMES, map(np.asarray, found), strict=True))


def groups(model, of=None):
  return np.asarray(jax.jit(model.groups)(of or state(model), fakes.images()))


def test_levels_stand_side_by_side_on_one_grid():
  model = encoder(("coarse", "last"))
  batch = {"image": fakes.images()}
  found = jax.jit(model.side_by_side)(state(model), batch)
  expected = np.concatenate([maps()["coarse"], maps()["last"]], axis=-1)
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_coarse_levels_are_interpolated_as_opencv_does():
  model = encoder(("coarse", "last"), grid=8)
  batch = {"image": fakes.images()}
  found = jax.jit(model.side_by_side)(state(model), batch)
  for i, rows in enumerate(np.asarray(found)):
    whole = np.concatenate([maps()["coarse"][i], maps()["last"][i]], axis=-1)
    expected = cv2.resize(whole, (8, 8), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_fine_levels_are_averaged_not_sampled():
  """No cell of a fine level is lost on the way to a coarse grid."""
  model = encoder(("fine", "middle"))
  flat = np.full((1, fakes.SIZE, fakes.SIZE, 3), 80, np.uint8)
  spots = np.repeat(flat, 16, axis=0)
  for i, spot in enumerate(spots):
    y, x = divmod(i, 4)
    spot[2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = 250
  resize = jax.jit(model.side_by_side)
  found = resize(state(model), {"image": spots})
  plain = resize(state(model), {"image": np.repeat(flat, 16, axis=0)})
  moved = np.abs(found - plain).max(axis=(1, 2, 3))
  assert moved.min() > 1e-3


def test_levels_of_one_width_share_their_channels():
  model = encoder()
  assert model.widths == (3, 5, 5, 4)
  assert model.channels == 3 + 5 + 4
  shallow, deep = groups(model)
  coarse, last = (maps()[n].reshape(3, 16, -1) for n in ("coarse", "last"))
  np.testing.assert_array_equal(shallow[..., 8:], 0)
  np.testing.assert_array_equal(deep[..., :3], 0)
  # The mean of two levels, one of which is zero there.
  np.testing.assert_allclose(deep[..., 3:8], coarse / 2, atol=1e-6)
  np.testing.assert_allclose(deep[..., 8:], last / 2, atol=1e-6)


def test_levels_are_read_once_more_from_a_smaller_image():
  """Fine and coarse are the groups; a level shares its channels at both."""
  model = encoder(("coarse",), scales=(1.0, 0.5))
  assert model.widths == (5, 5)
  assert model.channels == 5
  shallow, deep = groups(model)
  np.testing.assert_allclose(
    shallow, maps()["coarse"].reshape(3, 16, 5), atol=1e-6
  )
  side = (fakes.SIZE // 2,) * 2
  # The filter of Pillow, like that of JAX, is as wide as what it leaves out.
  half = [
    np.stack(
      [
        np.asarray(Image.fromarray(np.float32(x[..., c])).resize(side, LINEAR))
        for c in range(3)
      ],
      axis=-1,
    )
    for x in fakes.images()
  ]
  variables = {"params": weights()}
  small = fakes.backbone().maps(variables, np.stack(half), ("coarse",))[0]
  for found, expected in zip(deep, np.asarray(small), strict=True):
    expected = cv2.resize(expected, (4, 4), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found.reshape(4, 4, 5), expected, atol=1e-5)


def test_scales_and_levels_fall_into_two_halves():
  with pytest.raises(UserError, match="3 levels"):
    groups(encoder(("coarse",), scales=(1.0, 0.5, 0.25)))


def test_cosines_within_a_level_stay_what_they_are():
  shallow, deep = groups(encoder(("coarse", "last")))
  for found, name in ((shallow, "coarse"), (deep, "last")):
    level = maps()[name].reshape(3, 16, -1)
    np.testing.assert_allclose(_cosines(found), _cosines(level), atol=1e-5)


def test_cells_are_counted_row_by_row():
  _, deep = groups(encoder(("coarse", "last")))
  np.testing.assert_allclose(deep[:, 7, 5:], maps()["last"][:, 1, 3], atol=1e-6)


def test_statistics_scale_each_level_before_the_mean():
  model = encoder(("coarse", "last"))
  scaled = state(model, scaled=True)
  shift, scale = (scaled.statistics[name] for name in ("shift", "scale"))
  shallow, deep = groups(model, scaled)
  for found, name, own in (
    (shallow[..., :5], "coarse", slice(0, 5)),
    (deep[..., 5:], "last", slice(5, 9)),
  ):
    level = maps()[name].reshape(3, 16, -1)
    expected = (level - shift[own]) * scale[own]
    np.testing.assert_allclose(found, expected, atol=1e-5)
  # Channels of other levels stay zero, whatever their shift.
  assert not shallow[..., 5:].any()


def test_one_scale_for_a_level_brings_its_vectors_to_mean_square_one():
  model = encoder(("coarse", "last"))
  deviation = np.arange(1, 10, dtype=np.float32)
  found = model.by_level(1 / deviation)
  np.testing.assert_allclose(found[:5], (1 + 4 + 9 + 16 + 25) ** -0.5)
  np.testing.assert_allclose(found[5:], (36 + 49 + 64 + 81) ** -0.5)


def test_no_gradient_reaches_the_encoder():
  model = encoder(("coarse", "last"))
  of = state(model)

  def total(assets):
    return jnp.sum(model.groups(of.replace(assets=assets), fakes.images()) ** 2)

  gradient = jax.jit(jax.grad(total))(of.assets)
  assert jax.tree.leaves(gradient)
  for leaf in jax.tree.leaves(gradient):
    np.testing.assert_array_equal(leaf, 0)


def test_an_unknown_level_is_a_users_error():
  with pytest.raises(
    UserError, match=r"no level 'deep'; .*fine, middle, coarse"
  ):
    _ = encoder(("coarse", "deep")).widths


def test_an_odd_number_of_levels_is_a_users_error():
  model = encoder(("fine", "coarse", "last"))
  with pytest.raises(UserError, match=r"3 levels .*--config\.encoder\.levels"):
    jax.eval_shape(model.groups, state(model), fakes.images())


def _cosines(tokens):
  tokens = np.float64(tokens)
  tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
  return np.einsum("bnd,bmd->bnm", tokens, tokens)

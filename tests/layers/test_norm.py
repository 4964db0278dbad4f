"""BatchNorm against Flax's own, in values, statistics and gradients."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.layers.norm import BatchNorm, layer_norm


@pytest.mark.parametrize("cells", [8, 5])  # In blocks, and too few for them.
@pytest.mark.parametrize("train", [False, True])
def test_is_flaxs(cells, train):
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(2.0, 3.0, size=(6, cells, cells, 3)))
  scale, bias, mean, var = np.float32([[1, 2, -1], *[range(3)] * 2, [1, 4, 2]])
  variables = {
    "params": {"scale": scale, "bias": bias},
    "batch_stats": {"mean": mean, "var": var},
  }
  ours = BatchNorm(1e-3, synchronised=False)
  theirs = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-3)

  def gradients(params, x, apply):
    def loss(params, x):
      every = {**variables, "params": params}
      y, moved = apply(every, x, mutable=["batch_stats"])
      return jnp.sum(jnp.sin(y)), (y, moved)

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)

  got = jax.jit(
    lambda p, x: gradients(
      p, x, lambda v, x, mutable: ours.apply(v, x, train, mutable=mutable)
    )
  )(variables["params"], x)
  want = jax.jit(lambda p, x: gradients(p, x, theirs.apply))(
    variables["params"], x
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    got,
    want,
  )


def test_starts_like_flaxs():
  x, key = np.ones((1, 2, 2, 3), np.float32), jax.random.key(0)
  ours = jax.jit(BatchNorm().init, static_argnums=2)(key, x, True)
  theirs = jax.jit(nn.BatchNorm(False).init)(key, x)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("cells", [8, 5])
def test_half_precision_is_for_the_map_alone(cells):
  """Sums of bfloat16 would stop at 256 ones."""
  rng = np.random.default_rng(0)
  x = rng.normal(2.0, 3.0, (6, cells, cells, 3)).astype(jnp.bfloat16)
  module = BatchNorm(synchronised=False)
  variables = jax.jit(module.init)(jax.random.key(0), x)

  @jax.jit
  def both(variables, x):
    def loss(params, x):
      every = {**variables, "params": params}
      y, moved = module.apply(every, x, True, mutable=["batch_stats"])
      return jnp.sum(jnp.sin(y.astype(jnp.float32))), (y, moved)

    def gradients(x):
      params = variables["params"]
      return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)

    return gradients(x), gradients(x.astype(jnp.float32))

  half, whole = both(variables, x)
  ((_, (y, moved)), (params, moved_by)) = half
  assert y.dtype == moved_by.dtype == jnp.bfloat16
  statistics = jax.tree.leaves((moved, params))
  assert {a.dtype for a in statistics} == {jnp.dtype(jnp.float32)}
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0.02, atol=0.05),
    half,
    whole,
  )


class Norm(nn.Module):
  @nn.compact
  def __call__(self, x):
    return layer_norm(x, "norm")


def test_layer_norm_keeps_small_channels_beside_huge_ones():
  """As transformers have them."""
  x = np.random.default_rng(0).normal(size=(2, 5, 8))
  x[..., 3] += 1e4
  apply = jax.jit(Norm().apply)
  got = apply({"params": {"norm": ones(8)}}, np.float32(x))
  mean, std = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
  np.testing.assert_allclose(got, (x - mean) / std, atol=1e-6)
  half = apply({"params": {"norm": ones(8)}}, x.astype(jnp.bfloat16))
  assert half.dtype == jnp.bfloat16


def ones(channels):
  one = np.ones(channels, np.float32)
  return {"scale": one, "bias": 0 * one}

"""The maximum over windows, and its gradient, against XLA's own."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.layers import pool


@pytest.mark.parametrize(
  "case",
  # (rows, columns, side, stride, margin, type)
  [
    (8, 8, 3, 2, 1, "float32"),
    (9, 6, 3, 2, 1, "float32"),
    (7, 8, 3, 2, 0, "float32"),
    (6, 6, 2, 2, 0, "float32"),
    (7, 5, 2, 2, 0, "float32"),
    (8, 8, 3, 2, 1, "bfloat16"),
    (5, 6, 3, 1, 1, "float32"),
    (9, 8, 2, 3, 0, "float32"),
    (9, 10, 5, 2, 2, "float32"),
  ],
  ids=str,
)
def test_is_xlas(case):
  """Few values, so that several cells of a window are the maximum."""
  rows, columns, side, stride, margin, dtype = case
  rng = np.random.default_rng(0)
  x = rng.integers(-3, 3, (2, rows, columns, 5)).astype(jnp.dtype(dtype))

  @jax.jit
  def both(x):
    edge = margin, margin
    want, pull = jax.vjp(
      lambda x: nn.max_pool(x, (side, side), (stride, stride), (edge, edge)), x
    )
    got, ours = jax.vjp(lambda x: pool.max_pool(x, side, stride, margin), x)
    plain = pool.max_pool(x, side, stride, margin)
    # Whole numbers: sums of them are the same in any order.
    weights = jnp.arange(got.size, dtype=jnp.float32).reshape(got.shape) % 7
    weights = weights.astype(dtype)
    return (got, plain, *ours(weights)), (want, want, *pull(weights))

  jax.tree.map(np.testing.assert_array_equal, *both(x))


def test_other_backends_get_xlas_pooling(monkeypatch):
  monkeypatch.setattr(pool, "on_cpu", lambda: False)
  lowered = jax.jit(pool.max_pool, static_argnums=(1, 2)).lower(
    jnp.zeros((1, 4, 4, 2)), 2, 2
  )
  assert "stablehlo.reduce_window" in lowered.as_text()

"""All ways to convolve, against XLA's own and a loop in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.layers import conv
from protojax.types import UserError

# (cells, channels in, channels out or None for depthwise, kernel, stride, pad)
CASES = [
  (9, 6, None, 3, 1, "SAME"),
  (8, 6, None, 3, 2, "SAME"),
  (9, 6, None, 5, 2, "SAME"),
  (7, 5, None, 5, 1, (2, 2)),
  (8, 5, None, 3, 2, (1, 1)),
  (9, 4, None, 3, 2, "VALID"),
  (40, 3, None, 3, 2, "SAME"),  # More than one block of rows.
  (6, 5, 7, 1, 1, "SAME"),
  (6, 5, 7, 1, 2, "SAME"),
  (6, 5, 7, 1, 1, (1, 1)),
  (2, 8, 6, 3, 1, "SAME"),  # A tiny map.
  (4, 8, 6, 3, 2, (1, 0)),
  (12, 3, 4, 3, 2, "SAME"),
  (8, 3, 4, 3, 1, "SAME"),
  (9, 3, 4, 3, 1, "VALID"),
  (8, 3, 4, 2, 1, (1, 3)),
]


def inputs(cells, channels, out, side):
  rng = np.random.default_rng(0)
  kernel = (side, side, channels if out else 1, out or channels)
  x = rng.normal(size=(2, cells, cells + 1, channels))
  return np.float32(x), np.float32(rng.normal(size=kernel))


convolve = jax.jit(conv.convolve, static_argnums=(2, 3, 4))


def reference(x, kernel, stride, padding):
  pads = tuple(
    conv.same(n, kernel.shape[0], stride, padding) for n in x.shape[1:3]
  )
  return conv.direct(x, kernel, stride, pads)


def close(got, want):
  np.testing.assert_allclose(
    got, want, rtol=0, atol=4e-6 * float(np.abs(want).max())
  )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_xla(case):
  cells, channels, out, side, stride, padding = case
  x, kernel = inputs(cells, channels, out, side)

  @jax.jit
  def both(x, kernel):
    result = []
    for form in (conv.convolve, reference):
      value, pull = jax.vjp(
        lambda *a, f=form: f(*a, stride, padding), x, kernel
      )
      result.append((value, *pull(jnp.cos(value))))
    return result

  for got, want in zip(*both(x, kernel), strict=True):
    assert got.shape == want.shape
    close(got, want)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_against_loops(stride):
  x, kernel = inputs(5, 3, None, 3)
  got = np.asarray(convolve(x, kernel, stride, "SAME"))
  pads = [conv.same(n, 3, stride) for n in x.shape[1:3]]
  padded = np.pad(np.float64(x), ((0, 0), *pads, (0, 0)))
  want = np.zeros(got.shape)
  for b, i, j, c in np.ndindex(*got.shape):
    patch = padded[b, i * stride :, j * stride :, c][:3, :3]
    want[b, i, j, c] = np.sum(patch * np.float64(kernel[:, :, 0, c]))
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_vmap_over_images_and_kernels():
  x, kernel = inputs(6, 4, None, 3)
  images = np.stack([x, x + 1, -x])
  kernels = np.stack([kernel, kernel, -kernel])

  def gradients(x, kernel):
    return jax.grad(
      lambda *a: jnp.sum(jnp.sin(conv.convolve(*a, 2, "SAME"))), (0, 1)
    )(x, kernel)

  got = jax.jit(jax.vmap(gradients))(images, kernels)
  one = jax.jit(gradients)
  want = [one(*pair) for pair in zip(images, kernels, strict=True)]
  jax.tree.map(close, got, jax.tree.map(lambda *a: np.stack(a), *want))


def test_dilation_is_a_kernel_with_holes():
  x, kernel = inputs(9, 4, 5, 3)
  holes = np.zeros((5, 5, 4, 5), np.float32)
  holes[::2, ::2] = kernel
  for stride, padding in ((1, (2, 2)), (2, "SAME"), (1, "VALID")):
    close(
      convolve(x, kernel, stride, padding, 2),
      convolve(x, holes, stride, padding),
    )


def test_a_module_adds_its_bias_and_computes_in_the_type_of_the_map():
  x, kernel = inputs(6, 4, 5, 3)
  bias = np.arange(5, dtype=np.float32)
  params = {"params": {"kernel": kernel, "bias": bias}}
  module = conv.Conv(5, 3, padding=(1, 1), bias=True)
  apply = jax.jit(module.apply)
  got = np.asarray(apply(params, x))
  close(got, np.asarray(convolve(x, kernel, 1, (1, 1))) + bias)
  half = apply(params, x.astype(jnp.bfloat16))
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half, got, atol=0.02 * float(got.max()))


def test_a_map_smaller_than_the_kernel():
  x, kernel = inputs(4, 3, 2, 5)
  with pytest.raises(UserError, match="5 cells meets a map of 4"):
    convolve(x, kernel, 1, "VALID")


def test_same_is_tensorflows():
  # 8 cells, kernel 3, stride 2: 4 cells out, one of padding, after.
  assert conv.same(8, 3, 2) == (0, 1)
  assert conv.same(9, 3, 2) == (1, 1)
  assert conv.same(7, 5, 1) == (2, 2)
  assert conv.same(4, 1, 2) == (0, 0)


def test_other_backends_get_xlas_convolution(monkeypatch):
  x, kernel = inputs(6, 4, None, 3)
  monkeypatch.setattr(conv, "on_cpu", lambda: False)
  lowered = jax.jit(conv.convolve, static_argnums=(2, 3)).lower(
    x, kernel, 1, "SAME"
  )
  assert "stablehlo.convolution" in lowered.as_text()

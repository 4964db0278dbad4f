"""The work and memory of a program, from its trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.engine import cost


def _shape(*shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


def test_a_layer_costs_its_closed_form():
  m, n, k = 5, 7, 11
  w, x = _shape(k, n), _shape(m, k)

  def loss(w, x):
    return jnp.sum(jnp.tanh(x @ w))

  assert cost.of(lambda w, x: x @ w, w, x) == cost.Cost(
    flops=2.0 * m * n * k,
    touched=4 * (m * k + k * n + m * n),
    held=4 * (m * k + k * n + m * n),
  )
  # Square ones, too, whose shapes are those of an elementwise operation.
  square = _shape(k, k)
  assert cost.of(lambda a, b: a @ b, square, square) == cost.Cost(
    flops=2.0 * k**3, touched=4 * 3 * k * k, held=4 * 3 * k * k
  )
  turned = [
    cost.of(lambda a, b: a.T @ b, _shape(k, n), _shape(k, k)).touched - extra
    for n, extra in ((k, 0), (k + 1, 4 * 4 * k))
  ]
  assert turned == [4 * 5 * k * k] * 2
  # Forward, and backward to the weights.
  assert cost.of(jax.grad(loss), w, x).flops == 2 * 2 * m * n * k
  assert cost.of(jax.grad(loss, (0, 1)), w, x).flops == 3 * 2 * m * n * k


def test_grouped_products_cost_those_of_a_row_in_one_group():
  m, k, n, groups = 6, 5, 7, 3
  x, w = _shape(m, k), _shape(groups, k, n)
  counts = jax.ShapeDtypeStruct((groups,), np.int32)
  one = 2 * m * k * n
  found = cost.of(jax.lax.ragged_dot, x, w, counts)
  assert found.flops == one
  assert found.touched == 4 * (m * k + groups * k * n + groups + m * n)

  def loss(x, w, counts):
    return jnp.sum(jnp.tanh(jax.lax.ragged_dot(x, w, counts)))

  # Backward to the rows, and to the matrices.
  assert cost.of(jax.grad(loss, (0, 1)), x, w, counts).flops == 3 * one


def test_a_loop_costs_all_its_turns():
  w, x = _shape(4, 4), _shape(3, 4)

  def scanned(w, x):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, 5)[0]

  def open_ended(w, x):
    return jax.lax.while_loop(lambda x: jnp.sum(x) > 0, lambda x: x @ w, x)

  one = 2 * 3 * 4 * 4
  assert cost.of(scanned, w, x).flops == 5 * one
  assert cost.of(open_ended, w, x).flops == one
  assert cost.of(open_ended, w, x).open_loops == 1
  assert cost.of(scanned, w, x).open_loops == 0
  # Backwards through a checkpoint the turn is computed once more.
  remat = jax.checkpoint(scanned)
  both = jax.value_and_grad(lambda w, x: jnp.sum(remat(w, x)))
  assert cost.of(both, w, x).flops == 5 * 4 * one


def test_what_nobody_reads_costs_nothing():
  w, x = _shape(4, 4), _shape(3, 4)
  function = jax.jit(lambda w, x: (x @ w, x + 1))
  assert cost.of(lambda w, x: function(w, x)[1], w, x).flops == 0


@pytest.mark.parametrize(
  ("stride", "padding", "groups"),
  [(1, "SAME", 1), (2, ((3, 2), (1, 1)), 1), (3, "VALID", 1), (2, "SAME", 4)],
)
def test_convolutions_cost_what_xla_counts(stride, padding, groups):
  x, kernel = _shape(2, 13, 9, 4), _shape(3, 3, 4 // groups, 8)

  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      padding,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=groups,
    )

  def pulled(x, kernel, y):
    return jax.vjp(convolve, x, kernel)[1](y)

  y = jax.eval_shape(convolve, x, kernel)
  for function, inputs in ((convolve, (x, kernel)), (pulled, (x, kernel, y))):
    counted = jax.jit(function).lower(*inputs).cost_analysis()["flops"]
    assert cost.of(function, *inputs).flops == pytest.approx(counted, rel=1e-6)


def test_memory_is_held_until_it_is_last_read():
  x = _shape(1000)

  def chain(x):
    y = jnp.sort(x)  # x and y
    z = jnp.sort(y)  # y and z
    return jnp.sum(z)

  def fork(x):
    y = jnp.sort(x)
    return jnp.sum(jnp.sort(y) + y + x)

  assert cost.of(chain, x).held == 4 * 2000
  assert cost.of(fork, x).held >= 4 * 3000


def test_a_mapped_step_counts_as_one_device():
  devices = parallel.device_count()
  step = parallel.pmap(lambda w, x: parallel.psum(x @ w), (None, 0), None)
  found = cost.of(step, _shape(4, 5), _shape(devices, 3, 4))
  assert found.flops == 2 * 3 * 4 * 5
  assert found.held == 4 * (4 * 5 + 3 * 4 + 3 * 5)

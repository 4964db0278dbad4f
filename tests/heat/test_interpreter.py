"""Programs step by step: the same outputs, and what counts as one step."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.heat import interpreter
from protojax.layers import conv, norm, pool

X = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)


class Marked(float):
  """What flows in these tests."""


def ones(*shape):
  return np.ones(shape, np.float32)


def traced(function, *inputs):
  return jax.make_jaxpr(function)(*inputs).jaxpr


def test_without_rules_it_is_the_function():
  def function(x):
    kernel = jnp.asarray(ones(3, 3, 1, 3))
    y = conv.depthwise(nn.relu6(x), kernel, 1, ((1, 1), (1, 1)))
    return jnp.clip(x @ ones(3, 2), -1, 1), y, jnp.float32(2.0)

  closed = jax.make_jaxpr(function)(X)
  found = interpreter.run(
    closed.jaxpr, closed.consts, [X], (), lambda eqn: None
  )
  for got, expected in zip(found, jax.jit(function)(X), strict=True):
    assert_array_equal(got, expected)


def test_what_flows_goes_by_the_rules():
  jaxpr = traced(lambda x, y: nn.relu(x) * y + y * 2, 1.0, 1.0)
  rules = {
    "max": lambda eqn, x, zero: Marked(x + zero),
    "mul": lambda eqn, x, y: Marked(10 * x),
    "add": lambda eqn, x, y: Marked(x - y),
  }

  def rule(eqn):
    return rules.get(eqn.primitive.name)

  found = interpreter.run(
    jaxpr, [], [Marked(3.0), np.float32(4)], (Marked,), rule
  )
  assert found == [30.0 - 8.0]


def ruled(function):
  """The function with a derivative of its own, right or not."""
  made = jax.custom_vjp(function)
  made.defvjp(lambda x, w: (x, w), lambda saved, c: saved)
  return made


@pytest.mark.parametrize(
  ("function", "inputs", "expected"),
  [
    (
      lambda x, w: conv.depthwise(x, w, 2, ((1, 0), (0, 1))),
      (ones(1, 6, 6, 4), ones(3, 3, 1, 4)),
      True,
    ),
    (norm.affine, (ones(1, 2, 2, 3), *ones(3, 3)), False),
    (ruled(lambda x, w: x * w + w), (1.0, 2.0), False),
    (ruled(lambda x, w: x * w * w), (1.0, 2.0), False),
    (ruled(lambda x, w: jnp.exp(x) * w), (1.0, 2.0), False),
    (ruled(lambda x, w: x * w + 2 * (w * x)), (1.0, 2.0), True),
  ],
  ids=["depthwise", "affine", "bias", "square", "exp", "sum"],
)
def test_a_sum_of_products_is_one_step(function, inputs, expected):
  (call,) = traced(function, *inputs).eqns
  assert call.primitive.name in interpreter.CALLS
  assert interpreter.is_product(call) is expected


@pytest.mark.parametrize(
  ("function", "expected"),
  [
    (lambda x: pool.max_pool(x, 3, 2, 1), True),
    (nn.relu, False),
    (jax.jit(lambda x: x[:, 1:] * 2), False),
    (jax.jit(lambda x: x[:, 1:]), False),
  ],
  ids=["pooling", "relu", "product", "slice"],
)
def test_a_maximum_of_neighbours_is_one_step(function, expected):
  (call,) = traced(function, X).eqns
  assert call.primitive.name in interpreter.CALLS
  assert interpreter.is_maximum(call) is expected

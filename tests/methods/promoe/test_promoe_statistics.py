"""What is told of a layer's routing, and the loss by device or by batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.methods.promoe import losses, statistics
from protojax.types import State


def test_the_expert_of_a_token_is_one_that_has_it():
  """The second token has a negative gate, the third none at all."""
  gates = np.float32([[[[0.2, 0.5], [-0.3, 0.0], [0.0, 0.0], [0.0, 0.0]]]])
  chosen = np.array([[[[1, 1], [1, 0], [0, 0], [0, 1]]]], bool)
  found = statistics.strongest({"gates": gates, "chosen": chosen})
  assert found.tolist() == [[[1, 0, 2, 1]]]


@pytest.mark.slow
@pytest.mark.parametrize("local", [False, True])
def test_means_are_those_of_the_batch_or_of_each_device(local):
  """Value and slope, of two devices and two layers of three experts."""
  config = promoe_folder.get_config("debug").unlock()
  config.moe.local_means = local
  method, rng = methods.load(config), np.random.default_rng(0)
  p = np.float32(rng.normal(size=(2, 3, 4)))
  params = {"groups": {"block_1": {"feed_forward": {"prototypes": p}}}}
  sums = np.float32(rng.normal(size=(2, 2, 3, 4)))
  # The first device has no token of the last expert.
  counts = np.float32([[[2, 3, 0]] * 2, [[1, 4, 5]] * 2])
  sums[0, :, 2] = 0

  def step(sums, counts):
    def share(sums):
      own = {"sums": sums, "counts": counts, "probabilities": counts}
      terms, _ = method._of_routing(
        {"network": params}, State({}, {}, {}, {}), own, False
      )
      term = terms["contrast"]
      return term.total / parallel.psum(jnp.float32(term.count))

    value, slope = jax.value_and_grad(share)(sums)
    return parallel.psum(value), slope

  mapped = parallel.pmap(step, (0, 0), (None, 0))
  value, slope = mapped(sums, counts)

  def loss(sums, counts):
    return sum(
      losses.routing_contrastive(p[n], *losses.means(sums[n], counts[n]), 0.07)
      for n in range(2)
    )

  def expected(sums):
    if local:
      return (loss(sums[0], counts[0]) + loss(sums[1], counts[1])) / 2
    return loss(sums[0] + sums[1], counts.sum(0))

  wanted, their = jax.value_and_grad(expected)(sums)
  np.testing.assert_allclose(value, wanted, rtol=1e-5)
  np.testing.assert_allclose(slope, their, rtol=1e-4, atol=1e-6)

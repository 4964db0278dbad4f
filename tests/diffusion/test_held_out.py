"""Means over the times that a loss is evaluated at."""

import jax
import numpy as np
import pytest

from protojax.diffusion import held_out, processes
from protojax.diffusion.processes import Diffusion


def test_each_time_has_its_number_and_counts_once():
  process = Diffusion()

  @jax.jit
  def both(shift):
    def at(number, t):
      return {"both": number * t + shift, "number": number + 0.0 * shift}

    return held_out.means(process, 4, at)

  times = processes.grid(process, 4)
  assert len(set(times.tolist())) == 4
  shift = np.float32([1, 2, 5])
  found = both(shift)
  wanted = np.mean([n * t + shift for n, t in enumerate(times)], axis=0)
  np.testing.assert_allclose(found["both"], wanted, rtol=1e-6)
  np.testing.assert_allclose(found["number"], [1.5, 1.5, 1.5])


def test_a_network_that_predicts_nothing_gains_nothing():
  sums = {"loss": 6.0, "target": 6.0, "count": 3.0, "more": 1.0}
  assert held_out.metrics(sums) == pytest.approx({"loss": 2, "gain": 1})

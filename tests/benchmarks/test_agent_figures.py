"""Figures of agents: what policies are compared by, and where it stands."""

import numpy as np
import pytest

from benchmarks import agents
from protojax.agents import selfplay


def test_agents_are_compared_goal_by_goal():
  rng = np.random.default_rng(0)
  names = (*selfplay.POLICIES, "entropy alone")
  fields = "product", "geometric", "weighted"
  play = {
    name: {field: rng.uniform(size=50) for field in fields} for name in names
  }
  found = agents._compared(play)
  product = {name: of["product"] for name, of in play.items()}
  assert found["eig"]["factor"] == pytest.approx(
    product["eig"].mean() / product["none"].mean()
  )
  apart = product["ag1"] - product["random"]
  assert found["ag1"]["product_errors"] == pytest.approx(
    apart.mean() / (apart.std(ddof=1) / np.sqrt(50))
  )
  # A lower likelihood of the goal is worse, so that more is lost by random.
  play["ag1"]["weighted"] = (
    play["random"]["weighted"] - 1 - 0.1 * rng.random(50)
  )
  assert agents._compared(play)["ag1"]["weighted_errors"] > 2
  for place in agents.FIGURES.values():
    if place.startswith("play."):
      _, name, field = place.split(".")
      assert np.isfinite(found[name][field])

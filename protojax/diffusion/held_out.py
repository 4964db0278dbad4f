"""Loss and gain of held-out images, over a fixed grid of times."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.diffusion import processes
from protojax.diffusion.processes import Process
from protojax.types import Array, ArrayLike, PyTree


def means(
  process: Process,
  count: int,
  at: Callable[[Int[Array, ""], Float[Array, ""]], PyTree],
) -> PyTree:
  """Means over a grid of times; inside a program.

  Args:
    process: of the network.
    count: times of the grid.
    at: (number of a time, the time) -> a tree of arrays; the number is that of
      the noise, see `processes.fixed`.
  """
  times = jnp.asarray(processes.grid(process, count))
  found = jax.lax.map(lambda x: at(*x), (jnp.arange(count), times))
  return jax.tree.map(lambda x: jnp.mean(x, axis=0), found)


def metrics(sums: Mapping[str, ArrayLike | Any]) -> dict[str, float]:
  """Loss and gain.

  "loss" is the mean over times and examples, each with its own noise; "gain"
  the mean square of what is to be predicted over that of the error, 1 for a
  network that predicts nothing.

  Args:
    sums: over examples: "loss" and "target", means over the grid of the squared
      error and of the square of what is to be predicted; "count".
  """
  return {
    "loss": float(sums["loss"] / sums["count"]),
    "gain": float(sums["target"] / sums["loss"]),
  }

"""How well a stream of tasks is learned, and how much of it is forgotten.

Both read the matrix acc[s, t]: a metric of task t after task s was learned.
"""

from jaxtyping import Float
import numpy as np


def average(scores: Float[np.ndarray, "T T"]) -> float:
  """A_T: the mean over all tasks after the last one was learned."""
  return float(np.mean(scores[-1]))


def forgetting(scores: Float[np.ndarray, "T T"]) -> float:
  """F: the mean over the tasks t < T of max_s acc[s, t] - acc[T, t].

  The maximum goes over the tasks s < T from t on; nan in the matrix is left
  out. 0 with a single task.
  """
  lost = [
    np.nanmax(scores[t:-1, t]) - scores[-1, t]
    for t in range(len(scores) - 1)
    if not np.isnan(scores[t:-1, t]).all()
  ]
  return float(np.mean(lost)) if lost else 0.0

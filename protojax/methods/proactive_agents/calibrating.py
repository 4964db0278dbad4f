"""Temperature scaling of the logits of yes (Guo et al., ICML 2017, section 4).

The likelihood of held-out answers is concave in 1 / temperature: its maximum is
where the slope is 0, which is found by halving.
"""

from jaxtyping import Bool, Float
import numpy as np

_LEAST, _MOST = 1e-2, 1e2  # of 1 / temperature
_HALVINGS = 60


def temperature(
  logits: Float[np.ndarray, " n"], yes: Bool[np.ndarray, " n"]
) -> float:
  """What logits are divided by so that held-out answers are likeliest.

  Args:
    logits: of yes.
    yes: the truth.

  Returns:
    0.01 to 100; 1 without an answer, or of logits that are all 0.
  """
  z, y = np.asarray(logits, float), np.asarray(yes, float)
  if not z.any():
    return 1.0

  def slope(inverse: float) -> float:
    return float(((y - probability(z, 1 / inverse)) * z).sum())

  low, high = np.log(_LEAST), np.log(_MOST)
  for _ in range(_HALVINGS):
    middle = (low + high) / 2
    # Concave: where the likelihood still rises, the maximum lies beyond.
    low, high = (middle, high) if slope(np.exp(middle)) > 0 else (low, middle)
  return float(np.exp(-(low + high) / 2))


def probability(
  logits: Float[np.ndarray, "*n"], temperature: float
) -> Float[np.ndarray, "*n"]:
  """P(yes) of logits."""
  z = np.asarray(logits, float) / temperature
  return np.exp(-np.logaddexp(0, -z))

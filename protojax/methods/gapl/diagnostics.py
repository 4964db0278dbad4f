"""How features of real and generated images vary: traces and Fisher's ratio.

Sums over a stream, never all features: for each class the count, the sum and
the outer products, for each generator the count and the sum.
"""

from jaxtyping import Float, Int
import numpy as np


class Moments:
  """Sums of features by class, 0 real and 1 generated, and by generator."""

  def __init__(self, channels: int) -> None:
    """Nothing yet."""
    self.counts = np.zeros(2)
    self._sums = np.zeros((2, channels))
    self._outer = np.zeros((2, channels, channels))
    self._generators: dict[int, tuple[int, np.ndarray]] = {}

  def add(
    self,
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    generators: Int[np.ndarray, " n"],
  ) -> None:
    """Adds a batch."""
    features = features.astype(np.float64)
    for label in (0, 1):
      own = features[labels == label]
      self.counts[label] += len(own)
      self._sums[label] += own.sum(axis=0)
      self._outer[label] += own.T @ own
    for number in np.unique(generators[labels == 1]):
      own = features[(labels == 1) & (generators == number)]
      count, total = self._generators.get(int(number), (0, 0.0))
      self._generators[int(number)] = count + len(own), total + own.sum(axis=0)

  def mean(self, label: int) -> Float[np.ndarray, " d"]:
    """Of the features of a class."""
    return self._sums[label] / self.counts[label]

  def covariance(self, label: int) -> Float[np.ndarray, "d d"]:
    """Of a class, over n."""
    mean = self.mean(label)
    return self._outer[label] / self.counts[label] - np.outer(mean, mean)

  def trace(self, label: int) -> float:
    """tr(S) of a class."""
    return float(np.trace(self.covariance(label)))

  def relative_trace(self, label: int) -> float:
    """tr(S) over the mean squared length; of unit vectors it is tr(S)."""
    squares = np.trace(self._outer[label]) / self.counts[label]
    return self.trace(label) / max(float(squares), 1e-30)

  def between(self) -> float:
    """The part of tr(S) of generated images that is between generators.

    tr Cov_g(E[F | g]) of the law of total variance.
    """
    counts = np.array([count for count, _ in self._generators.values()])
    means = np.array([total / n for n, total in self._generators.values()])
    apart = np.sum((means - self.mean(1)) ** 2, axis=1)
    return float(counts @ apart / counts.sum())

  def fisher(self) -> float:
    """J of the best direction w = (S_r + S_f)^-1 (mu_f - mu_r).

    J = (w^T (mu_f - mu_r))^2 / (w^T (S_r + S_f) w), which is
    (mu_f - mu_r)^T w at this w. Directions without variance are left out.
    """
    apart = self.mean(1) - self.mean(0)
    within = self.covariance(0) + self.covariance(1)
    w = np.linalg.pinv(within, rcond=1e-6, hermitian=True) @ apart
    return float(apart @ w)

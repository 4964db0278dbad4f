"""What scikit-learn makes of scores, to hold the metrics against."""

import numpy as np
from sklearn import metrics

from protojax.metrics import anomaly


def f1_max(labels, scores):
  precision, recall, _ = metrics.precision_recall_curve(labels, scores)
  found = precision + recall > 0
  return np.max((2 * precision * recall)[found] / (precision + recall)[found])


def aupro(truths, maps, limit=0.3):
  """Mean height, up to `limit`, of a ROC curve that weighs defective pixels.

  A pixel weighs 1 / area of its region, so that each region weighs 1.
  """
  numbers = [anomaly.regions(truth) for truth in truths]
  areas = [np.bincount(n.ravel()) for n in numbers]
  weights = [1 / a[n] for n, a in zip(numbers, areas, strict=True)]
  x, y, _ = metrics.roc_curve(
    truths.ravel(),
    maps.ravel(),
    sample_weight=np.where(truths, weights, 1.0).ravel(),
    drop_intermediate=False,
  )
  inside = np.sum(x <= limit)
  last = np.interp(limit, x[inside - 1 :], y[inside - 1 :])
  x, y = np.append(x[:inside], limit), np.append(y[:inside], last)
  return np.trapezoid(y, x) / limit

"""Accuracy and cross entropy against scikit-learn."""

import jax
import numpy as np
from numpy.testing import assert_allclose
from sklearn.metrics import accuracy_score, log_loss

from protojax.metrics import classification


def test_sums_of_padded_batches_are_those_of_scikit_learn():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(10, 4)).astype(np.float32)
  labels = rng.integers(0, 4, 10).astype(np.int32)
  add, devices = jax.jit(classification.add), []
  # Two devices, two batches each; the last batch of the second is padded.
  for starts in ((0, 3), (6, 9)):
    sums = classification.none()
    for start in starts:
      rows = np.arange(start, start + 3)
      mask = rows < 10
      batch = {"label": np.where(mask, labels[rows % 10], -1), "valid": mask}
      sums = add(sums, logits[rows % 10], batch)
    devices.append(np.asarray(sums))
  found = classification.figures(np.stack(devices))
  answers = logits.argmax(axis=1)
  assert_allclose(found["accuracy"], accuracy_score(labels, answers))
  shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  assert_allclose(
    found["cross_entropy"], log_loss(labels, shares, labels=range(4)), rtol=1e-6
  )

"""The loss of a batch on one device, from its terms."""

import numpy as np

from protojax import parallel
from protojax.engine.terms import Now


def now(seed=0):
  """The first step of a stage."""
  return Now(parallel.key(seed), np.int32(0), np.float32(0))


def total(terms):
  """Weight times mean, summed over the terms."""
  return sum(t.weight * t.total / t.count for t in terms.values())

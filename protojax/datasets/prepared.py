"""Data sets that `python -m protojax prepare` wrote, in their folders.

Labelled photographs are opened by `tfds`, because they are TFDS data sets of
this name.
"""

from typing import Any

from protojax.datasets import anomaly_records
from protojax.datasets.collection import Collection, joined


def collect(data: Any) -> Collection:
  """Normal and defective images."""
  return joined(data.root, anomaly_records.opened)

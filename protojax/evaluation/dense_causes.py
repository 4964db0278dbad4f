"""Tests reasons of regions on mosaics whose classes have one known cause.

Of a run on `datasets.planted_mosaics` the largest regions of test images are
explained, and those that show their class are counted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from protojax import loading
from protojax.explain.blocks import Explanation, Table
from protojax.explain.request import Request
from protojax.methods.base import needed
from protojax.modify import presets
from protojax.modify.modification import CHARACTERISTICS

# Test images whose regions are explained.
IMAGES = 60
# Of the table with a row for each region.
_COLUMN = "because of what"


def measure(folder: Path, images: int = IMAGES) -> Mapping[str, Any]:
  """The metrics of a run, and what its regions are said to rest on.

  Args:
    folder: of the run.
    images: of the test split, explained.

  Returns:
    What `evaluate` gives, "regions", how many are explained, "shares"
    (characteristic -> its mean share of what a region's similarity loses) and
    "first", the share of regions that lose most by the planted characteristic.
    A region that loses nothing is left out; without any, both are None.
  """
  method, state, config = loading.load(folder)
  explains = needed(method, "explains")
  stream = method.stream("test")
  request = Request(
    split="test", scope="local", preset=presets.BALANCED, limit=images
  )
  found = counted(
    explains.explain(state, stream, request), config.data.characteristic
  )
  return {**method.evaluate(state, "test"), **found}


def counted(
  explanations: Iterable[Explanation], cause: str
) -> Mapping[str, Any]:
  """The figures of `measure` that explanations give.

  Args:
    explanations: of images, each with a table of its regions.
    cause: the planted characteristic.
  """
  names, lost = CHARACTERISTICS, []
  for found in explanations:
    for block in found.blocks:
      if isinstance(block, Table) and _COLUMN in block.caption:
        columns = [block.columns.index(name) for name in names]
        lost += [[row[c] or 0.0 for c in columns] for row in block.rows]
  values = np.maximum(np.array(lost, float).reshape(-1, len(names)), 0)
  values = values[values.sum(axis=1) > 0]
  if not len(values):
    nothing = dict.fromkeys(names)
    return {"regions": len(lost), "shares": nothing, "first": None}
  shares = values / values.sum(axis=1, keepdims=True)
  return {
    "regions": len(lost),
    "shares": dict(zip(names, shares.mean(axis=0).tolist(), strict=True)),
    "first": float(np.mean(values.argmax(axis=1) == names.index(cause))),
  }

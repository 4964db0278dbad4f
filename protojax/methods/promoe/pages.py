"""The page on ProMoE's experts: load, balance over training, classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from protojax import json_files
from protojax.explain import blocks
from protojax.methods.promoe import statistics
from protojax.report.special_pages import Page
from protojax.types import State

_CURVES = ("load_entropy", "smallest_share", "margin")


def pages(method: Any, state: State, workdir: Path) -> Iterator[Page]:
  """One page, for a run with experts."""
  net = method.network
  if net.rule is None:
    return
  found = method.measured(state, "test")
  yield Page(
    "experts",
    "What each expert is for",
    "How the test images' tokens are spread over the experts, with noise of all"
    " times, and how the balance came about in training.",
    (
      *_curve(Path(workdir) / "metrics.jsonl"),
      _loads(found["counts"]),
      *_classes(method, found["usage"]),
    ),
  )


def _curve(path: Path) -> Iterator[blocks.Block]:
  """The routing over training, as far as the log has it."""
  if not path.exists():
    return
  events = json_files.read_lines(path, dict[str, Any], cut=True)
  logged = [event for _, event in events if event.get("split") == "train"]
  series = []
  for name in _CURVES:
    points = [(e["step"], e[name]) for e in logged if name in e]
    if points:
      steps, values = np.array(points, float).T
      series.append(blocks.Series(name.replace("_", " "), steps, values))
  if series:
    yield blocks.Curve(
      tuple(series),
      blocks.Axis("step"),
      blocks.Axis("value"),
      "The routing of the training batches, means over layers. Load entropy: 1"
      " if all experts have as many tokens. Smallest share: that of the least"
      " used expert, 1 if the load is equal. Margin: cosine of a prototype and"
      " the mean of its tokens, less that of the nearest other mean.",
    )


def _loads(counts: np.ndarray) -> blocks.Table:
  """A row for each layer."""
  found = {k: np.asarray(x) for k, x in statistics.shares(counts).items()}
  shares = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
  rows = tuple(
    (
      n + 1,
      float(found["load_entropy"][n]),
      float(found["smallest_share"][n]),
      *map(float, shares[n]),
    )
    for n in range(len(counts))
  )
  names = [f"expert {j + 1}" for j in range(counts.shape[1])]
  columns = "layer", "load entropy", "smallest share", *names
  return blocks.Table(columns, rows, "Shares of the tokens with a class")


def _classes(method: Any, usage: np.ndarray) -> Iterator[blocks.Matrix]:
  """Class by expert, for each layer."""
  count = method.network.rule.experts
  for n, of_layer in enumerate(usage[..., :count]):
    total = np.maximum(of_layer.sum(-1, keepdims=True), 1)
    yield blocks.Matrix(
      tuple(method.dataset.class_names),
      tuple(f"expert {j + 1}" for j in range(count)),
      of_layer / total,
      f"Share of each class's tokens, layer {n + 1}",
    )

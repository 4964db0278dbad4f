"""What the experiments on planted causes share; `evaluate --planted` says why.

An arm is a cause: a model is trained on photographs whose label has it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
import statistics
from typing import Any

from benchmarks import harness
from benchmarks.experiment import Found, columns
from protojax import loading
from protojax.evaluation import known_causes
from protojax.modify import presets
from protojax.modify.modification import CHARACTERISTICS

_SHARES = sorted(CHARACTERISTICS)
_SCORES = {"first": "first", "r": "train_test_correlation"}

FIGURES = {
  **{name: f"balanced.shares.{name}" for name in _SHARES},
  **{name: f"balanced.{place}" for name, place in _SCORES.items()},
  "accuracy": "balanced.accuracy",
  **{f"reference: {name}": f"reference.shares.{name}" for name in _SHARES},
  "reference: first": "reference.first",
  "control": "control",
}
SETTINGS = {
  "images": known_causes.IMAGES,
  "presets": (presets.BALANCED, presets.REFERENCE),
}


def arms(method: str) -> dict[str, tuple[str, dict[str, Any]]]:
  """Those of the experiment of a method."""
  file = f"configs/{method}_planted.py"
  return {name: (f"{file}:{name}", {}) for name in _SHARES}


def measure(
  workdir: Path, data: Path, images: int, presets: tuple[presets.Preset, ...]
) -> Mapping[str, Any]:
  """Figures of one run, by preset."""
  del data  # It is embedded.
  cause = loading.load(workdir)[2].data.characteristic
  measured = known_causes.measure(workdir, images, presets)
  return {
    "control": measured.control,
    **{
      preset.name: {
        name: of_causes[cause]
        for name, of_causes in known_causes.table(
          {cause: [measured]}, preset.name
        ).items()
      }
      for preset in presets
    },
  }


def table(found: Found) -> Iterator[harness.Row]:
  """Means over seeds, a row for each cause; its own share is bold."""
  for cause, of_seeds in found.items():
    mean = {
      name: statistics.fmean(values)
      for name, values in columns(of_seeds).items()
    }
    row = {name: f"{mean[name]:z.2f}" for name in (*_SHARES, *_SCORES)}
    row[cause] = f"**{row[cause]}**"
    yield {"cause": cause, **row, "accuracy": f"{mean['accuracy']:.3f}"}

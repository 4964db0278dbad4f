"""What each part of IRCA's model is worth on four devices (docs/irca.md)."""

from collections.abc import Iterator

from benchmarks import harness
from benchmarks.experiment import Found

QUESTION = "What are Airy's model, a free gain and a free reflectivity worth?"

DEVICES = ("imspoc_uv_1", "imagaz_1", "imspoc_uv_2", "wfai_1")

_CHANGES = {
  "Airy's distribution": {},
  "reflectivity not bounded, as the authors": {"bounded": False},
  "three waves": {"waves": 3},
  "two waves": {"waves": 2},
  "reflectivity constant": {"degrees.reflectivity": 0},
  "gain as the flat field": {"free": ("opd", "phase", "reflectivity")},
}

ARMS = {
  f"{device}: {name}": (
    "configs/irca_folder.py",
    {
      "data.root": f"irca_acquisitions/{device}",
      "preset": device,
      # Curves alone are compared.
      "refine.covariance": False,
      **changes,
    },
  )
  for name, changes in _CHANGES.items()
  for device in DEVICES
}

FIGURES = {"rmse": "rmse", "median": "median_rmse"}

# Nothing is drawn.
SEEDS = (0,)


def _by_model(found: Found) -> Iterator[harness.Row]:
  """A row for each model: the RMSE of each device."""
  for name in _CHANGES:
    row = {"model": name}
    for device in DEVICES:
      of_seeds = found.get(f"{device}: {name}")
      row[device] = f"{of_seeds[0]['rmse']:.4f}" if of_seeds else ""
    yield row


TABLE = _by_model

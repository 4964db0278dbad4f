"""INP-Former on textures, each of its parts taken away (docs/inp_former.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protojax import loading
from protojax.datasets import anomalies

QUESTION = "Which part of INP-Former counts on textures?"

_FILE = "configs/inp_former_textures.py"

# What each takes away (2503.02424, section 4).
ARMS = {
  "INP-Former": (_FILE, {}),
  "self-attention decoder": (
    _FILE,
    {"decoder.attention": "self", "decoder.residual": True},
  ),
  "residual kept": (_FILE, {"decoder.residual": True}),
  "softmax for ReLU": (_FILE, {"decoder.attention": "softmax"}),
  "static prototypes": (_FILE, {"prototypes.static": True}),
}

FIGURES = {
  "image AUROC": "plain.image_auroc",
  "pixel AUROC": "plain.pixel_auroc",
  "AUPRO": "plain.aupro",
  "pixel AUROC in another light": "light.pixel_auroc",
  "AUPRO in another light": "light.aupro",
}

SEEDS = (0, 1, 2)

# Of the other light, in grey levels.
SETTINGS = {"gain": 0.7, "offset": 30.0}


def _in_two_lights(
  workdir: Path, data: Path, gain: float, offset: float
) -> Mapping[str, Any]:
  """Metrics on the test images, as they are and in another light."""
  del data  # They are embedded.
  method, state, _ = loading.load(workdir)
  found = {"plain": method.evaluate(state, "test")}
  sources = method.dataset.sources
  sources["test"] = anomalies.shifted(sources["test"], gain, offset)
  return {**found, "light": method.evaluate(state, "test")}


MEASURE = _in_two_lights

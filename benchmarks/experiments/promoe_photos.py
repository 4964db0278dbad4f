"""ProMoE on the embedded photographs, in colour, beside three routings.

The second table of docs/promoe.md. All arms have as many parameters in use, and
the same steps.
"""

from benchmarks import generated

QUESTION = "What does ProMoE's routing bring on small colour images?"

_FILE = "configs/promoe_photos.py"
_SMALL = {"network.channels": 32, "batch_size": 32, "steps": 500}

ARMS = {
  "dense": (_FILE, {**_SMALL, "moe.routing": "dense"}),
  "token choice, softmax, balance loss": (
    _FILE,
    {**_SMALL, "moe.routing": "token_choice"},
  ),
  "prototypical": (_FILE, {**_SMALL, "moe.routing": "prototypical"}),
  "ProMoE": (_FILE, _SMALL),
}

FIGURES = generated.FIGURES

SEEDS = (0, 1, 2)

# See `generated.measured`.
SETTINGS = {
  "images": 260,
  "steps": 15,
  "guidance": 1.5,
  "clusters": 8,
  "epochs": 150,
}

MEASURE = generated.measured

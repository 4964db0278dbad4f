"""ProMoE on the embedded digits, beside its ablation and other routers.

The table of docs/promoe.md. All arms have as many parameters in use, and the
same steps.
"""

from benchmarks import generated

QUESTION = "What does each part of ProMoE's routing bring on digits?"

_FILE = "configs/promoe_digits.py"
_SMALL = {"network.channels": 32, "steps": 700}

ARMS = {
  "dense": (_FILE, {**_SMALL, "moe.routing": "dense"}),
  "token choice, softmax, balance loss": (
    _FILE,
    {**_SMALL, "moe.routing": "token_choice"},
  ),
  "expert choice, softmax": (_FILE, {**_SMALL, "moe.routing": "expert_choice"}),
  "prototypical": (_FILE, {**_SMALL, "moe.routing": "prototypical"}),
  "+ contrastive loss": (_FILE, {**_SMALL, "moe.routing": "contrastive"}),
  "+ conditional (ProMoE)": (_FILE, _SMALL),
  "ProMoE, softmax": (_FILE, {**_SMALL, "moe.activation": "softmax"}),
  "ProMoE, sigmoid": (_FILE, {**_SMALL, "moe.activation": "sigmoid"}),
  "ProMoE, balance loss": (_FILE, {**_SMALL, "loss.balance": 0.01}),
  "k-means": (_FILE, {**_SMALL, "moe.routing": "kmeans"}),
  "k-means, conditional": (
    _FILE,
    {**_SMALL, "moe.routing": "kmeans_conditional"},
  ),
  "classes": (_FILE, {**_SMALL, "moe.routing": "classes"}),
}

FIGURES = generated.FIGURES

SEEDS = (0, 1, 2)

# See `generated.measured`.
SETTINGS = {"images": 500, "steps": 25, "guidance": 1.5, "clusters": 8}

MEASURE = generated.measured

"""PatchCT on canvases of digits: what the transport adds to aligned towers.

Up to the end of the stage "align" all arms of a seed are the same run: patches
and labels are aligned by the loss of the patches' own logits. Then the image
tower and the labels are slowed to a tenth, and the arms differ in lambda, and
in whether the class token shares the map of the patches.
"""

from benchmarks import harness

QUESTION = "Does transport help towers whose patches and labels are aligned?"

_FILE = "configs/patchct_digits.py"
_FEWER = {"data.train": "train:2000", "data.test": "test:500"}


def _arm(transport: float, **changes: float) -> tuple[str, dict]:
  more = {key.replace("_", ".", 1): value for key, value in changes.items()}
  return _FILE, {**_FEWER, "loss.transport": transport, **more}


ARMS = {
  "λ = 0": _arm(0.0),
  "λ = 0.03": _arm(0.03),
  "λ = 0.1": _arm(0.1),
  "λ = 0.3": _arm(0.3),
  "λ = 1": _arm(1.0),
  "λ = 1, forward alone": _arm(
    1.0, transport_forward=1.0, transport_backward=0.0
  ),
  "λ = 1, backward alone": _arm(
    1.0, transport_forward=0.0, transport_backward=1.0
  ),
  "λ = 1, null prototype": _arm(1.0, transport_null=0.3),
  # The patches' map is not that of the class token: transport alone moves it,
  # and the steps of Adam do not depend on the size of its weight.
  "lambda 0": _arm(0.0, head_shared=False),
  "lambda 0.1": _arm(0.1, head_shared=False),
  "lambda 1": _arm(1.0, head_shared=False),
}

FIGURES = {
  "mAP aligned": "by_stage.02-align.map",
  "pointing aligned": "by_stage.02-align.pointing",
  "mAP": "map",
  "fused mAP": "map_fused",
  "pointing": "pointing",
  "chance": "pointing_chance",
  "cosine of labels": "label_cosine",
}

SEEDS = (0, 1, 2)

# Arms are compared with that of their own kind.
_BASES = "λ = 0", "lambda 0"
_SHOWN = ("mAP", "fused mAP", "pointing")


def TABLE(found):
  """A row for each arm: means, and the difference to lambda 0, by seed."""
  for arm, of_seeds in found.items():
    own_map = arm.startswith("lambda")
    base = found.get(_BASES[own_map], {})
    title = arm.replace("lambda", "own map, λ =")
    row = {"arm": title, "seeds": len(of_seeds)}
    for name in _SHOWN:
      row[name] = harness.spread([x[name] for x in of_seeds.values()])
      apart = [
        x[name] - base[s][name] for s, x in of_seeds.items() if s in base
      ]
      row[f"{name}, less λ = 0"] = harness.spread(apart) if apart else ""
    yield row

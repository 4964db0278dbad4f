"""NeuroGaze-Distill on the stand-in of digits: what each loss is worth.

All arms of a seed have the same student at the start and the same order of the
images; those with a bank have the same teacher and, before a control changes
it, the same bank. "shuffled" permutes the cells of the bank, "random" draws its
directions: the claim that the other modality informs the student holds only if
the true bank beats both. "Shifted" figures are over the classes present, means
over the four shifts of the test images.
"""

from benchmarks import harness

QUESTION = "What is each loss worth, and does the bank's meaning matter?"

_FILE = "configs/neurogaze_distill_digits.py"


def _arm(arm: str, **changes: object) -> tuple[str, dict[str, object]]:
  named = {name.replace("__", "."): value for name, value in changes.items()}
  return _FILE, {"arm": arm, **named}


ARMS = {
  "CE": _arm("B0"),
  "+ KD": _arm("B1"),
  "+ KD as KL": _arm("B1", kd_mse__form="kl"),
  "+ Proto, true bank": _arm("B2"),
  "+ Proto, shuffled bank": _arm("B2", bank__control="shuffled"),
  "+ Proto, random bank": _arm("B2", bank__control="random"),
  # Eight times the paper's weight.
  "+ Proto of weight 1, true bank": _arm("B2", proto_kd__weight=1.0),
  "+ Proto of weight 1, shuffled bank": _arm(
    "B2", proto_kd__weight=1.0, bank__control="shuffled"
  ),
  "+ Proto of weight 1, random bank": _arm(
    "B2", proto_kd__weight=1.0, bank__control="random"
  ),
  "+ D-Geo": _arm("B3"),
}

FIGURES = {
  "macro F1": "test.macro_f1",
  "shifted macro F1": "external_mean.present_macro_f1",
  "shifted bACC": "external_mean.present_bacc",
  "V of positive classes": "positive_variance",
}

SEEDS = (0, 1, 2, 3, 4)

_BASE, _COMPARED = "+ KD", "shifted macro F1"


def TABLE(found):
  """A row for each arm: means, and the difference to KD alone, by seed."""
  base = found.get(_BASE, {})
  for arm, of_seeds in found.items():
    row = {"arm": arm, "seeds": len(of_seeds)}
    for name in FIGURES:
      row[name] = harness.spread([x[name] for x in of_seeds.values()])
    apart = [
      x[_COMPARED] - base[s][_COMPARED]
      for s, x in of_seeds.items()
      if s in base
    ]
    row[f"less {_BASE}"] = harness.spread(apart) if apart else ""
    yield row

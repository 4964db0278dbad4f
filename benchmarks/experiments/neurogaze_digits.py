"""What each loss of NeuroGaze-Distill is worth on the stand-in of digits.

The scores are those over the classes present, means over the four shifts of the
test images. "shuffled" permutes the cells of the bank, "random" draws its
directions: the claim that the other modality informs the student holds only if
the true bank beats both.
"""

QUESTION = "Does the true bank beat a shuffled and a random one?"

_FILE = "configs/neurogaze_distill_digits.py"

ARMS = {
  "CE": (_FILE, {"arm": "B0"}),
  "+ KD": (_FILE, {"arm": "B1"}),
  "+ Proto, true bank": (_FILE, {"arm": "B2"}),
  "+ Proto, shuffled bank": (_FILE, {"arm": "B2", "bank.control": "shuffled"}),
  "+ Proto, random bank": (_FILE, {"arm": "B2", "bank.control": "random"}),
  "+ D-Geo": (_FILE, {"arm": "B3"}),
}

FIGURES = {
  "macro F1": "test.macro_f1",
  "shifted macro F1": "external_mean.present_macro_f1",
  "shifted bACC": "external_mean.present_bacc",
  "V of positive classes": "positive_variance",
}

SEEDS = (0, 1, 2, 3, 4)

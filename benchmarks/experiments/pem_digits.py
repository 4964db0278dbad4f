"""PEM's tokens on embedded scenes of digits, replaced by others."""

QUESTION = "Does it matter which token a query picks?"

_FILE = "configs/pem_digits.py"
# So that nine runs take a quarter of an hour of one core.
_STEPS = {
  "data.train": "train:400",
  "data.test": "test:100",
  "train.steps": 450,
}

ARMS = {
  "PEM": (_FILE, _STEPS),
  "full masked cross-attention": (f"{_FILE}:masked", _STEPS),
  "random tokens": (f"{_FILE}:random", _STEPS),
}

FIGURES = {
  "PQ": "pq",
  "SQ": "sq",
  "RQ": "rq",
  "PQ of things": "pq_things",
  "PQ of stuff": "pq_stuff",
  "mIoU": "miou",
}

SEEDS = (0, 1, 2)

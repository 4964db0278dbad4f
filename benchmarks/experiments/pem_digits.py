"""PEM on embedded scenes of digits: what each of its parts brings.

All digits are of one class: to name ten of them takes more steps than a run of
a minute and a half has.
"""

QUESTION = "Does it matter which token a query picks?"

_FILE = "configs/pem_digits.py:alike"
# So that 15 runs take half an hour of one core.
_STEPS = {
  "data.train": "train:400",
  "data.test": "test:100",
  "train.steps": 400,
  "train.rate": 1e-3,
  "loss.points": 256,
}

ARMS = {
  "PEM": (_FILE, _STEPS),
  "full masked cross-attention": (f"{_FILE},masked", _STEPS),
  "random tokens": (f"{_FILE},random", _STEPS),
  "without gates": (_FILE, {**_STEPS, "pixels.gated": False}),
  "plain convolutions": (_FILE, {**_STEPS, "pixels.deformable": False}),
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

"""PEM's parts on embedded scenes of digits, one left out or replaced."""

QUESTION = "Does it matter which token a query picks?"

_FILE = "configs/pem_digits.py"

ARMS = {
  "PEM": (_FILE, {}),
  "full masked cross-attention": (f"{_FILE}:masked", {}),
  "random tokens": (f"{_FILE}:random", {}),
  "no gates (CSM)": (_FILE, {"pixels.gated": False}),
  "plain convolutions": (_FILE, {"pixels.deformable": False}),
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

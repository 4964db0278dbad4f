"""What is unusual for a prototype, among those of its model.

The changes of an image are not equally strong, so the characteristics of one
prototype cannot be compared: on photographs shape costs most for nearly all.
One characteristic can be compared between prototypes. Its percentile says for
how many of the others it costs less; the ends of the score's interval, which is
over draws of the images, give those of the percentile. A characteristic stands
out where even the lower end is in the highest fifth. The definition is ours.
"""

from collections import Counter
from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from protojax.explain.evidence import GlobalExplanation, Interval, Standing
from protojax.modify.modification import CHARACTERISTICS

# The percentile that even the lower end of the interval must reach.
STANDS_OUT = 80.0
# Fewer prototypes have no percentiles.
LEAST = 20


def mark(
  prototypes: Sequence[GlobalExplanation],
) -> tuple[GlobalExplanation, ...]:
  """The same explanations, with standings over the scores of the last split.

  Those that are pruned, or that no image is like, have none.
  """
  scored = [e for e in prototypes if _finite(e)]
  if len(scored) < LEAST:
    return tuple(prototypes)
  names = [n for n in CHARACTERISTICS if n in _last(scored[0]).scores]
  every = {n: np.sort([_last(e).scores[n] for e in scored]) for n in names}
  first = Counter(
    max(names, key=_last(e).scores.__getitem__) for e in scored if names
  )
  usual, count = first.most_common(1)[0] if first else ("", 0)
  usual = usual if 2 * count > len(scored) else ""
  marked = {e.prototype: _marked(e, every, usual) for e in scored}
  return tuple(marked.get(e.prototype, e) for e in prototypes)


def _marked(e: GlobalExplanation, every, usual: str) -> GlobalExplanation:
  because = _last(e)
  standings = {}
  for name, scores in every.items():
    own = because.scores[name]
    ends = because.intervals.get(name, Interval(math.nan, math.nan))
    standings[name] = Standing(
      *(_percentile(scores, own, x) for x in (own, *ends))
    )
  far = {n: s for n, s in standings.items() if s.low >= STANDS_OUT}
  farthest = max(far, key=lambda n: far[n][:2], default="")
  return dataclasses.replace(
    e, standings=standings, stands_out=farthest, usual=usual
  )


def _percentile(scores: np.ndarray, own: float, value: float) -> float:
  """How many percent of the other scores are below a value; nan of nan."""
  if not math.isfinite(value):
    return math.nan
  below = int(np.searchsorted(scores, value)) - (own < value)
  return 100 * below / (len(scores) - 1)


def _finite(e: GlobalExplanation) -> bool:
  return e.alive and bool(e.because) and math.isfinite(_last(e).similarity)


def _last(e: GlobalExplanation):
  return list(e.because.values())[-1]

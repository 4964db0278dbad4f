"""The detection score of nuScenes: mAP by distance, five errors, and NDS.

Caesar et al., "nuScenes: a multimodal dataset for autonomous driving", CVPR
2020, section 3.1. An answer is right if its middle lies near enough to that of
an object, on the ground; AP is the mean over four distances. Errors are those
of answers at 2 m: of place, size, direction, speed and attribute.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from protojax.data.cuboids import Cuboids

# Class -> how far away it is judged, in metres.
RANGES: Mapping[str, float] = {
  **{"car": 50, "truck": 50, "bus": 50, "trailer": 50},
  **{"construction_vehicle": 50, "pedestrian": 40, "motorcycle": 40},
  **{"bicycle": 40, "traffic_cone": 30, "barrier": 30},
}
ERRORS = ("place", "size", "direction", "speed", "attribute")
_DISTANCES = (0.5, 1.0, 2.0, 4.0)  # metres
_AT = 2.0  # that errors are measured at
_RECALLS = np.linspace(0, 1, 101)
_FIRST = 11  # of the recalls, the first above 0.1
_LEAST = 0.1  # precision
# Errors that a class has not.
_WITHOUT: Mapping[str, tuple[str, ...]] = {
  "traffic_cone": ("direction", "speed", "attribute"),
  "barrier": ("speed", "attribute"),
}


class Moving(NamedTuple):
  """Objects of an image or a sample, and how they move.

  Attributes:
    objects: in one frame for truth and answers; on the ground, x and z count.
    speeds: along x and z, in metres a second; nan where unknown.
    attributes: such as "vehicle.parked"; '' where unknown.
  """

  objects: Cuboids
  speeds: Float[np.ndarray, "n 2"]
  attributes: tuple[str, ...]


class Score(NamedTuple):
  """The result.

  Attributes:
    ap: class -> AP, mean over distances.
    errors: error -> mean over the classes that have it, 1 where all is wrong.
    mean_ap: over the classes.
    nds: five parts mAP, and one of 1 less each error.
  """

  ap: dict[str, float]
  errors: dict[str, float]
  mean_ap: float
  nds: float


def still(objects: Cuboids) -> Moving:
  """Objects of which no speed and no attribute is known."""
  n = objects.number
  return Moving(objects, np.full((n, 2), np.nan), ("",) * n)


def score(
  truth: Sequence[Moving],
  found: Sequence[Moving],
  ranges: Mapping[str, float] = RANGES,
) -> Score:
  """Compares answers with truth, sample by sample.

  Classes without an object have AP 0 and errors 1, as in the authors' program.

  Args:
    truth: objects of each sample.
    found: answers for the same samples, with scores.
    ranges: class -> how far away it is judged.
  """
  ap, errors = {}, {name: [] for name in ERRORS}
  for kind, most in ranges.items():
    pairs = [
      (_near(t, kind, most), _near(f, kind, most))
      for t, f in zip(truth, found, strict=True)
    ]
    ap[kind] = float(np.mean([_precision(pairs, far) for far in _DISTANCES]))
    own = _errors(pairs, kind)
    for name in ERRORS:
      if name not in _WITHOUT.get(kind, ()):
        errors[name].append(own[name])
  means = {n: float(np.mean(x)) if x else 1.0 for n, x in errors.items()}
  mean_ap = float(np.mean(list(ap.values())))
  rest = sum(1 - min(1.0, error) for error in means.values())
  return Score(ap, means, mean_ap, (5 * mean_ap + rest) / 10)


def _near(moving: Moving, kind: str, most: float) -> Moving:
  objects = moving.objects
  own = np.array([name == kind for name in objects.kinds], bool)
  own &= np.hypot(objects.places[:, 0], objects.places[:, 2]) < most
  at = np.flatnonzero(own)
  attributes = tuple(moving.attributes[int(i)] for i in at)
  return Moving(objects.chosen(at), moving.speeds[at], attributes)


class _Matches(NamedTuple):
  """Of all answers, the surest first.

  Attributes:
    right: whether an answer is.
    scores: of the answers.
    pairs: (sample, object, answer) of the right ones.
    total: objects.
  """

  right: np.ndarray
  scores: np.ndarray
  pairs: list[tuple[int, int, int]]
  total: int


def _matched(pairs: Sequence[tuple[Moving, Moving]], far: float) -> _Matches:
  """Each answer takes the nearest object that is left, the surest first."""
  total = sum(t.objects.number for t, _ in pairs)
  every = [
    (score, s, j)
    for s, (_, f) in enumerate(pairs)
    for j, score in enumerate(f.objects.scores)
  ]
  every.sort(key=lambda one: -one[0])
  left = [np.ones(t.objects.number, bool) for t, _ in pairs]
  right, matches = np.zeros(len(every), bool), []
  for n, (_, s, j) in enumerate(every):
    truth, answers = (x.objects.places[:, ::2] for x in pairs[s])
    if not left[s].any():
      continue
    away = np.hypot(*(truth - answers[j]).T)
    i = int(np.argmin(np.where(left[s], away, np.inf)))
    if away[i] < far:
      left[s][i], right[n] = False, True
      matches.append((s, i, j))
  scores = np.array([one[0] for one in every])
  return _Matches(right, scores, matches, total)


def _precision(pairs: Sequence[tuple[Moving, Moving]], far: float) -> float:
  """AP: mean precision above recall 0.1 and precision 0.1."""
  found = _matched(pairs, far)
  if not found.right.any():
    return 0.0
  right = np.cumsum(found.right)
  precision = right / np.arange(1, len(right) + 1)
  curve = np.interp(_RECALLS, right / found.total, precision, right=0)
  above = np.maximum(curve[_FIRST:] - _LEAST, 0)
  return float(above.mean() / (1 - _LEAST))


def _errors(
  pairs: Sequence[tuple[Moving, Moving]], kind: str
) -> dict[str, float]:
  """Each error, the mean over recalls of its mean over surer answers."""
  found = _matched(pairs, _AT)
  if not found.pairs:
    return dict.fromkeys(ERRORS, 1.0)
  recall = np.cumsum(found.right) / found.total
  # The score at each recall, 0 where it is not reached.
  scores = np.interp(_RECALLS, recall, found.scores, right=0)
  reached = np.flatnonzero(scores)
  last = int(reached[-1]) if len(reached) else 0
  if last < _FIRST:
    return dict.fromkeys(ERRORS, 1.0)
  rows = np.array(
    [_error(pairs[s][0], i, pairs[s][1], j, kind) for s, i, j in found.pairs]
  )
  own, result = found.scores[found.right], {}
  for name, column in zip(ERRORS, rows.T, strict=True):
    known = np.isfinite(column)
    if not known.any():
      result[name] = 1.0
      continue
    counts = np.maximum(np.cumsum(known), 1)
    means = np.cumsum(np.where(known, column, 0)) / counts
    # Scores fall, and `interp` wants them to rise.
    at = np.interp(scores[::-1], own[::-1], means[::-1])[::-1]
    result[name] = float(at[_FIRST : last + 1].mean())
  return result


def _error(
  truth: Moving, i: int, found: Moving, j: int, kind: str
) -> tuple[float, ...]:
  """The errors of one answer; nan where one is not known."""
  a, b = truth.objects, found.objects
  both = np.prod(np.minimum(a.sizes[i], b.sizes[j]))
  union = np.prod(a.sizes[i]) + np.prod(b.sizes[j]) - both
  # A barrier has no front.
  period = np.pi if kind == "barrier" else 2 * np.pi
  turn = abs(a.yaws[i] - b.yaws[j]) % period
  attributes = truth.attributes[i], found.attributes[j]
  return (
    float(np.hypot(*(a.places[i] - b.places[j])[::2])),
    float(1 - both / union),
    float(min(turn, period - turn)),
    float(np.hypot(*(truth.speeds[i] - found.speeds[j]))),
    float(attributes[0] != attributes[1]) if attributes[0] else float("nan"),
  )

"""Average precision of detected objects by KITTI's rules, at 40 recalls.

The rules are those of the benchmark's own program (Geiger et al., CVPR 2012),
with AP at 40 recalls (Simonelli et al., ICCV 2019). For a class and a
difficulty, truth that is too small, hidden or cut off, and truth of a similar
class (Van for Car), is neither to be found nor wrong to be found. So are, for
boxes in the image, those that lie in areas marked "DontCare".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float
import numpy as np

from protojax.data.cuboids import Cuboids
from protojax.metrics import cuboid_overlap

_RECALLS = 40
_DONT_CARE = "dontcare"
# What is like a class: neither right nor wrong.
_SIMILAR: Mapping[str, str] = {"car": "van", "pedestrian": "person_sitting"}


class Difficulty(NamedTuple):
  """Which objects must be found.

  Attributes:
    name: of the rule.
    height: of a box, in pixels, more than this.
    occluded: at most; see `Cuboids`.
    truncated: at most.
  """

  name: str
  height: float
  occluded: int
  truncated: float


# KITTI's three.
DIFFICULTIES = (
  Difficulty("easy", 40, 0, 0.15),
  Difficulty("moderate", 25, 1, 0.3),
  Difficulty("hard", 25, 2, 0.5),
)
# Every object, for images that are small as a whole.
ALL = Difficulty("all", 0, 3, 1)

_Overlap = Callable[[Cuboids, Cuboids], Float[np.ndarray, "n m"]]
# Where overlap is measured.
VIEWS: Mapping[str, _Overlap] = {
  "2d": lambda one, other: cuboid_overlap.of_boxes(one.boxes, other.boxes),
  "bev": cuboid_overlap.from_above,
  "3d": cuboid_overlap.in_space,
}
# IoU that a class needs, of KITTI.
OVERLAPS: Mapping[str, float] = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}


class _Image(NamedTuple):
  """Of an image, for one class, difficulty and view.

  Attributes:
    overlap: of each truth that counts with each answer.
    care: whether a truth must be found.
    scores: of the answers.
    small: whether an answer is too small to be right or wrong.
    excused: whether an answer lies where nobody labelled.
  """

  overlap: Float[np.ndarray, "n m"]
  care: Bool[np.ndarray, " n"]
  scores: Float[np.ndarray, " m"]
  small: Bool[np.ndarray, " m"]
  excused: Bool[np.ndarray, " m"]


def average_precision(
  truth: Sequence[Cuboids],
  found: Sequence[Cuboids],
  kind: str,
  difficulty: Difficulty,
  view: str,
  least: float,
) -> float:
  """AP|R40, 0..1; nan if there is nothing to be found.

  Args:
    truth: objects of each image, with its areas "DontCare".
    found: answers for the same images, with scores.
    kind: the class, such as "Car".
    difficulty: what must be found.
    view: of `VIEWS`.
    least: IoU above which an answer is right.
  """
  images = [
    _image(*pair, kind, difficulty, view, least)
    for pair in zip(truth, found, strict=True)
  ]
  total = sum(int(image.care.sum()) for image in images)
  if not total:
    return float("nan")
  scores = np.concatenate([_right_scores(x, least) for x in images])
  thresholds = _thresholds(scores, total)
  precision = np.zeros(_RECALLS + 1)
  for i, threshold in enumerate(thresholds):
    counts = np.sum([_counts(x, least, threshold) for x in images], axis=0)
    right, wrong = counts
    precision[i] = right / max(right + wrong, 1)
  # The best precision at this recall or more.
  best = np.maximum.accumulate(precision[::-1])[::-1]
  return float(best[1:].mean())


def table(
  truth: Sequence[Cuboids],
  found: Sequence[Cuboids],
  overlaps: Mapping[str, float] = OVERLAPS,
  difficulties: Sequence[Difficulty] = DIFFICULTIES,
) -> dict[tuple[str, str, str], float]:
  """(view, class, name of the difficulty) -> AP|R40; see above.

  Args:
    truth, found: objects of each image.
    overlaps: class -> IoU that it needs.
    difficulties: what must be found.
  """
  return {
    (view, kind, rule.name): average_precision(
      truth, found, kind, rule, view, least
    )
    for view in VIEWS
    for kind, least in overlaps.items()
    for rule in difficulties
  }


def _image(
  truth: Cuboids,
  found: Cuboids,
  kind: str,
  rule: Difficulty,
  view: str,
  least: float,
) -> _Image:
  names = np.array([name.lower() for name in truth.kinds], object)
  own = names == kind.lower()
  similar = names == _SIMILAR.get(kind.lower(), "")
  hard = (truth.boxes[:, 3] - truth.boxes[:, 1]) <= rule.height
  hard |= truth.occluded > rule.occluded
  hard |= truth.truncated > rule.truncated
  answers = found.chosen([n.lower() == kind.lower() for n in found.kinds])
  there = own | similar
  excused = np.zeros(answers.number, bool)
  areas = truth.boxes[names == _DONT_CARE]
  if view == "2d" and len(areas):
    inside = cuboid_overlap.of_boxes(answers.boxes, areas, of_first=True)
    excused = inside.max(axis=1) > least
  return _Image(
    overlap=VIEWS[view](truth.chosen(there), answers),
    care=(own & ~hard)[there],
    scores=answers.scores,
    small=answers.boxes[:, 3] - answers.boxes[:, 1] < rule.height,
    excused=excused,
  )


# Called for each image and score: plain types are checked in no time.
def _right_scores(image: _Image, least: float) -> np.ndarray:
  """Scores of right answers: each truth takes the surest that fits it."""
  taken = np.zeros(len(image.scores), bool)
  scores = []
  for overlap, care in zip(image.overlap, image.care, strict=True):
    fits = (overlap > least) & ~taken
    if not fits.any():
      continue
    best = int(np.argmax(np.where(fits, image.scores, -np.inf)))
    taken[best] = True
    if care and not image.small[best]:
      scores.append(image.scores[best])
  return np.array(scores)


def _thresholds(
  scores: Float[np.ndarray, " k"], total: int
) -> Float[np.ndarray, " t"]:
  """Scores at which recall passes 0, 1/40 to 1, the nearest there are."""
  ordered = np.sort(scores)[::-1]
  found, recall = [], 0.0
  for i, score in enumerate(ordered):
    last = i == len(ordered) - 1
    here, after = (i + 1) / total, (i + 1 + (not last)) / total
    if not last and after - recall < recall - here:
      continue
    found.append(score)
    recall += 1 / _RECALLS
  return np.array(found[: _RECALLS + 1])


def _counts(image: _Image, least: float, threshold: float) -> np.ndarray:
  """Right and wrong answers of at least this score.

  A truth takes the answer that overlaps it most; one that is too small only if
  there is no other.
  """
  sure = image.scores >= threshold
  taken = np.zeros(len(image.scores), bool)
  right = 0
  for overlap, care in zip(image.overlap, image.care, strict=True):
    fits = (overlap > least) & sure & ~taken
    large = fits & ~image.small
    if large.any():
      best = int(np.argmax(np.where(large, overlap, -1)))
      right += bool(care)
    elif fits.any():
      best = int(np.argmax(fits))
    else:
      continue
    taken[best] = True
  wrong = sure & ~taken & ~image.small & ~image.excused
  return np.array([right, int(wrong.sum())])

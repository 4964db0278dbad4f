"""Inspections: explanations of anomalies as plain data, which `report` writes.

An inspection says what the score of an image is, where it is highest, and which
characteristics carry it. It is for methods that give an anomaly map.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.datasets.collection import NORMAL
from protojax.metrics import ranking
from protojax.types import Box, Picture

# Images of each verdict that get pictures, and mistakes of each kind.
WORST = 20
MISTAKES = 20
# A smaller anomaly (a cosine distance) is only a rounding of float32.
_ROUNDING = 1e-6


class Threshold(NamedTuple):
  """The score above which an image is called defective.

  Attributes:
    value: the score.
    rate: largest share of normal images that is expected above it.
    images: number of normal images that it was chosen on.
  """

  value: float
  rate: float
  images: int


@dataclasses.dataclass(frozen=True)
class Original:
  """What an inspection says, in pixels of the image at its own size.

  Attributes:
    shape: height and width of the image.
    seen: what the network sees of it.
    worst: around the worst region, as `Inspection.worst`.
    hidden: share of the marked defect that the network does not see; None
      where no defect is marked.
  """

  shape: tuple[int, int]
  seen: Box
  worst: Box | None = None
  hidden: float | None = None

  @property
  def whole(self) -> bool:
    """Whether the network sees all of the image."""
    return self.seen == (0, 0, *self.shape)


@dataclasses.dataclass(frozen=True)
class Intrinsic:
  """A normal prototype that was made from the image itself.

  Attributes:
    number: from 1 on.
    share: of the image's cells that are nearest to this prototype.
    distance: mean distance of those cells to it; nan if there are none.
    patches: boxes of the most similar patches of the image, the most similar
      first.
  """

  number: int
  share: float
  distance: float = math.nan
  patches: tuple[Box, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inspection:
  """The score of an image, where it is highest, and why.

  Boxes are in pixels of the network's input, `size` x `size`.

  Attributes:
    image: its name.
    index: its position in the source.
    split: "test", ..., or "images" for images without labels.
    category: what it shows, such as "bottle"; empty if there is only one.
    kind: "normal" or the kind of its defect; None where unknown.
    score: of the image.
    threshold: that the score is compared with.
    because: modification -> phi, the fall of the anomaly at the worst cell when
      the image is changed; the same modifications for all images.
    worst_value: the anomaly at the worst cell, before any change.
    size: side of the network's input.
    worst: around the worst region, if any place is worse than the others.
    prototypes: the image's own, in the order of their numbers.
    picture: the image at the size of the network's input, if it may be shown.
    anomaly_map: on a grid of any size; for shown images, or if all maps are
      stored.
    assignment: number of the nearest prototype of each cell.
    truth: the defective pixels of the picture; None where unknown.
    original: the same places in the image at its own size.
  """

  image: str
  index: int
  split: str
  category: str
  kind: str | None
  score: float
  threshold: Threshold
  because: Mapping[str, float]
  worst_value: float
  size: int
  worst: Box | None = None
  prototypes: tuple[Intrinsic, ...] = ()
  picture: Picture | None = None
  anomaly_map: Float[np.ndarray, "rows columns"] | None = None
  assignment: Int[np.ndarray, "h w"] | None = None
  truth: Bool[np.ndarray, "H W"] | None = None
  original: Original | None = None

  @property
  def defective(self) -> bool:
    """The verdict: whether the score is above the threshold.

    A score that is nan counts as above it.
    """
    return not self.score <= self.threshold.value

  @property
  def wrong(self) -> bool:
    """Whether the kind is known and the verdict is not what it should be."""
    return self.kind is not None and self.defective == (self.kind == NORMAL)

  @property
  def excess(self) -> float:
    """Score minus threshold; orders images with different thresholds.

    Infinite if the score is nan.
    """
    if math.isnan(self.score):
      return math.inf
    return self.score - self.threshold.value

  @property
  def shares(self) -> dict[str, float]:
    """modification -> its share in the anomaly of the worst place.

    Empty if there is no anomaly.
    """
    if not self.worst_value > _ROUNDING:
      return {}
    return {name: phi / self.worst_value for name, phi in self.because.items()}

  @property
  def ratio(self) -> float:
    """Width over height of what the picture shows, in the image itself."""
    if self.original is None:
      return 1.0
    top, left, bottom, right = self.original.seen
    return (right - left) / (bottom - top)

  @property
  def met(self) -> bool | None:
    """Whether the box of the worst place holds some of the true defect.

    None if either is unknown, or nothing is marked.
    """
    if self.worst is None or self.truth is None or not self.truth.any():
      return None
    top, left, bottom, right = self.worst
    return bool(self.truth[top:bottom, left:right].any())


class Tally(NamedTuple):
  """Counts over some inspections.

  Attributes:
    images: number of inspections.
    found: called defective.
    normal: known to be normal.
    defective: known to be defective.
    false_alarms: normal ones called defective.
    missed: defective ones called normal.
    auroc: of the scores above their thresholds; nan if one kind is missing.
  """

  images: int
  found: int
  normal: int
  defective: int
  false_alarms: int
  missed: int
  auroc: float


def tally(inspections: Iterable[Inspection]) -> Tally:
  """Counts verdicts and labels."""
  inspections = list(inspections)
  known = [e for e in inspections if e.kind is not None]
  normal = sum(e.kind == NORMAL for e in known)
  return Tally(
    images=len(inspections),
    found=sum(e.defective for e in inspections),
    normal=normal,
    defective=len(known) - normal,
    false_alarms=sum(e.wrong and e.defective for e in known),
    missed=sum(e.wrong and not e.defective for e in known),
    auroc=ranking.auroc(
      np.array([e.kind != NORMAL for e in known], bool),
      np.array([e.excess for e in known], float),
    ),
  )


def grouped(
  inspections: Iterable[Inspection], by: str
) -> dict[str, list[Inspection]]:
  """Inspections by their "category" or their "kind", the names in order.

  Normal ones come first; those of unknown name are left out.
  """
  groups: dict[str, list[Inspection]] = {}
  for e in inspections:
    name = getattr(e, by)
    if name:
      groups.setdefault(name, []).append(e)
  names = sorted(groups, key=lambda name: (name != NORMAL, name))
  return {name: groups[name] for name in names}


def worst_first(inspections: Iterable[Inspection]) -> list[Inspection]:
  """Inspections by how far they are above their threshold."""
  return sorted(inspections, key=lambda e: (-e.excess, e.split, e.index))


def to_show(inspections: Sequence[Inspection]) -> set[int]:
  """Positions of the inspections whose pictures are shown.

  They are the worst of each verdict, the false alarms with the highest scores
  and the missed defects with the lowest. An inspection that is not among them
  will not be when more inspections come, so its pictures can be dropped.
  """
  found = [i for i, e in enumerate(inspections) if e.defective]
  passed = [i for i, e in enumerate(inspections) if not e.defective]
  chosen = set()
  for verdict in (found, passed):
    verdict.sort(key=lambda i: -inspections[i].excess)
    chosen.update(verdict[:WORST])
  alarms = [i for i in found if inspections[i].wrong]
  missed = [i for i in passed if inspections[i].wrong]
  return chosen.union(alarms[:MISTAKES], missed[-MISTAKES:])


def mean_because(
  inspections: Iterable[Inspection], shares: bool = False
) -> dict[str, float]:
  """modification -> mean phi, or mean share, of those called defective.

  Empty if there is none.
  """
  rows = [e.shares if shares else e.because for e in inspections if e.defective]
  rows = [row for row in rows if row]
  names = rows[0] if rows else ()
  return {name: float(np.mean([r[name] for r in rows])) for name in names}

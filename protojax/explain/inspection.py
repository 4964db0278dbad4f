"""Inspections as plain data: what `inspection_text` and the page are made of.

An inspection says how odd an image is, where it is oddest and which of its
characteristics carries that, for methods whose answer is an anomaly map.
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
# Of an anomaly, a cosine distance: no more than float32 makes of nothing.
_ROUNDING = 1e-6


class Threshold(NamedTuple):
  """From which score on an image is called defective.

  Attributes:
    value: an image is defective when its score is above it.
    rate: the share of normal images that are expected above it, at most.
    images: how many normal images it was chosen on.
  """

  value: float
  rate: float
  images: int


@dataclasses.dataclass(frozen=True)
class Intrinsic:
  """A normal prototype that an image brought itself.

  Attributes:
    number: from 1 on.
    share: of the image's cells, those that are nearest to this prototype.
    distance: mean distance of those cells to it; nan if there are none.
    patches: of the same image, those most like it, the most alike first.
  """

  number: int
  share: float
  distance: float = math.nan
  patches: tuple[Box, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inspection:
  """How odd an image is, where, and why.

  Boxes are in pixels of the network's input, `size` x `size`.

  Attributes:
    image: its name.
    index: its position in the source.
    split: "test", ..., or "images" for images without labels.
    category: what it shows, such as "bottle"; empty where there is only one.
    kind: "normal" or the kind of its defect; None where unknown.
    score: of the image.
    threshold: that the score is held against.
    because: modification -> phi, by how much the anomaly at the worst cell
      falls when the image is changed; the same modifications for all images.
    worst_value: the anomaly at the worst cell, before any change.
    size: side of the network's input.
    worst: around the worst region, if any place is worse than the others.
    prototypes: the image's own, in the order of their numbers.
    picture: the image at the size of the network's input, if it may be shown.
    anomaly_map: by pixel, on a grid of any size; for shown images, and where
      all maps are kept.
    assignment: of each cell the number of its nearest prototype.
    truth: the defective pixels of the picture; None where unknown.
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

  @property
  def defective(self) -> bool:
    """The verdict: whether the score is above the threshold.

    An image whose score is not a number has not been found normal.
    """
    return not self.score <= self.threshold.value

  @property
  def wrong(self) -> bool:
    """Whether the kind is known and the verdict is not what it should be."""
    return self.kind is not None and self.defective == (self.kind == NORMAL)

  @property
  def excess(self) -> float:
    """The score above the threshold; orders images of several thresholds.

    Infinite if the score is not a number.
    """
    if math.isnan(self.score):
      return math.inf
    return self.score - self.threshold.value

  @property
  def shares(self) -> dict[str, float]:
    """modification -> the share of the worst place's anomaly that it carries.

    Empty where there is no anomaly to share out.
    """
    if not self.worst_value > _ROUNDING:
      return {}
    return {name: phi / self.worst_value for name, phi in self.because.items()}

  @property
  def met(self) -> bool | None:
    """Whether the box of the worst place holds some of the true defect.

    None where either is unknown, or nothing is marked.
    """
    if self.worst is None or self.truth is None or not self.truth.any():
      return None
    top, left, bottom, right = self.worst
    return bool(self.truth[top:bottom, left:right].any())


class Tally(NamedTuple):
  """What a number of inspections add up to.

  Attributes:
    images: how many.
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
  """Positions of those whose pictures are worth the room.

  The worst of each verdict, the false alarms of the highest and the missed
  defects of the lowest scores. One that is not among them stays out whatever
  comes after, so that its pictures need not be kept.
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

  Empty where there is none.
  """
  rows = [e.shares if shares else e.because for e in inspections if e.defective]
  rows = [row for row in rows if row]
  names = rows[0] if rows else ()
  return {name: float(np.mean([r[name] for r in rows])) for name in names}

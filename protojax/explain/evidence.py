"""Explanations as plain data: what `text`, `tables` and `html` put into form.

A local explanation says why an image got its class, a global one what a
prototype stands for. Numbers come from `sweep`, pictures from `similarity_map`.
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.explain.redundancy import Group
from protojax.explain.totals import Scores
from protojax.prototypes.groups import CLASS, Note
from protojax.types import Box, Picture

Crop = UInt8[np.ndarray, "side side 3"]


class PictureFile(NamedTuple):
  """A picture that has become a file; see `pictures`.

  Attributes:
    path: of the file, from the folder of the pages that show it.
    side: height and width in pixels.
    size: of the file, in bytes.
  """

  path: str
  side: int
  size: int


PictureOrFile = Picture | PictureFile


@dataclasses.dataclass(frozen=True)
class Evidence:
  """One row of a scoring sheet: this patch looks like that prototype.

  Attributes:
    prototype: its number.
    group: what it stands for: a class or, where prototypes have none, what
      else they are sorted under.
    similarity: g, at the nearest cell.
    score: what the head weighs; as a rule the similarity.
    weight: of the head, from the prototype to the predicted class.
    points: score times weight.
    runner_up_weight: from the prototype to the class that came second.
    cell: the nearest cell, row-major.
    because: modification -> phi_local, the loss of similarity without it.
    box: around the highest 5 % of the similarity map; shown images only.
    field: what the cell can see of the image; shown images only.
    heat: the image under its similarity map; shown images only.
    crop: what the box frames, small; to be compared with the prototype's.
    misleading: whether the two patches look alike to the model by what looks
      different to the eye (see `misleading`); None where that was not asked.
  """

  prototype: int
  group: str
  similarity: float
  score: float
  weight: float
  points: float
  runner_up_weight: float
  cell: int
  because: Mapping[str, float]
  box: Box | None = None
  field: Box | None = None
  heat: PictureOrFile | None = None
  crop: Crop | None = None
  misleading: bool | None = None


class Answer(NamedTuple):
  """A class and what the model gave it; its bias is in the logit."""

  class_name: str
  logit: float
  probability: float
  bias: float = 0.0


@dataclasses.dataclass(frozen=True)
class AllScores:
  """Scores of an image for every prototype, dead ones too.

  Attributes:
    similarity: g.
    cell: the nearest cell, row-major.
    delta: phi_local.
  """

  similarity: Float[np.ndarray, " p"]
  cell: Int[np.ndarray, " p"]
  delta: Float[np.ndarray, "m p"]


@dataclasses.dataclass(frozen=True)
class LocalExplanation:
  """Why an image got its class.

  Attributes:
    image: its name.
    index: its position in the source.
    split: "train", "test", or "images" for images without labels.
    label: its true class; None where unknown.
    answers: classes by falling logit: the predicted one, the runner-up, ...
    evidence: the most similar prototypes, the most similar first.
    others: how many further prototypes have points too.
    picture: the image at the size of the network's input; shown images only.
    all_scores: all scores, if they were asked for.
  """

  image: str
  index: int
  split: str
  label: str | None
  answers: tuple[Answer, ...]
  evidence: tuple[Evidence, ...]
  others: int
  picture: PictureOrFile | None = None
  all_scores: AllScores | None = None

  @property
  def predicted(self) -> Answer:
    """The class of the largest logit."""
    return self.answers[0]

  @property
  def wrong(self) -> bool:
    """Whether the label is known and another class was predicted."""
    return self.label not in (None, self.predicted.class_name)

  @property
  def other_points(self) -> float:
    """Points of the prototypes that have no row; all sum to logit - bias."""
    best = self.predicted
    return best.logit - best.bias - sum(row.points for row in self.evidence)


@dataclasses.dataclass(frozen=True)
class Patch:
  """The piece of a training image that a prototype is.

  Attributes:
    image: name of the image.
    index: its position in the training source.
    cell: the cell in the grid of the feature map, row-major.
    box: around the highest 5 % of the prototype's similarity map.
    field: what the cell can see of the image.
    picture: the image at the size of the network's input, where it is shown.
    heat: the image under the similarity map, where it is shown.
    piece: the box alone, small, with something around it; where it is shown.
    crop: what the box frames, small; to be compared with those of images.
  """

  image: str
  index: int
  cell: int
  box: Box
  field: Box
  picture: PictureOrFile | None = None
  heat: PictureOrFile | None = None
  piece: PictureOrFile | None = None
  crop: Crop | None = None


class Interval(NamedTuple):
  """Where a score lies with 95 % confidence, over other draws of images."""

  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class GlobalScores:
  """Global scores of one prototype over one set of images.

  Attributes:
    scores: modification -> phi_global.
    similarity: the weighted mean of g.
    images: how many images.
    intervals: modification -> where its score lies; empty if not asked for.
    relative: modification -> weighted mean of phi_local / g.
    distance: modification -> weighted mean of the growth of the distance.
  """

  scores: Mapping[str, float]
  similarity: float
  images: int
  intervals: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
  relative: Mapping[str, float] = dataclasses.field(default_factory=dict)
  distance: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Neighbour:
  """An image with one of the patches nearest to a prototype.

  Attributes:
    image: its name.
    index: its position in its split.
    label: its class; None where unknown.
    similarity: g, at its nearest cell.
    cell: that cell, row-major.
    because: modification -> phi_local.
    box: around the highest 5 % of the similarity map, where it is shown.
    picture: the image, where it is shown.
    crop: what the box frames, small, where it is shown.
    misleading: as of `Evidence`.
  """

  image: str
  index: int
  label: str | None
  similarity: float
  cell: int
  because: Mapping[str, float] = dataclasses.field(default_factory=dict)
  box: Box | None = None
  picture: PictureOrFile | None = None
  crop: Crop | None = None
  misleading: bool | None = None


class Histogram(NamedTuple):
  """How often scores were how large.

  Attributes:
    edges: n + 1 of them, rising; what lies outside is in the first or last.
    counts: n of them.
  """

  edges: Float[np.ndarray, " edges"]
  counts: Int[np.ndarray, " bins"]


@dataclasses.dataclass(frozen=True)
class Sample:
  """An image beside its changed versions.

  Attributes:
    image: its name.
    pictures: modification -> the changed image; "identity" is the image.
  """

  image: str
  pictures: Mapping[str, PictureOrFile]


@dataclasses.dataclass(frozen=True)
class Redundancy:
  """Prototypes that say the same, and what the model is without them.

  Attributes:
    groups: of which one prototype each is enough.
    accuracy: of the model as it is, on its test images.
    merged_accuracy: once every group is one prototype with the weights of all.
  """

  groups: tuple[Group, ...]
  accuracy: float
  merged_accuracy: float


@dataclasses.dataclass(frozen=True)
class Overview:
  """What the images of a split say as a whole.

  Attributes:
    split: "train" or "test".
    images: how many.
    modifications: names of the axis m.
    alive: whether pruning has left each prototype.
    scores: over every image.
    without_own: with every prototype's own source image left out, if the
      split holds it.
    local: modification -> histogram of phi_local of living prototypes.
    samples: a few images, to see what the changes look like.
    redundancy: of the prototypes; None if it was not looked for.
    alerts: sentences on what is not as it should be; see `sanity`.
  """

  split: str
  images: int
  modifications: tuple[str, ...]
  alive: Bool[np.ndarray, " p"]
  scores: Scores
  without_own: Scores | None
  local: Mapping[str, Histogram]
  samples: tuple[Sample, ...] = ()
  redundancy: Redundancy | None = None
  alerts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class GlobalExplanation:
  """What a prototype stands for.

  Attributes:
    prototype: its number.
    group: its class or, where prototypes have none, what else they are sorted
      under.
    alive: whether pruning has left it.
    weight: of the head, from the prototype to its class or, where it has none,
      to the class it speaks most for.
    duplicate_of: the first prototype alive that is the same patch, if any.
    patch: where it was taken from; None before a push.
    because: split -> scores over that split.
    without_own: the same with the prototype's own source image left out;
      only for splits that hold it.
    nearest: split -> the images with the nearest patches, the nearest first.
    redundant_with: living prototypes that say nearly the same, this one left
      out; see `redundancy`.
    stale: whether it is no longer the patch it was pushed to.
    kind: what a group is; see `Groups`.
    speaks_for: the class that `weight` is for.
    notes: what else its method says of it, by name.
  """

  prototype: int
  group: str
  alive: bool
  weight: float
  duplicate_of: int | None
  patch: Patch | None
  because: Mapping[str, GlobalScores]
  without_own: Mapping[str, GlobalScores]
  nearest: Mapping[str, tuple[Neighbour, ...]] = dataclasses.field(
    default_factory=dict
  )
  redundant_with: tuple[int, ...] = ()
  stale: bool = False
  kind: str = CLASS
  speaks_for: str = ""
  notes: Mapping[str, Note] = dataclasses.field(default_factory=dict)

  @property
  def misleading(self) -> float | None:
    """Share of its neighbours that look alike for a hidden reason."""
    said = [
      n.misleading
      for neighbours in self.nearest.values()
      for n in neighbours
      if n.misleading is not None
    ]
    return sum(said) / len(said) if said else None


def merge(
  explanations: Iterable[GlobalExplanation],
) -> tuple[GlobalExplanation, ...]:
  """One explanation per prototype, out of those of several splits."""
  merged: dict[int, GlobalExplanation] = {}
  for new in explanations:
    old = merged.get(new.prototype)
    if old is not None:
      new = dataclasses.replace(
        new,
        patch=_better(old.patch, new.patch),
        because={**old.because, **new.because},
        without_own={**old.without_own, **new.without_own},
        nearest={**old.nearest, **new.nearest},
        redundant_with=old.redundant_with or new.redundant_with,
      )
    merged[new.prototype] = new
  return tuple(merged[i] for i in sorted(merged))


def _better(old: Patch | None, new: Patch | None) -> Patch | None:
  """The patch that has its pictures, or the one there is."""
  if old is None or (new is not None and old.picture is None):
    return new
  return old

"""Evidence: explanations of classes as plain data, which `report` writes.

A local explanation says why an image got its class, a global one what a
prototype stands for. Numbers come from `sweep`, pictures from `HeatMaps`.
"""

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.explain.picture_file import PictureOrFile
from protojax.explain.redundancy import Group
from protojax.explain.totals import Scores
from protojax.prototypes.groups import CLASS, Note
from protojax.types import Box

Crop = UInt8[np.ndarray, "side side 3"]


@dataclasses.dataclass(frozen=True)
class Evidence:
  """One row of a scoring sheet: this patch looks like that prototype.

  Attributes:
    prototype: its number.
    group: its class or, if it has none, its group; see `Groups`.
    similarity: g, at the nearest cell.
    score: the factor that the head multiplies by the weight; usually the
      similarity.
    weight: of the head, from the prototype to the predicted class.
    points: score times weight.
    runner_up_weight: weight from the prototype to the class that came second.
    cell: the nearest cell, row-major.
    because: modification -> phi_local, the loss of similarity without it.
    box: around the highest 5 % of the similarity map; shown images only.
    field: receptive field of the cell; shown images only.
    heat: the image under its similarity map; shown images only.
    crop: content of the box, small; compared with the prototype's crop.
    piece: the box and its surroundings, small; shown images only.
    misleading: whether the patches are alike to the model for a reason that
      looks different to the eye (see `misleading`); None if unknown.
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
  piece: PictureOrFile | None = None
  misleading: bool | None = None


@dataclasses.dataclass(frozen=True)
class ExplainedRun:
  """The run that the other evidence is of.

  Attributes:
    title: of the run.
    version: of protojax.
    accuracy: name of a figure -> 0 to 1, as measured by the run.
    strengths: parameters of the modifications, by name.
  """

  title: str
  version: str
  accuracy: Mapping[str, float]
  strengths: Mapping[str, str]


class Answer(NamedTuple):
  """A class with its logit, which includes the bias, and its probability."""

  class_name: str
  logit: float
  probability: float
  bias: float = 0.0


@dataclasses.dataclass(frozen=True)
class AllScores:
  """Scores of an image for every prototype, including dead ones.

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
    evidence: the prototypes with most points, positive or negative, that carry
      the answer; those with most points first.
    others: number of living prototypes without a row.
    silent: how many of these have no points, to two decimals.
    best: the largest similarity of any living prototype; None if unknown.
    familiarity: percentile of `best` among images that the model knows, see
      `familiarity`; None if unknown.
    unfamiliar: what is said of an image unlike those; '' of others.
    picture: the image at the size of the network's input; shown images only.
    ratio: width over height of what the picture shows in the image itself.
    all_scores: scores for all prototypes, if they were asked for.
  """

  image: str
  index: int
  split: str
  label: str | None
  answers: tuple[Answer, ...]
  evidence: tuple[Evidence, ...]
  others: int
  silent: int = 0
  best: float | None = None
  familiarity: float | None = None
  unfamiliar: str = ""
  picture: PictureOrFile | None = None
  ratio: float = 1.0
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
    """Points of prototypes without a row; all points sum to logit - bias."""
    best = self.predicted
    return best.logit - best.bias - sum(row.points for row in self.evidence)


@dataclasses.dataclass(frozen=True)
class Patch:
  """The patch of a training image that a prototype was pushed to.

  Attributes:
    image: name of the image.
    index: its position in the training source.
    cell: the cell in the grid of the feature map, row-major.
    box: around the highest 5 % of the prototype's similarity map.
    field: receptive field of the cell.
    picture: the image at the size of the network's input, if it is shown.
    heat: the image under the similarity map, if it is shown.
    piece: the box and its surroundings, small, if it is shown.
    crop: content of the box, small; compared with the crops of images.
    original_box: the box in pixels of the image before it was resized for the
      network.
    ratio: see `LocalExplanation`.
    on_object: share of the box on what the data mark as an object; None where
      nothing is marked.
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
  original_box: Box | None = None
  ratio: float = 1.0
  on_object: float | None = None


class Interval(NamedTuple):
  """The 95 % confidence interval of a score, over other draws of images."""

  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class GlobalScores:
  """Global scores of one prototype over one set of images.

  Attributes:
    scores: modification -> phi_global.
    similarity: the weighted mean of g.
    images: number of images.
    intervals: modification -> interval of its score; may be empty.
    relative: modification -> weighted mean of phi_local / g.
    distance: modification -> weighted mean of the growth of the distance.
  """

  scores: Mapping[str, float]
  similarity: float
  images: int
  intervals: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
  relative: Mapping[str, float] = dataclasses.field(default_factory=dict)
  distance: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Standing(NamedTuple):
  """Where a score stands among those of the other prototypes.

  Attributes:
    percentile: of them, how many percent have a smaller score.
    low: the same for the lower end of the score's interval.
    high: the same for the upper end.
  """

  percentile: float
  low: float
  high: float


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
    box: around the highest 5 % of the similarity map, if it is shown.
    picture: the image, if it is shown.
    crop: content of the box, small, if it is shown.
    ratio: see `LocalExplanation`.
    misleading: see `Evidence`.
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
  ratio: float = 1.0
  misleading: bool | None = None


class Histogram(NamedTuple):
  """Counts of scores by bin.

  Attributes:
    edges: n + 1 edges, ascending; scores outside are in the first or last bin.
    counts: n counts.
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
  """Groups of redundant prototypes, and the accuracy without them.

  Attributes:
    groups: prototypes of which one is enough.
    accuracy: of the model on its test images.
    merged_accuracy: the same with one prototype for each group, which has the
      weights of all.
  """

  groups: tuple[Group, ...]
  accuracy: float
  merged_accuracy: float


@dataclasses.dataclass(frozen=True)
class Overview:
  """Scores and checks over all images of a split.

  Attributes:
    split: "train" or "test".
    images: number of images.
    modifications: names of the axis m.
    alive: whether each prototype is alive, that is not pruned.
    scores: over every image.
    without_own: the same without the image that each prototype was pushed to;
      None if the split does not hold these images.
    local: modification -> histogram of phi_local of living prototypes.
    samples: a few images beside their changed versions.
    redundancy: of the prototypes; None if not computed.
    alerts: sentences on failed checks; see `sanity`.
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
    group: its class or, if it has none, its group; see `Groups`.
    alive: whether it is alive, that is not pruned.
    weight: of the head, from the prototype to the class `speaks_for`.
    duplicate_of: the first living prototype with the same patch, if any.
    patch: the patch it was pushed to; None before a push.
    because: split -> scores over that split.
    without_own: the same without the image it was pushed to; only for splits
      that hold this image.
    nearest: split -> the images with the nearest patches, the nearest first.
    redundant_with: the other prototypes of its group; see `redundancy`.
    stale: whether it has changed since it was pushed to its patch.
    kind: of the group; see `Groups`.
    speaks_for: its class or, if it has none, the class of its largest weight.
    notes: of its method, by name.
    standings: characteristic -> where its score stands; see `standings`.
    stands_out: the characteristic that is unusual; "" if nothing stands out.
    usual: the characteristic that costs most for most prototypes; "" if none.
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
  standings: Mapping[str, Standing] = dataclasses.field(default_factory=dict)
  stands_out: str = ""
  usual: str = ""

  @property
  def misleading(self) -> float | None:
    """Share of its neighbours that are misleading; None if unknown."""
    known = [
      n.misleading
      for neighbours in self.nearest.values()
      for n in neighbours
      if n.misleading is not None
    ]
    return sum(known) / len(known) if known else None

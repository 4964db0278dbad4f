"""A request for explanations: what to explain, and how much of it to show."""

from collections.abc import Callable
import dataclasses

from protojax.explain.familiarity import Familiarity
from protojax.modify import presets
from protojax.modify.presets import Preset

# Rows of a scoring sheet.
MOST_ROWS = 15


def _ignored(images: int) -> None:
  """Reports no progress."""


@dataclasses.dataclass(frozen=True)
class Request:
  """What `explain` of a method is asked for.

  Attributes:
    split: of the images; "train" means that the prototypes were pushed to them.
    scope: "local" (images), "global" (prototypes) or "both".
    preset: what to modify, and how to score it.
    heat: what heat maps show, one of `maps.ATTRIBUTIONS`.
    limit: use at most so many images, evenly over the stream; None: all.
    top: most prototypes listed for each image.
    keep_all: list the scores of all prototypes, too.
    shown: images of each class that get pictures; some images with a wrong
      class are added.
    shown_unlabelled: images without a label that get pictures.
    rows_shown: prototypes with a heat map for each such image.
    prototypes_shown: how many prototypes get pictures.
    nearest: images listed for each prototype.
    provenance: give the patches that prototypes were pushed to; once is enough
      for several splits.
    allow_changed: explain even if the images of the prototypes have changed.
    known: the images that the model knows, to say how familiar others are; of
      explanations in blocks.
    progress: called with the number of images of each batch that is done.
  """

  split: str = "test"
  scope: str = "both"
  preset: Preset = presets.DEFAULT
  heat: str = "upsampling"
  limit: int | None = None
  top: int = MOST_ROWS
  keep_all: bool = False
  shown: int = 2
  shown_unlabelled: int = 48
  rows_shown: int = 5
  prototypes_shown: int = 2000
  nearest: int = 5
  provenance: bool = True
  allow_changed: bool = False
  known: Familiarity | None = None
  progress: Callable[[int], None] = _ignored

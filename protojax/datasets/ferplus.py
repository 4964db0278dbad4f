"""FERPlus as arrays: `DIR/<split>.npz` with "images" and "labels".

Images are grey uint8 [n 48 48], or [n H W 3]. Labels are the numbers of
`DIR/class_map_ferplus.json`, or of the file that --config.data.class_map names;
without one, they are in FERPlus's own order: neutral, happiness, surprise,
sadness, anger, disgust, fear, contempt.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.datasets import array_file, emotions
from protojax.types import UserError

FOLDERS = True
PUBLISHED = {"classes": 8, "train": 28_386, "test": 3_546}
_MAP = "class_map_ferplus.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
  """Images in memory; see `source.Source`."""

  title: str
  images: UInt8[np.ndarray, "n H W c"]
  labels: Int32[np.ndarray, "n"]

  class_names: ClassVar[tuple[str, ...]] = emotions.NAMES
  anchors: ClassVar[Mapping[str, tuple[float, float]]] = emotions.ANCHORS
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: int) -> dict:
    image = np.broadcast_to(self.images[i], (*self.images.shape[1:3], 3))
    return {
      "image": np.ascontiguousarray(image),
      "label": int(self.labels[i]),
      "name": self.name(i),
    }

  def name(self, i: int) -> str:
    """File and number."""
    return f"{self.title} {int(i):05d}"


def load(data: Any, split: str, seed: int) -> Faces:
  """Opens `DIR/<split>.npz` for the split that a config names.

  Raises:
    UserError: it is not there, or not as the module says.
  """
  del seed
  if not data.root:
    raise UserError(
      "no folder of FERPlus given: set --config.data.root=DIR, with"
      f" {data.train}.npz and {data.test}.npz"
    )
  root, name = Path(data.root).expanduser(), data[split]
  path = root / (name if name.endswith(".npz") else f"{name}.npz")
  images, labels = _arrays(path)
  given = data.get("class_map", "")
  own = root / _MAP
  numbers = emotions.class_map(given or (str(own) if own.exists() else ""))
  found = {
    int(n): emotions.by_map(int(n), numbers, str(path))
    for n in np.unique(labels)
  }
  return Faces(
    path.stem, images, np.array([found[int(n)] for n in labels], np.int32)
  )


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
  found = array_file.read_named(path, "images", "labels")
  images, labels = found["images"], found["labels"]
  if images.ndim == 3:
    images = images[..., None]
  good = images.ndim == 4 and images.shape[-1] in (1, 3)
  if not good or images.dtype != np.uint8:
    raise UserError(
      f"images of {path} are {images.dtype} of shape {found['images'].shape};"
      " expected uint8 [n H W], [n H W 1] or [n H W 3]"
    )
  if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
    raise UserError(
      f"labels of {path} are {labels.dtype} of shape {labels.shape}; expected"
      f" whole numbers of shape ({len(images)},)"
    )
  return images, labels

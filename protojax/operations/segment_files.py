"""Segments of predictions, in the files of COCO-panoptic: PNGs and a JSON.

A pixel's colour is the number of its segment, red + 256 green + 65,536 blue;
black is void. `datasets.panoptic_folder` reads them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Int
import numpy as np
from PIL import Image

from protojax.writing import json_text, opened, replacing


class Segments:
  """Writes the segments of one image after the other.

  Attributes:
    folder: of the PNGs; the JSON has its name and ".json".
    images: entries of the JSON, as are annotations.
    annotations: the segments of each image.
    things: which classes are objects; None before the first image.
  """

  def __init__(self, folder: Path) -> None:
    self.folder = folder
    self.images: list[dict[str, Any]] = []
    self.annotations: list[dict[str, Any]] = []
    self.things: np.ndarray | None = None

  def add(
    self,
    stem: str,
    name: str,
    plane: Int[np.ndarray, "H W"],
    row: Mapping[str, np.ndarray],
  ) -> None:
    """Writes the PNG of an image.

    Args:
      stem: of the PNG.
      name: of the image's file.
      plane: number of each pixel's segment, 0 for void, at the image's size.
      row: of `predict`: "kinds" and "scores" of the segments, of which number n
        is n - 1, and "things" of the classes.
    """
    self.folder.mkdir(parents=True, exist_ok=True)
    self.things = row["things"]
    shifts = np.array([0, 8, 16])
    colours = (plane[..., None] >> shifts) % 256
    file_name = f"{stem}.png"
    picture = Image.fromarray(colours.astype(np.uint8))
    save(self.folder / file_name, picture)
    number, (height, width) = len(self.images), plane.shape
    self.images.append(
      {"id": number, "file_name": name, "height": height, "width": width}
    )
    found = [_info(plane, int(n), row) for n in np.unique(plane) if n]
    self.annotations.append(
      {"image_id": number, "file_name": file_name, "segments_info": found}
    )

  def finish(self, names: Sequence[str]) -> None:
    """Writes the JSON, if there is any image with segments.

    Args:
      names: of the classes.
    """
    if self.things is None:
      return
    categories = [
      {"id": k, "name": name, "isthing": int(thing)}
      for k, (name, thing) in enumerate(zip(names, self.things, strict=True))
    ]
    content = {
      "categories": categories,
      "images": self.images,
      "annotations": self.annotations,
    }
    with opened(str(self.folder.with_suffix(".json"))) as file:
      file.write(json_text(content) + "\n")


def _info(
  plane: Int[np.ndarray, "H W"], number: int, row: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Entry of a segment; its box is left, top, width and height."""
  inside = plane == number
  y, x = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
  return {
    "id": number,
    "category_id": int(row["kinds"][number - 1]),
    "iscrowd": 0,
    "area": int(inside.sum()),
    "bbox": [
      int(x[0]),
      int(y[0]),
      int(x[-1] - x[0] + 1),
      int(y[-1] - y[0] + 1),
    ],
    "score": float(f"{row['scores'][number - 1]:.8g}"),
  }


def save(path: Path, picture: Any) -> None:
  """Writes a PNG, whole or not at all."""
  with replacing(path, "wb") as file:
    picture.save(file, "PNG")

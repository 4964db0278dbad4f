"""The content of the page: images, answers, and saved interventions.

It knows no HTTP. `server` calls it from several threads, with content from a
browser, which is not trusted. Images are named by their position in the source
alone.
"""

from collections.abc import Mapping
import functools
from pathlib import Path
import threading
from typing import Any

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from protojax.data.source import Source
from protojax.interact import saved as saved_lib
from protojax.interact.answers import Answer, Model
from protojax.interact.atlas_images import Atlas
from protojax.interact.intervention import (
  ALPHA,
  MOST_BOXES,
  Box,
  Intervention,
  mapping,
  parse,
)
from protojax.report import page
from protojax.types import UserError

# The page marks images with a smaller margin of the two most probable classes
# (CSR).
LOW_MARGIN = 0.3
# Longest sides of pictures, in pixels.
LARGE, SMALL = 1600, 96


class Session:
  """One person's work on the images of a source.

  Attributes:
    model: answers to interventions.
    source: the images.
    path: of the file that interventions are saved in.
  """

  template = "interact.html.jinja"

  def __init__(
    self, model: Model, source: Source, path: Path, atlas: Atlas
  ) -> None:
    """Reads the interventions that were saved before.

    Raises:
      UserError: the file holds no interventions.
    """
    self.model, self.source, self.path = model, source, path
    self._atlas = atlas
    self._rows: list[dict[str, Any]] = []
    self._saving = threading.Lock()
    self._saved = self._load()
    self._image = functools.lru_cache(maxsize=8)(self._read)
    self._before = functools.lru_cache(maxsize=64)(self._ask)
    # See `server.Session`.
    self.tables = {"images": self.images, "image": self.opened}
    self.pictures = {
      "picture": self.picture,
      "thumbnail": self.thumbnail,
      "atlas": self.atlas,
    }
    self.posts = {"intervene": self.intervene, "save": self.save}

  def _load(self) -> dict[str, Mapping[str, Any]]:
    """The records of the file, by the name of the image."""
    found = saved_lib.read(self.path) if self.path.exists() else ()
    return {one["image"]: one for one in found}

  def _read(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
    return self.source[index]["image"]

  def _ask(self, index: int) -> Answer:
    return self.model(self._image(index))

  def facts(self) -> dict[str, Any]:
    """The values that do not change while the page is open."""
    intervenes = self.model.intervenes
    return {
      "classes": list(intervenes.class_names),
      "concepts": list(intervenes.concept_names),
      "low_margin": LOW_MARGIN,
      "alpha": ALPHA,
      "most_boxes": MOST_BOXES,
      "atlas": self._atlas.reason,
    }

  def predict_all(self, stop: threading.Event) -> None:
    """Fills the list of images, until `stop` is set."""
    for index in range(len(self.source)):
      if stop.is_set():
        return
      self._rows.append(self._row(index))

  def _row(self, index: int) -> dict[str, Any]:
    """The row of an image in the list."""
    name, names = self.source.name(index), self.model.intervenes.class_names
    try:
      found = self.model(self.source[index]["image"])
    except UserError as error:  # It was removed after the source was opened.
      return {"name": name, "error": str(error)}
    label = int(self.source.labels[index])
    return {
      "name": name,
      "class": names[found.predicted],
      "probability": float(found.probabilities[found.predicted]),
      "margin": found.margin,
      "label": names[label] if label >= 0 else None,
    }

  def images(self, start: int) -> dict[str, Any]:
    """The rows of the list from `start` on that are known so far."""
    rows = [
      {**row, "saved": row["name"] in self._saved} for row in self._rows[start:]
    ]
    return {"total": len(self.source), "rows": rows}

  def picture(self, index: int) -> bytes:
    """An image as JPEG.

    Raises:
      UserError: there is no such image.
    """
    return jpeg(self._image(self._known(index)), LARGE)

  def thumbnail(self, index: int) -> bytes:
    """An image as a small JPEG."""
    return jpeg(self.source[self._known(index)]["image"], SMALL)

  def atlas(self, prototype: int) -> bytes:
    """The image that a prototype was taken from.

    Raises:
      UserError: there is none.
    """
    picture = self._atlas.picture(prototype)
    if picture is None:
      raise UserError(f"nothing to show of prototype {prototype}")
    return jpeg(picture, LARGE)

  def opened(self, index: int) -> dict[str, Any]:
    """An image: its size, the answer to it, and its saved intervention.

    Raises:
      UserError: there is no such image.
    """
    image = self._image(self._known(index))
    height, width, _ = image.shape
    corners = self.model.frame(image).in_image(np.array([[0.0, 0], [1, 1]]))
    return {
      "name": self.source.name(index),
      "height": height,
      "width": width,
      # What the network sees, in shares of the image.
      "seen": dict(zip(Box._fields, corners.ravel().tolist(), strict=True)),
      "answer": self._shown(self._before(index)),
      **self._saved_of(index),
    }

  def _saved_of(self, index: int) -> dict[str, Any]:
    """The saved intervention, or why it does not fit this model."""
    record = self._saved.get(self.source.name(index))
    if record is None:
      return {"saved": None}
    try:
      _, asked = self._parse({**record, "image": index})
    except UserError as error:
      return {"saved": None, "error": f"{self.path}: {error}"}
    return {"saved": asked.as_json()}

  def intervene(self, content: Any) -> dict[str, Any]:
    """The answer to an intervention.

    Args:
      content: JSON: the position of an image as "image", and the keys of
        `parse`.

    Raises:
      UserError: something in it is wrong.
    """
    index, asked = self._parse(content)
    return self._shown(self.model(self._image(index), asked))

  def save(self, content: Any) -> dict[str, Any]:
    """Saves an intervention; an empty one removes that of the image.

    Args:
      content: as for `intervene`.

    Returns:
      "saved", whether the image has a saved one now; "count", of all images.

    Raises:
      UserError: something is wrong, or the file cannot be written.
    """
    index, asked = self._parse(content)
    name, before = self.source.name(index), self._before(index)
    after = self.model(self._image(index), asked)
    record = saved_lib.record(name, asked, before, after, self.model.intervenes)
    with self._saving:
      # Read again: another process may have saved meanwhile.
      saved = self._load()
      saved.pop(name, None)
      if asked.look or asked.ignore or asked.rejected:
        saved[name] = record
      saved_lib.write(self.path, list(saved.values()))
      self._saved = saved
    return {"saved": name in saved, "count": len(saved)}

  @property
  def saved_count(self) -> int:
    """How many interventions the file holds."""
    return len(self._saved)

  def _known(self, index: Any) -> int:
    whole = isinstance(index, int) and not isinstance(index, bool)
    if not whole or not 0 <= index < len(self.source):
      raise UserError(f"there is no image number {index}")
    return index

  def _parse(self, content: Any) -> tuple[int, Intervention]:
    content = mapping(content, "what was sent")
    index = self._known(content.get("image"))
    size = self._image(index).shape[:2]
    names = self.model.intervenes.concept_names
    return index, parse(content, names, size)

  def _shown(self, answer: Answer) -> dict[str, Any]:
    """An answer as the page draws it."""
    found = saved_lib.described(answer, self.model.intervenes)
    # Lists: the browser would sort names that look like numbers.
    return {
      "class": found["class"],
      "probability": found["probability"],
      "margin": found["margin"],
      "probabilities": list(found["probabilities"].values()),
      "concepts": [
        {
          **concept,
          "map": np.round(answer.maps[..., c], 4).tolist(),
          "prototype": int(answer.best[c]),
          "place": self._atlas.place(int(answer.best[c])),
        }
        for c, concept in enumerate(found["concepts"].values())
      ],
    }


def jpeg(image: UInt8[np.ndarray, "H W 3"], side: int) -> bytes:
  """An image as JPEG, its longer side no longer than `side` pixels."""
  picture = Image.fromarray(image)
  picture.thumbnail((side, side))
  return page.jpeg(np.asarray(picture))

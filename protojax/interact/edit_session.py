"""The content of the page of edits: prototypes, answers, and saved runs.

It knows no HTTP. `server` calls it from several threads, with content from a
browser, which is not trusted. Prototypes and images are named by their numbers
alone, and the folder of a saved run is not the browser's to choose.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
import threading
import time
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from protojax import printing
from protojax.interact import edited_run
from protojax.interact import edits as edits_lib
from protojax.interact.atlas_images import Atlas
from protojax.interact.editing import Edited, Editor
from protojax.interact.session import LARGE, SMALL, jpeg
from protojax.shown import shown
from protojax.types import UserError

# Images with another answer that the page gets.
_MOST_CHANGED = 200


class EditSession:
  """One person's edits of a model; see `server.Session`.

  Attributes:
    editor: answers to edits.
    folder: workdir of the run.
    config: of the run.
    save_as: folder of the next run that is saved; empty: one beside `folder`.
    saved: the runs that were saved.
  """

  template = "edit.html.jinja"

  def __init__(
    self,
    editor: Editor,
    folder: Path,
    config: ConfigDict,
    atlas: Atlas,
    save_as: str = "",
  ) -> None:
    """Computes nothing yet."""
    self.editor, self.folder, self.config = editor, folder, config
    self.save_as = save_as
    self.saved: list[Path] = []
    self._atlas = atlas
    # One search for a head at a time: it takes all cores.
    self._working = threading.Lock()
    self.tables: Mapping[str, Callable[[int], Any]] = {"place": self.place}
    self.pictures: Mapping[str, Callable[[int], bytes]] = {
      "atlas": self.atlas,
      "picture": lambda i: jpeg(self._image(i), LARGE),
      "thumbnail": lambda i: jpeg(self._image(i), SMALL),
    }
    self.posts: Mapping[str, Callable[[Any], Any]] = {
      "edit": self.edit,
      "save": self.save,
    }

  def ready(self) -> None:
    """Computes what every edit needs, before there is a page.

    Raises:
      UserError: there are no images to compute it from.
    """
    images = len(self.editor.judged.source)
    printing.tell(f"reading the scores of {images:,} images ...")
    self.editor.ready()

  def facts(self) -> dict[str, Any]:
    """The values that do not change while the page is open."""
    editor, model = self.editor, self.editor.model
    names = list(model.class_names)
    weights, _ = editor.points(editor(()))
    return {
      "classes": names,
      "prototypes": [
        {"number": int(j), "class": names[model.class_of[j]]}
        for j in np.flatnonzero(model.alive)
      ],
      "dead": int(np.sum(~model.alive)),
      "weights": self._own(weights),
      "owned": model.owned,
      "merges": model.merges,
      "solves": editor.edits.solves,
      "reasons": list(edits_lib.REASONS),
      "most_characters": edits_lib.MOST_CHARACTERS,
      "most_changed": _MOST_CHANGED,
      "model": editor.digest,
      "atlas": self._atlas.reason,
      "judged": len(editor.judged.source),
    }

  def _own(self, weights: np.ndarray) -> list[float]:
    """The weight of each prototype to its class, those of the dead too."""
    class_of = self.editor.model.class_of
    own = weights[class_of, np.arange(len(class_of))]
    return np.round(own.astype(float), 4).tolist()

  def place(self, prototype: int) -> dict[str, Any]:
    """Where a prototype was taken from: an image, and a box in shares of it."""
    return {"place": self._atlas.place(prototype)}

  def atlas(self, prototype: int) -> bytes:
    """The image that a prototype was taken from.

    Raises:
      UserError: there is none.
    """
    picture = self._atlas.picture(prototype)
    if picture is None:
      raise UserError(f"nothing to show of prototype {prototype}")
    return jpeg(picture, LARGE)

  def _image(self, number: int) -> np.ndarray:
    source = self.editor.judged.source
    if not 0 <= number < len(source):
      raise UserError(f"there is no image number {number}")
    return source[number]["image"]

  def edit(self, content: Any) -> dict[str, Any]:
    """What edits do.

    Args:
      content: JSON, as `edited_run.parse` reads it, and "nearly": whether to
        answer sooner, by a head that is near the best one.

    Returns:
      The figures of `edited_run.figures`, with the number of changed images as
      "changes"; the "weights" of all prototypes to their classes; the "seconds"
      that it took; and what is "left" of the search, 0 if it is at its end.

    Raises:
      UserError: an edit cannot be.
    """
    began = time.monotonic()
    nearly = False
    if isinstance(content, Mapping) and "nearly" in content:
      content = dict(content)
      if not isinstance(nearly := content.pop("nearly"), bool):
        raise UserError(f"nearly is {shown(nearly)}; it must be true or false")
    _, edited = self._edited(content, nearly)
    found = edited_run.figures(self.editor, edited)
    weights, _ = self.editor.points(edited)
    return {
      **found,
      "changes": len(found["changed"]),
      "changed": found["changed"][:_MOST_CHANGED],
      "weights": self._own(weights),
      "seconds": round(time.monotonic() - began, 3),
      "left": edited.left,
    }

  def _edited(
    self, content: Any, nearly: bool = False
  ) -> tuple[edited_run.Asked, Edited]:
    asked = edited_run.parse(content)
    edited_run.require_same_model(asked, self.editor, "what was sent")
    with self._working:
      return asked, self.editor(asked.edits, nearly=nearly)

  def save(self, content: Any) -> dict[str, Any]:
    """Saves the edited model as a new run.

    Args:
      content: as for `edit`.

    Returns:
      "saved", the folder of the run, and "line", which opens it.

    Raises:
      UserError: there is no edit, an edit cannot be, or the run cannot be
        written.
    """
    asked, edited = self._edited(content)
    if not asked.edits:
      raise UserError("there is no edit to save")
    with self._working:
      folder = self._next_folder()
      edited_run.save(
        folder, self.folder, self.config, self.editor, asked, edited
      )
      self.saved.append(folder)
    printing.tell(f"written: {folder}")
    return {"saved": str(folder)}

  def _next_folder(self) -> Path:
    """The folder that was asked for, if it is free, or one beside it."""
    if not self.save_as:
      return edited_run.free_folder(self.folder, "-edited")
    first = Path(self.save_as)
    return first if not first.exists() else edited_run.free_folder(first, "")

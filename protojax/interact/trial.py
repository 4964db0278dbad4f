"""Trying photos: what a person drops on a page gets its report at once.

It knows no HTTP. `server` calls it from several threads, with content from a
browser, which is not trusted. Photos and their reports are in memory alone, and
gone when the program ends.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
import threading
import time
from typing import Any, NamedTuple

from jaxtyping import UInt8
import numpy as np

from protojax.data import images
from protojax.data.source import printable
from protojax.datasets.given import Pictures
from protojax.explain.evidence import LocalExplanation
from protojax.interact.intervention import mapping
from protojax.interact.session import SMALL, jpeg
from protojax.methods.base import able, needed
from protojax.model import Model
from protojax.modify import presets
from protojax.types import UserError

# Of the file of one photo, in bytes, and of the request that brings it: base64
# writes three bytes as four, and the name comes beside.
MOST_BYTES = 32 << 20
MOST_SENT = MOST_BYTES // 3 * 4 + (1 << 16)
# Photos that are remembered; of more, the first are forgotten.
KEPT = 100
_NAME = 120  # characters
# Capabilities that give an answer in a few words.
_ANSWERS = ("classifies", "tags", "inspects", "segments")


class Seen(NamedTuple):
  """What a model makes of a photo.

  Attributes:
    said: its answer, in a few words.
    report: a page that holds its pictures and loads nothing.
    points: what speaks for the answer: "prototype", its "group" and "points",
      of classifiers by prototypes; of others nothing.
  """

  said: str
  report: str
  points: tuple[Mapping[str, Any], ...] = ()


class _Kept(NamedTuple):
  facts: Mapping[str, Any]
  thumbnail: bytes
  report: str


class Trial:
  """The photos that a person tries, each with its report."""

  template = "trial.html.jinja"

  def __init__(
    self, look: Callable[[Pictures], Seen], photo: UInt8[np.ndarray, "H W 3"]
  ) -> None:
    """Looks at nothing yet.

    Args:
      look: what the model makes of a photo; see `looking`.
      photo: any, for `ready`.
    """
    self._look, self._first = look, photo
    self._photos: dict[int, _Kept] = {}
    self._count = 0
    # One photo at a time: it takes all cores.
    self._working = threading.Lock()
    # See `server.Session`.
    self.tables = {"photos": self.photos}
    self.pictures = {"thumbnail": self.thumbnail}
    self.posts = {"photo": self.add}
    self.documents = {"report": self.report}

  def ready(self) -> None:
    """Compiles all that a photo needs, before there is a page.

    Raises:
      UserError: the model cannot explain a photo.
    """
    self._look(Pictures((self._first,), ("first",)))

  def facts(self) -> dict[str, Any]:
    """The values that do not change while the page is open."""
    return {"most_bytes": MOST_BYTES, "kept": KEPT}

  def photos(self, start: int) -> dict[str, Any]:
    """The photos with a number from `start` on, the first one first."""
    kept = list(self._photos.values())
    return {"photos": [k.facts for k in kept if k.facts["number"] >= start]}

  def thumbnail(self, number: int) -> bytes:
    """A photo as a small JPEG.

    Raises:
      UserError: there is no such photo.
    """
    return self._known(number).thumbnail

  def report(self, number: int) -> str:
    """The report of a photo as HTML.

    Raises:
      UserError: there is no such photo.
    """
    return self._known(number).report

  def add(self, content: Any) -> Mapping[str, Any]:
    """Looks at a photo.

    Args:
      content: JSON: the "name" of a file, and its content in base64 as "image".

    Returns:
      Its "number", "name", "size" in pixels, what is "said" of it, its
      "points" (see `Seen`), and the "seconds" that it took.

    Raises:
      UserError: it is no image, or too large.
    """
    began = time.monotonic()
    content = mapping(content, "what was sent")
    name, sent = content.get("name"), content.get("image")
    if not isinstance(name, str) or not isinstance(sent, str):
      raise UserError('send the "name" and the "image" of a photo as texts')
    name = printable(name.strip()[-_NAME:]) or "photo"
    pixels = _decoded(name, sent)
    with self._working:
      seen = self._look(Pictures((pixels,), (name,)))
      self._count += 1
      facts = {
        "number": self._count,
        "name": name,
        "size": [pixels.shape[1], pixels.shape[0]],
        "said": seen.said,
        "points": list(seen.points),
        "seconds": round(time.monotonic() - began, 2),
      }
      kept = _Kept(facts, jpeg(pixels, SMALL), seen.report)
      self._photos[self._count] = kept
      if len(self._photos) > KEPT:
        del self._photos[next(iter(self._photos))]
    return facts

  def _known(self, number: int) -> _Kept:
    try:
      return self._photos[number]
    except KeyError:
      raise UserError(
        f"there is no photo number {number}: {KEPT} are remembered, until the"
        " program ends"
      ) from None


def looking(
  model: Model, preset: str = presets.DEFAULT.name, allow_stale: bool = False
) -> Callable[[Pictures], Seen]:
  """What makes the report of a photo, by what a method can do.

  Args:
    model: a run.
    preset: what is changed; see `Model.explain`.
    allow_stale: explain prototypes that have changed since the last push.

  Raises:
    UserError: the method explains no images.
  """
  explains = needed(model.method, "explains")
  if "local" not in explains.scopes:
    raise UserError(
      f"{model.config.method} explains no single images, so there is nothing to"
      " show of a photo"
    )
  answers = any(able(model.method, name) for name in _ANSWERS)

  def look(photo: Pictures) -> Seen:
    (why,) = model.explain(photo, preset, allow_stale=allow_stale)
    said, points = _words(why), ()
    if isinstance(why.explanation, LocalExplanation):
      points = tuple(
        {"prototype": r.prototype, "group": r.group, "points": float(r.points)}
        for r in why.explanation.evidence
      )
    elif answers:
      # Explanations in blocks have no answer of their own.
      (answer,) = model.predict(photo)
      said = _words(answer)
    return Seen(said, why.as_html(), points)

  return look


def _words(found: Any) -> str:
  """An answer without the name of its image, as Python shows it."""
  return repr(found).partition(f"{found.image}: ")[2]


def _decoded(name: str, sent: str) -> UInt8[np.ndarray, "H W 3"]:
  try:
    return images.decode(base64.b64decode(sent, validate=True))
  except binascii.Error as error:
    raise UserError(f"{name}: what was sent is not base64") from error
  except ValueError as error:
    raise UserError(f"{name} cannot be shown: {error}") from error

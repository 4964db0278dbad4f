"""Explains VSC: this part of the drawing because of that reference.

For captions of real images the drawing is shown with the references of each
thing, where the drawing looked at each word, and what each reference did: how
much the drawing changes, with the same noise, if that one thing is not told.
"""

from collections.abc import Iterator
import functools
from typing import Any

from jaxtyping import Bool, Float, UInt8
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.explain import blocks, in_blocks
from protojax.explain.request import Request
from protojax.methods.vsc.pairing import Placed
from protojax.methods.vsc.references import References
from protojax.text import vocabulary
from protojax.types import State

# Drawings that are explained if nobody says how many.
_MOST = 8
# The share of an image's places where a thing is looked at most.
_TOP = 0.15
# Sides of shown pictures are as many pixels or more.
_SIDE = 96


def explain(
  method: Any, state: State, data: Stream, request: Request
) -> Iterator[blocks.Explanation]:
  """Drawings by the captions of images (local)."""
  generates = method.capabilities.generates(method)
  count = in_blocks.limit(request, _MOST)
  places = np.linspace(0, len(data.source) - 1, min(count, len(data.source)))
  for i in places.round().astype(int).tolist():
    yield _local(method, generates, state, data, request, i)
    request.progress(1)


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.LOCAL)


def _local(
  method: Any,
  generates: Any,
  state: State,
  data: Stream,
  request: Request,
  i: int,
) -> blocks.Explanation:
  source: Any = data.source
  text = source.caption(i)
  key = parallel.key(method.config.seed)
  asked = {"prompt": text}
  placed: Placed = method.placed(text)
  images, traced = generates.traced(state, asked, key, 1, i)
  image = np.asarray(images)[0]
  found = generates.references(state, asked, key, 1, i)
  pictures = []
  rows = []
  for j, said in enumerate(placed.said):
    # Of the same noise, and the same steps.
    told = np.arange(len(placed.said)) != j
    without = generates.traced(state, {**asked, "pairs": told}, key, 1, i)
    without = np.asarray(without[0])[0]
    looked = traced["words"][0][placed.owner == j].mean(axis=0)
    own = _top(looked, image.shape[0])
    pictures += _references(found[said], said)
    pictures.append(
      blocks.Picture(_large(without), f"drawn without being told of {said}")
    )
    rows.append(_row(said, found[said], image, without, own))
  columns = (
    "thing",
    "references that count",
    "reference and text, cosine",
    "change where it is looked at",
    "change elsewhere",
  )
  return blocks.Explanation(
    key=f"{request.split}-{i}",
    title=text,
    scope="local",
    split=request.split,
    subject=source.name(i),
    blocks=(
      blocks.Picture(_large(image), "what was drawn"),
      blocks.Picture(
        _large(data.examples([i])["image"][0]), "an image with this caption"
      ),
      blocks.Gallery(
        tuple(pictures), "Each thing alone, and the drawing without it"
      ),
      *_maps(image, text, placed, traced["words"][0]),
      blocks.Table(columns, tuple(rows), "What each reference did"),
      *_notes(placed),
    ),
  )


def _references(found: References, said: str) -> list[blocks.Picture]:
  """The references of one thing."""
  captions = [
    f"{said}{'' if weight else ', does not count'}"
    for weight in found.weights[0]
  ]
  return [
    blocks.Picture(_large(image), caption)
    for image, caption in zip(found.images[0], captions, strict=True)
  ]


def _row(
  said: str,
  found: References,
  image: UInt8[np.ndarray, "H W 3"],
  without: UInt8[np.ndarray, "H W 3"],
  own: Bool[np.ndarray, "H W"],
) -> tuple[str, int, float, float, float]:
  """A thing's line of the table; changes are shares of the whole range."""
  change = np.abs(image.astype(float) - without).mean(axis=-1) / 255
  return (
    said,
    int(np.count_nonzero(found.weights[0])),
    float(np.sum(found.weights[0] * found.scores[0])),
    float(change[own].mean()),
    float(change[~own].mean()),
  )


def _maps(
  image: UInt8[np.ndarray, "H W 3"],
  text: str,
  placed: Placed,
  words: Float[np.ndarray, "l h w"],
) -> Iterator[blocks.Map]:
  """Where the drawing looked at each word of a pair."""
  for j, said in enumerate(placed.said):
    for noun in (False, True):
      chosen = (placed.owner == j) & (placed.noun == noun)
      values = words[chosen].mean(axis=0).astype(np.float32)
      own = vocabulary.split(said)
      name = own[-1] if noun else " ".join(own[1:-1])
      yield blocks.Map(
        values,
        0.0,
        max(float(values.max()), 1e-6),
        f"attention to {name!r} of {said!r}",
        over=blocks.Picture(_large(image)),
      )


def _notes(placed: Placed) -> Iterator[blocks.Note]:
  if not placed.said:
    yield blocks.Note(
      "The caption says no thing with an attribute: this is the base's drawing."
    )


def _top(
  looked: Float[np.ndarray, "h w"], side: int
) -> Bool[np.ndarray, "H W"]:
  """The pixels of the places that were looked at most."""
  count = max(1, round(_TOP * looked.size))
  limit = np.sort(looked.ravel())[-count]
  factor = side // len(looked)
  return np.kron(looked >= limit, np.ones((factor, factor), bool))


def _large(
  image: UInt8[np.ndarray, "H W 3"],
) -> UInt8[np.ndarray, "tall wide 3"]:
  """An image with larger pixels."""
  factor = -(-_SIDE // len(image))
  return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)

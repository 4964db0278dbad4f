"""Pictures of answers for each pixel: answer, truth and errors side by side."""

from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Bool, Int
import numpy as np

from protojax.data import palette
from protojax.data.source import printable
from protojax.explain import blocks, shapes
from protojax.explain.request import Request
from protojax.types import Picture

VOID = 255  # of pixels whose class is not known
_SWATCH = 24  # pixels on a side
_DARK = 5  # what is left out of a picture has this part of its light
_WRONG, _RIGHT = np.array([225, 60, 50.0]), np.array([70, 165, 80.0])


def pictures(
  pixels: Picture,
  classes: Int[np.ndarray, "H W"],
  truth: Int[np.ndarray, "H W"] | None,
  names: Sequence[str],
) -> blocks.Gallery:
  """The image, the answer, and, where it is known, the truth and the errors.

  Args:
    pixels: of the image.
    classes: the answer.
    truth: with `VOID` where it is not known; None: it is nowhere.
    names: of the classes.
  """
  count = len(names)
  shown = [
    blocks.Picture(pixels, "Image"),
    blocks.Picture(palette.painted(pixels, classes, count), "Answer"),
  ]
  if truth is not None:
    shown += [
      blocks.Picture(palette.painted(pixels, truth, count), "Truth"),
      blocks.Picture(_errors(pixels, classes, truth), "Errors"),
    ]
  return blocks.Gallery(
    tuple(shown),
    "Each pixel's class. Errors are red, right pixels green; the rest is grey,"
    " where the class is not known"
    if truth is not None
    else "Each pixel's class",
  )


def alone(pixels: Picture, inside: Bool[np.ndarray, "H W"]) -> Picture:
  """The image, dark but for some pixels."""
  return np.where(inside[..., None], pixels, pixels // _DARK).astype(np.uint8)


def _errors(pixels: Picture, classes: np.ndarray, truth: np.ndarray) -> Picture:
  grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
  wrong = (classes != truth)[..., None]
  over = np.where(wrong, _WRONG, _RIGHT)
  known = (truth != VOID)[..., None]
  return np.rint(np.where(known, 0.5 * grey + 0.5 * over, grey)).astype(
    np.uint8
  )


def legend(
  classes: Int[np.ndarray, "H W"],
  truth: Int[np.ndarray, "H W"] | None,
  names: Sequence[str],
) -> Iterator[blocks.Block]:
  """Each class that is said or there: its colour, and how much of it.

  Args:
    classes: the answer.
    truth: see `pictures`.
    names: of the classes.
  """
  rows, swatches = [], []
  colours = palette.colours(len(names))
  for k, name in enumerate(names):
    said = classes == k
    there = np.zeros_like(said) if truth is None else truth == k
    if not (said.any() or there.any()):
      continue
    known = np.ones_like(said) if truth is None else truth != VOID
    either = ((said | there) & known).sum()
    swatch = np.tile(colours[k], (_SWATCH, _SWATCH, 1))
    swatches.append(blocks.Picture(swatch, name))
    cells: list[Any] = [name, float(said.mean())]
    if truth is not None:
      cells += [
        float(there.mean()),
        float((said & there).sum() / either) if either else None,
      ]
    rows.append(tuple(cells))
  yield blocks.Gallery(tuple(swatches), "Colours of the classes")
  columns = "class", "share said"
  if truth is not None:
    columns += "share true", "IoU"
  yield blocks.Table(columns, tuple(rows), "Classes in the image")


def explanation(
  request: Request,
  data: Any,
  index: int,
  classes: Int[np.ndarray, "H W"],
  truth: Int[np.ndarray, "H W"] | None,
  drawn: Sequence[blocks.Block],
) -> blocks.Explanation:
  """That of one image; its title says how much of the answer is wrong.

  Args:
    request: what is asked for.
    data: the stream of the images.
    index: of the image in its source.
    classes: the answer.
    truth: as in `pictures`.
    drawn: what is shown, in order.
  """
  name = data.source.name(index)
  title = printable(name)
  if truth is not None and (truth != VOID).any():
    wrong = float((classes != truth)[truth != VOID].mean())
    title = f"{title}: {wrong:.0%} of the pixels are wrong"
  found = blocks.Explanation(
    key=f"{request.split}-image-{index}",
    title=title,
    scope="local",
    split=request.split,
    subject=name,
    group="Images",
    blocks=tuple(drawn),
  )
  return shapes.of_image(found, data, index)

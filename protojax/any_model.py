"""What any model looks at: `protojax.importance`.

The model is a function that is called on batches of pixels. What is measured is
what `explain` measures of prototypes; see `explain.importance`.
"""

from collections.abc import Callable, Mapping
import dataclasses
import itertools
from typing import Any

import jax
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax import parallel
from protojax.datasets import given
from protojax.explain import importance as importance_lib
from protojax.explain.importance import Local
from protojax.modify import presets, sides
from protojax.modify.presets import Preset
from protojax.types import UserError

_EXPECTED = "numbers [b], [b, k], or maps [b, h, w, k]"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Importance:
  """How much of each score is lost without each characteristic.

  Without the axis of images for a single image, and without that of scores for
  a model that gives one number.

  Attributes:
    images: names of the images.
    scores: of the unchanged images [b k]; of maps, the largest value.
    because: characteristic -> score minus score without it [b k]. Positive: it
      matters; about 0: it does not; negative: the score is higher without it.
    cells: where maps are largest, row-major [b k]; None without maps.
  """

  images: tuple[str, ...]
  scores: Float[np.ndarray, "..."] | float
  because: Mapping[str, Float[np.ndarray, "..."] | float]
  cells: Int[np.ndarray, "..."] | int | None

  def __repr__(self) -> str:
    several = len(self.images) > 1
    what = f"{len(self.images)} images" if several else self.images[0]
    means = {name: float(np.mean(x)) for name, x in self.because.items()}
    # Of equal ones the first: a characteristic, and not one of its sides.
    most = max(means, key=lambda name: means[name])
    return f"{what}: mostly {sides.had(means, most)} ({means[most]:.3g})"


def importance(
  fn: Callable[[UInt8[np.ndarray, "b H W 3"]], Any],
  images: Any,
  preset: str = presets.DEFAULT.name,
  batch_size: int = 32,
) -> Importance:
  """Which of hue, shape, texture, contrast and saturation a model looks at.

  Changes one characteristic of the images at a time, and calls the model again.

  Args:
    fn: any callable: pixels uint8 [b, H, W, 3] (NumPy) -> numbers [b], [b, k]
      such as logits, or similarity maps [b, h, w, k], of which the largest cell
      of the unchanged image is compared. It may return an array of NumPy, JAX
      or PyTorch, or lists. It is called as it is; `jax.jit(fn)` is faster.
    images: a path of a file, a folder or a pattern; a PIL image; uint8 pixels
      [H, W, 3] or [H, W], or a batch [b, H, W, 3]; or a list of these. They
      keep their sizes; images of one size that follow each other are given to
      `fn` together.
    preset: what is changed, and how far; see `Model.explain`.
    batch_size: images in one call of `fn`, at most.

  Raises:
    UserError: they are no such images, such as floats, `fn` is no function, or
      gives no such numbers.
  """
  if not callable(fn):
    raise UserError(
      f"found {type(fn).__name__}; expected a function of pixels. A run that"
      " was loaded says what it looks at by model.explain(image)"
    )
  if batch_size < 1:
    raise UserError(f"batch_size={batch_size}: expected 1 or more")
  chosen = presets.load(preset)
  parallel.setup()
  source, single = given.source(images)
  examples = (source[i]["image"] for i in range(len(source)))
  found, ranks = [], []
  for _, group in itertools.groupby(examples, key=np.shape):
    while some := list(itertools.islice(group, batch_size)):
      maps, rows = _maps(fn, np.stack(some), chosen)
      ranks.append(maps.ndim - 1)
      if ranks[-1] < 4:
        maps = maps.reshape(*maps.shape[:2], 1, 1, -1)
      local = importance_lib.of_maps(maps, rows)
      found.append(jax.tree.map(np.asarray, local))
  _require_same(
    {(r, x.delta.shape[2]) for r, x in zip(ranks, found, strict=True)}
  )
  names = tuple(source.name(i) for i in range(len(source)))
  return _joined(found, chosen, names, ranks[0], single)


def _maps(
  fn: Callable, pixels: UInt8[np.ndarray, "b H W 3"], preset: Preset
) -> tuple[Float[np.ndarray, "n b ..."], tuple[int, ...]]:
  """What a model gives for images and their copies; see `importance.copies`."""
  stack, rows = importance_lib.copies(pixels, preset.modifications)
  found = [_numbers(fn(np.asarray(x)), len(pixels)) for x in stack]
  _require_same({x.shape for x in found})
  return np.stack(found), rows


def _require_same(kinds: set) -> None:
  if len(kinds) > 1:
    raise UserError(
      f"the function gives arrays of several shapes ({sorted(kinds)}) for"
      " batches of the same kind; expected one"
    )


def _numbers(found: Any, count: int) -> Float[np.ndarray, "..."]:
  """What a model gives for a batch, as an array.

  Raises:
    UserError: it is something else.
  """
  if hasattr(found, "detach"):  # A tensor of PyTorch, on whatever device.
    found = found.detach().cpu()
  try:
    numbers = np.asarray(found)
  except ValueError as error:
    raise UserError(
      f"the function gives lists of several lengths; expected {_EXPECTED}"
    ) from error
  shape = ", ".join(map(str, numbers.shape))
  if not (
    np.issubdtype(numbers.dtype, np.number) or numbers.dtype == bool
  ) or np.iscomplexobj(numbers):
    raise UserError(
      f"the function gives {type(found).__name__} of {numbers.dtype}; expected"
      f" {_EXPECTED}"
    )
  if numbers.ndim not in (1, 2, 4) or len(numbers) != count or not numbers.size:
    raise UserError(
      f"the function gives numbers [{shape}] for {count} images; expected"
      f" {_EXPECTED} with b = {count}"
    )
  numbers = numbers.astype(np.float32)
  if not np.isfinite(numbers).all():
    raise UserError(
      "the function gives numbers that are not finite: nothing can be"
      " subtracted from them"
    )
  return numbers


def _joined(
  found: list[Local],
  preset: Preset,
  names: tuple[str, ...],
  rank: int,
  single: bool,
) -> Importance:
  """One answer of all batches."""

  def kept(values: np.ndarray) -> Any:
    values = values[..., 0] if rank == 1 else values
    values = values[0] if single else values
    return values if values.ndim else values.item()

  delta = np.concatenate([local.delta for local in found])
  delta = np.asarray(preset.scores(delta))
  controls = [m.name for m in preset.modifications if m.change == "identity"]
  cells = np.concatenate([local.place for local in found])
  return Importance(
    names,
    kept(np.concatenate([local.similarity for local in found])),
    {
      name: kept(delta[:, n])
      for n, name in enumerate(preset.names)
      if name not in controls
    },
    kept(cells) if rank == 4 else None,
  )

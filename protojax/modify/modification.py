"""Modifications: each changes one visual characteristic of an image.

`importance` measures the similarity of an image to a prototype before and after
each of them. They are pure functions of bytes, run on the device in the jitted
explanation, and give the same bits as the reference implementation of
"Explaining Prototypes" (Nauta et al., arXiv 2011.02863). `presets` combines
them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import difflib
import functools
import math
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Int, UInt8

from protojax.modify import color, grain, nlm, warp
from protojax.shown import shown
from protojax.types import ArrayLike, UserError

# The paper's five, in the order of the reference implementation.
CHARACTERISTICS = ("contrast", "saturation", "hue", "shape", "texture")


# A factor beyond it leaves black and white; far beyond, float32 has no numbers.
_STRONGEST = 1000.0


class Strength(NamedTuple):
  """A number that says how far a change goes.

  Attributes:
    name: what it is called in a preset's file and in messages.
    low: the smallest value.
    high: the largest value.
    whole: whether it is a whole number.
    default: its value if it is not given; None if it must be given.
  """

  name: str
  low: float = 0.0
  high: float = _STRONGEST
  whole: bool = False
  default: float | None = None


class Change(NamedTuple):
  """An operation on images, and the numbers it takes.

  Attributes:
    apply: images, true sizes or None, and the strengths -> images.
    strengths: its numbers; a sweep varies the first.
  """

  apply: Callable[..., Array]
  strengths: tuple[Strength, ...] = ()


_FACTOR = Strength("factor")
_FARTHEST = 10_000  # pixels: more than any image has, and an int32

CHANGES: Mapping[str, Change] = {
  "identity": Change(lambda images, sizes: images),
  "contrast": Change(
    lambda images, sizes, factor: color.contrast(images, factor, sizes),
    (_FACTOR,),
  ),
  "contrast_luma": Change(
    lambda images, sizes, factor: color.contrast_luma(images, factor, sizes),
    (_FACTOR,),
  ),
  "saturation": Change(
    lambda images, sizes, factor: color.saturation(images, factor), (_FACTOR,)
  ),
  "hue": Change(
    lambda images, sizes, turn: color.hue(images, turn),
    (Strength("turn", -0.5, 0.5),),
  ),
  "brightness": Change(
    lambda images, sizes, factor: color.brightness(images, factor), (_FACTOR,)
  ),
  "warp": Change(
    lambda images, sizes, amplitude, frequency: warp.sine(
      images, amplitude, frequency, sizes
    ),
    (
      Strength("amplitude", high=_FARTHEST),
      Strength("frequency", default=0.05),
    ),
  ),
  "bars": Change(
    lambda images, sizes, distance, count, seed: warp.bars(
      images, distance, count, seed, sizes
    ),
    (
      Strength("distance", high=_FARTHEST, whole=True),
      Strength("count", 1, _FARTHEST, whole=True, default=25),
      Strength("seed", high=(1 << 32) - 1, whole=True, default=0),
    ),
  ),
  "texture": Change(
    lambda images, sizes, h, template, search: nlm.smooth(
      images, h, template, search, sizes
    ),
    (
      Strength("h"),
      Strength("template", 1, 31, whole=True, default=7),
      Strength("search", 1, 99, whole=True, default=21),
    ),
  ),
  "grain": Change(
    lambda images, sizes, share: grain.add(images, share, sizes),
    (Strength("share"),),
  ),
}


@dataclasses.dataclass(frozen=True)
class Modification:
  """One change of an image, with its strength; hashable.

  Attributes:
    name: what its scores are listed under, such as "shape".
    change: which of `CHANGES`, such as "warp".
    strengths: its numbers, in the order of the change; those with a default
      may be left out.
    jpeg: JPEG quality of the modified image before it is resized, in mode
      "reference"; None for no JPEG.

  Raises:
    UserError: there is no such change, or a strength is out of its range.
  """

  name: str
  change: str
  strengths: tuple[float | int, ...] = ()
  jpeg: int | None = None

  def __post_init__(self):
    require_known(f"change of {self.name}", self.change, CHANGES)
    wanted = CHANGES[self.change].strengths
    defaults = (s.default for s in wanted[len(self.strengths) :])
    given = (*self.strengths, *(d for d in defaults if d is not None))
    if len(given) != len(wanted):
      names = ", ".join(s.name for s in wanted) or "none"
      raise UserError(
        f"{self.name:.80}: {len(self.strengths)} strengths for the change"
        f" {self.change}; it takes {names}"
      )
    strengths = map(functools.partial(_checked, self.name), wanted, given)
    object.__setattr__(self, "strengths", tuple(strengths))

  @property
  def settings(self) -> dict[str, float | int]:
    """Its strengths by name."""
    names = (s.name for s in CHANGES[self.change].strengths)
    return dict(zip(names, self.strengths, strict=True))

  def at(self, strength: float | int) -> "Modification":
    """The same modification with another first strength."""
    strengths = (strength, *self.strengths[1:])
    return dataclasses.replace(self, strengths=strengths)

  def __str__(self) -> str:
    """Such as "warp: amplitude 4, frequency 0.05"."""
    settings = ", ".join(f"{name} {x:g}" for name, x in self.settings.items())
    return f"{self.change}: {settings}" if settings else self.change


def require_known(what: str, name: str, known: Iterable[str]) -> None:
  """Raises UserError, with the nearest name, unless `name` is known."""
  known = tuple(known)
  if name not in known:
    near = difflib.get_close_matches(name[:80], known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(
      f"unknown {what:.80}: {shown(name)}; {hint}there are {', '.join(known)}"
    )


def _checked(name: str, strength: Strength, value: float | int) -> float | int:
  # Compared first: a whole number may be too large for a float.
  fits = strength.low <= value <= strength.high and math.isfinite(value)
  if not fits or (strength.whole and value != int(value)):
    kind = "a whole number" if strength.whole else "a number"
    limit = f" to {strength.high:.10g}"
    raise UserError(
      f"{name:.80}: {strength.name}={shown(value)} is out of range; use {kind}"
      f" from {strength.low:g}{limit}"
    )
  return int(value) if strength.whole else float(value)


def stacked(
  modifications: Sequence[Modification],
) -> tuple[tuple[Modification, ...], tuple[int, ...]]:
  """Finds the copies that a stack of images needs, and the row of each.

  Returns:
    The modifications that change something, in their order; and the row of
    every modification. Row 0 holds the unchanged images; it is also the row of
    modifications that change nothing.
  """
  made = tuple(m for m in modifications if m.change != "identity" or m.jpeg)
  rows = {m: 1 + i for i, m in enumerate(made)}
  return made, tuple(rows.get(m, 0) for m in modifications)


@functools.partial(jax.jit, static_argnames="modification")
def modify(
  images: UInt8[ArrayLike, "b H W 3"],
  modification: Modification,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Changes one characteristic of images.

  Args:
    images: RGB.
    modification: what to change, and how far; it is fixed under jit.
    sizes: true height and width of images with padding at the bottom and at
      the right; None for no padding. Inside them the bytes are those of the
      image without padding; the bytes of the padding mean nothing.
  """
  apply = CHANGES[modification.change].apply
  return apply(jnp.asarray(images), sizes, *modification.strengths)

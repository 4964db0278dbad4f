"""A small world of scenes: what they hold, and how they are drawn.

A scene has one to four things of different types, each of a colour, size and
texture, at a place; a background and a style. Scenes of one theme are alike:
the hidden themes say which things come together and how they look.
"""

from collections.abc import Mapping
import functools
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np

TYPES = ("coin", "cup", "cat", "rocket", "wheel", "flower", "temple", "crater")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
  "colour": ("red", "green", "blue", "yellow"),
  "size": ("small", "medium", "large"),
  "texture": ("plain", "striped", "dotted"),
}
WHOLE: Mapping[str, tuple[str, ...]] = {
  "background": ("white", "black", "orange", "purple"),
  "style": ("photo", "sketch", "mosaic"),
}
RELATION = "position"
RELATIONS = ("left of", "right of", "above", "below")
MOST = 4  # things in a scene
_THEMES = 5
# Things are so far apart, in the units of `at`, if so many draws allow it.
_GAP, _TRIES = 0.6, 40
# Of the tables of a theme: the smaller, the more alike its scenes.
_SPREAD = 0.4


class Scenes(NamedTuple):
  """Scenes as arrays; of what is not there the codes say nothing.

  Attributes:
    there: which types are in each scene [n t].
    attributes: codes of `ATTRIBUTES` [n t a].
    whole: codes of `WHOLE` [n w].
    at: places of the things, x and y from -1 (left, above) to 1 [n t 2].
  """

  there: Bool[np.ndarray, "n t"]
  attributes: Int[np.ndarray, "n t a"]
  whole: Int[np.ndarray, "n w"]
  at: Float[np.ndarray, "n t 2"]

  @property
  def size(self) -> int:
    """n."""
    return len(self.there)

  @property
  def relations(self) -> Int[np.ndarray, "n t t"]:
    """Code of each type's position to each other: the axis they differ in."""
    x, y = np.moveaxis(self.at[:, :, None] - self.at[:, None], -1, 0)
    along = np.abs(x) >= np.abs(y)
    codes = np.where(along, np.where(x < 0, 0, 1), np.where(y < 0, 2, 3))
    return codes.astype(np.int32)


def draw(count: int, seed: int) -> Scenes:
  """Scenes of the world; its themes do not depend on the seed."""
  tables = _themes()
  rng = np.random.default_rng([1, seed])
  theme = rng.integers(0, _THEMES, count)
  number = rng.integers(1, MOST + 1, count)
  # The largest of log p and noise: a draw without putting back.
  score = np.log(tables.types[theme]) + rng.gumbel(size=(count, len(TYPES)))
  rank = np.argsort(np.argsort(-score, axis=1), axis=1)
  attributes = [
    _drawn(rng, table[theme]) for table in tables.attributes.values()
  ]
  whole = [_drawn(rng, table[theme]) for table in tables.whole.values()]
  there = rank < number[:, None]
  return Scenes(
    there,
    np.stack(attributes, -1).astype(np.int32),
    np.stack(whole, -1).astype(np.int32),
    _apart(rng, tables.places[theme], there),
  )


class _Themes(NamedTuple):
  types: Float[np.ndarray, "k t"]
  attributes: dict[str, Float[np.ndarray, "k t v"]]
  whole: dict[str, Float[np.ndarray, "k v"]]
  places: Float[np.ndarray, "k t 2"]


@functools.cache
def _themes() -> _Themes:
  rng = np.random.default_rng(0)

  def table(shape: tuple[int, ...], values: int) -> np.ndarray:
    return 0.98 * rng.dirichlet(np.full(values, _SPREAD), shape) + 0.02 / values

  kinds = _THEMES, len(TYPES)
  return _Themes(
    table((_THEMES,), len(TYPES)),
    {name: table(kinds, len(v)) for name, v in ATTRIBUTES.items()},
    {name: table((_THEMES,), len(v)) for name, v in WHOLE.items()},
    rng.uniform(-1, 1, (*kinds, 2)),
  )


def _drawn(
  rng: np.random.Generator, p: Float[np.ndarray, "*b v"]
) -> Int[np.ndarray, "*b"]:
  """A value of each distribution."""
  limits = np.cumsum(p, axis=-1)[..., :-1]
  return (rng.random(p.shape[:-1])[..., None] > limits).sum(-1)


def _apart(
  rng: np.random.Generator,
  means: Float[np.ndarray, "n t 2"],
  there: Bool[np.ndarray, "n t"],
) -> Float[np.ndarray, "n t 2"]:
  """Places around those of the themes; what is there hardly overlaps."""
  at = np.clip(means + 0.3 * rng.normal(size=means.shape), -1, 1)
  pairs = there[:, :, None] & there[:, None] & ~np.eye(len(TYPES), dtype=bool)
  for _ in range(_TRIES):
    far = np.abs(at[:, :, None] - at[:, None]).max(-1)
    again = (pairs & (far < _GAP)).any((1, 2))
    if not again.any():
      break
    shape = int(again.sum()), *means.shape[1:]
    at[again] = np.clip(means[again] + 0.6 * rng.normal(size=shape), -1, 1)
  return at

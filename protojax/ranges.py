"""Ranges of the numbers in a config: one that is out of range is refused.

A method names the range of each of its numbers, and `require` compares before
anything is read or trained. `EVERYWHERE` has the keys that methods share.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import math
import numbers
from typing import Any

from protojax.errors import UserError
from protojax.shown import shown


@dataclasses.dataclass(frozen=True)
class Range:
  """The numbers from `low` to `high`.

  Attributes:
    low: the smallest.
    high: the largest.
    whole: only whole numbers.
    above: without `low` itself.
    below: without `high` itself.
  """

  low: int | float
  high: int | float
  whole: bool = False
  above: bool = False
  below: bool = False

  def __contains__(self, value: Any) -> bool:
    kind = numbers.Integral if self.whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
      return False
    # Of a NaN each comparison is false. Any: such types compare with numbers.
    number: Any = value
    return bool(
      (self.low < number if self.above else self.low <= number)
      and (number < self.high if self.below else number <= self.high)
    )

  def __str__(self) -> str:
    """Such as "a whole number from 1 to 8,192"."""
    kind = "a whole number" if self.whole else "a number"
    low, high = _text(self.low), _text(self.high)
    if not (self.above or self.below):
      return f"{kind} from {low} to {high}"
    first = f"above {low}" if self.above else f"of at least {low}"
    return f"{kind} {first} and {'below' if self.below else 'at most'} {high}"

  def require(self, key: str, value: Any) -> None:
    """Refuses a value, or one in a list of values.

    Args:
      key: of the config, such as "data.side".
      value: a number, or a list or tuple of them.

    Raises:
      UserError: names the key, the value and the range.
    """
    several = isinstance(value, list | tuple)
    if all(each in self for each in (value if several else (value,))):
      return
    raise UserError(
      f"--config.{key} is {shown(tuple(value) if several else value)};"
      f" {'each' if several else 'it'} must be {self}"
    )


def whole(low: int, high: int) -> Range:
  """The whole numbers from `low` to `high`."""
  return Range(low, high, whole=True)


# Ranges that several methods use.
EPOCHS = whole(0, 100_000)
COUNT = whole(1, 100_000)
CHANNELS = whole(1, 65_536)
# A side, in pixels or cells. Larger images than this square are not decoded.
SIDE = whole(1, 8_000)
RATE = DECAY = Range(0.0, 10.0)
WEIGHT = Range(0.0, 1e6)  # of a term of a loss
SIGNED_WEIGHT = Range(-1e6, 1e6)
SHARE = Range(0.0, 1.0)
HELD_OUT = Range(0.0, 1.0, below=True)

# Of larger seeds JAX takes the last 32 bits: two seeds would be one.
_SEED = whole(0, 2**32 - 1)
EVERYWHERE: Mapping[str, Range] = {
  "seed": _SEED,
  "seeds": whole(1, 10_000),
  "save_seconds": Range(0.0, 1e9),
  "batch_size": whole(1, 1 << 20),
  "accumulate": whole(1, 1 << 20),
  "data.image_size": SIDE,
  # 0: data.image_size.
  "data.resize_size": whole(0, 8_000),
  "data.copies": COUNT,
  "data.test_fraction": HELD_OUT,
  "data.validation_fraction": HELD_OUT,
  "data.split_seed": whole(-1, 2**32 - 1),
  "backbone.upsample": whole(1, 64),
}


def require(config: Any, ranges: Mapping[str, Range] | None = None) -> None:
  """Refuses numbers of a config that are out of their range.

  Args:
    config: of the run, a `ConfigDict`.
    ranges: key, such as "joint.backbone" -> its range; all of these keys must
      be there. Those of `EVERYWHERE` are compared, too, as far as they are
      there. Any other number must be finite.

  Raises:
    UserError: names the key, its value and the range.
  """
  values, ranges = dict(_leaves(config.to_dict())), ranges or {}
  for key, known in ranges.items():
    known.require(key, values[key])
  for key, value in values.items():
    if key in EVERYWHERE:
      EVERYWHERE[key].require(key, value)
    elif not _finite(value):
      raise UserError(f"--config.{key} is {shown(value)}; it must be finite")


def _leaves(
  tree: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  """Pairs of key and value: "joint.backbone", 1e-4."""
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


def _finite(value: Any) -> bool:
  if isinstance(value, list | tuple):
    return all(map(_finite, value))
  return not isinstance(value, float) or math.isfinite(value)


def _text(number: int | float) -> str:
  """Digits in groups of three: 8,192; 0.5."""
  return f"{int(number):,}" if number == int(number) else f"{number:g}"

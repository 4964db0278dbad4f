"""Numbers of blocks as text, in cells, on axes and within words."""

import math
import re

import numpy as np

from protojax.explain import blocks

UNKNOWN = "\N{EN DASH}"
# A hyphen before a number, if no name ends there.
_NEGATIVE = re.compile(r"(?<![^\s(\[/=])-(?=\d)")
_ZERO = re.compile(r"(?<![^\s(\[/=])-(?=0(?:\.0*)?(?!\.?\d))")


def number(value: float | int) -> str:
  """A number to four figures, with a minus sign."""
  if not math.isfinite(value):
    return UNKNOWN
  # 0 is added because -0.0 would keep its sign.
  text = f"{value:,}" if isinstance(value, int) else f"{value + 0.0:.4g}"
  return text.replace("-", "\N{MINUS SIGN}")


def signed(words: str) -> str:
  """Words whose negative numbers have a minus sign, and zeros none."""
  return _NEGATIVE.sub("\N{MINUS SIGN}", _ZERO.sub("", words))


def cell(value: blocks.Cell) -> str:
  """A cell of a table as text."""
  if value is None:
    return UNKNOWN
  if isinstance(value, bool | np.bool_):
    return "yes" if value else "no"
  return signed(value) if isinstance(value, str) else number(value)

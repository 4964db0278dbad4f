"""Which training images are taken as labelled; the classes of the rest unseen.

A source that has masks for some of its images says so by `labelled`, a bool for
each. Of all others a share is drawn: whole groups, where the source has groups
(volumes, sequences), as neighbouring frames are almost the same image.
"""

from typing import Any, NamedTuple

from jaxtyping import Int
import numpy as np

from protojax.data import columns, splits
from protojax.data.source import origin
from protojax.types import UserError


class Rows(NamedTuple):
  """Positions in the training source.

  Attributes:
    labelled: of the images whose masks are read.
    unlabelled: of the others.
  """

  labelled: Int[np.ndarray, " n"]
  unlabelled: Int[np.ndarray, " m"]


def rows(source: Any, share: float, seed: int) -> Rows:
  """Divides the training images.

  Args:
    source: of the training images.
    share: of the images or groups that are labelled; 1: all of them, which
      are then unlabelled ones, too.
    seed: of the draw.

  Raises:
    UserError: one of the two is empty.
  """
  whole, at = origin(source)
  known = getattr(whole, "labelled", None)
  every = np.arange(len(source), dtype=np.int32)
  if known is not None:
    has = np.asarray(known)[at]
    found = Rows(every[has], every[~has])
    if not len(found.labelled):
      raise UserError(
        "no training image has a mask: add masks of at least some of them"
      )
    # Frames between labelled ones; if there are none, a share is hidden.
    if len(found.unlabelled):
      return found
  if share == 1:
    return Rows(every, every)
  groups = columns.groups(source)
  names = [str(i) for i in (every if groups is None else groups)]
  if len(set(names)) < 2:
    raise UserError(
      f"the {len(every)} training images are of a single"
      f" {'file' if groups is None else 'group'}, of which no share can be"
      " labelled alone: set --config.data.labelled=1, or add others"
    )
  held = splits.held_out(names, share, seed)
  return Rows(every[held], np.setdiff1d(every, held).astype(np.int32))

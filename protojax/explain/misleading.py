"""Misleading pairs: alike to the model for a reason that the eye does not see.

A report that shows a patch beside a prototype invites the reader to guess why
they are alike; here the guess is held against the model's own reasons. The
question is that of "This Looks Like That, Because ..." (Nauta et al., 2021);
the definition is ours.

For a pair i of crops and a characteristic c:

- the model's reasons are the shares s_ic of the local importance, that is
  max(phi_ic, 0) over its sum; the first reason is the one of the largest share.
- the eye's are the differences d_ic of `perceptual`, on one scale:
  u_ic = d_ic / (d_ic + r_c), where r_c is the mean difference of the same crops
  paired at random, or what is hardly seen if that is more. 0 is equal, 1/2 as
  different as two of these crops picked at random, 1 the limit.
- the eye reads c as a likeness of the pair if u_ic <= 1/2.
- the disagreement is sum_c s_ic u_ic: how different the crops are to the eye in
  what the model goes by.
- the pair is misleading if the eye does not read the model's first reason as a
  likeness: "alike because of hue", and their hues differ more than those of
  crops picked at random.

So a pair that looks different in all but what the model goes by is not
misleading, and one that looks alike in all but that is.
"""

from collections.abc import Sequence
import dataclasses

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.explain import perceptual
from protojax.types import ArrayLike

# u: as different as two crops picked at random.
RANDOM = 0.5


@dataclasses.dataclass(frozen=True)
class Verdicts:
  """What n pairs are to the model and to the eye; axis 5: `CHARACTERISTICS`.

  Attributes:
    difference: d, each characteristic in its own unit.
    unlike: u, from 0 (equal) to 1; 1/2 is a pair picked at random.
    first: position of the model's first reason among `CHARACTERISTICS`; -1 if
      none has a positive score.
    disagreement: from 0 to 1; nan if the model has no reason.
    misleading: whether the model's first reason is not read by the eye.
  """

  difference: Float[np.ndarray, "n 5"]
  unlike: Float[np.ndarray, "n 5"]
  first: Int[np.ndarray, " n"]
  disagreement: Float[np.ndarray, " n"]
  misleading: Bool[np.ndarray, " n"]

  @property
  def ranking(self) -> Int[np.ndarray, " n"]:
    """Positions of the pairs by falling disagreement, nan last."""
    return np.argsort(-self.disagreement, kind="stable")


def judge(
  patches: Sequence[UInt8[ArrayLike, "_ _ 3"]],
  prototypes: Sequence[UInt8[ArrayLike, "_ _ 3"]],
  importance: Float[ArrayLike, "n 5"],
) -> Verdicts:
  """Holds the reasons of the model against what the eye may see.

  Give it all pairs of a report at once: they are the crops of the pairs at
  random. A pair alone is never misleading.

  Args:
    patches: n crops of images, RGB of any sizes.
    prototypes: the crop of the prototype that each is alike to.
    importance: phi_local of each pair, in the order of `CHARACTERISTICS`; what
      is not a number is no reason.
  """
  shares = _shares(np.asarray(importance))
  reasons = shares.any(axis=1)
  seen, shown = perceptual.looks(patches), perceptual.looks(prototypes)
  difference = perceptual.differences(seen, shown)
  scale = np.maximum(_at_random(seen, shown), perceptual.HARDLY)
  unlike = difference / (difference + scale[None])
  first = np.argmax(shares, axis=1)
  read = unlike[np.arange(len(first)), first] <= RANDOM
  return Verdicts(
    difference=difference,
    unlike=unlike,
    first=np.where(reasons, first, -1),
    disagreement=np.where(reasons, np.sum(shares * unlike, axis=1), np.nan),
    misleading=reasons & ~read,
  )


def _shares(importance: np.ndarray) -> Float[np.ndarray, "n 5"]:
  """The model's reasons; all 0 where it has none."""
  positive = np.where(importance > 0, importance, 0.0)
  total = np.sum(positive, axis=1, keepdims=True)
  return positive / np.where(total > 0, total, 1.0)


def _at_random(
  seen: perceptual.Looks, shown: perceptual.Looks
) -> Float[np.ndarray, "5"]:
  """Mean differences of the same crops, every one given another's partner."""
  # Shuffled: neighbours in a report are often of one image or one class.
  order = np.random.default_rng(0).permutation(len(seen.contrast))
  strangers = perceptual.differences(
    perceptual.Looks(*(x[order] for x in seen)),
    perceptual.Looks(*(x[np.roll(order, 1)] for x in shown)),
  )
  return np.mean(strangers, axis=0)

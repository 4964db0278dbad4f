"""Global importance: what the local scores of a whole set add up to.

`sweep` makes `Sums` of every batch on the device and adds them on the host;
`Scores` are their quotients. O(m p) numbers, however many images there are.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.explain.importance import Local
from protojax.types import ArrayLike


@dataclasses.dataclass(frozen=True)
class Scores:
  """Global importance over a set of images.

  Attributes:
    importance: phi_global(i, j) = sum_k phi_local(i, k, j) w_kj / sum_k w_kj
      with the weight w of the similarity g; nan where all weights are 0.
    similarity: the mean of g under the same weights.
    images: how many were counted.
  """

  importance: Float[np.ndarray, "m p"]
  similarity: Float[np.ndarray, " p"]
  images: int


class Sums(NamedTuple):
  """What a stream adds up to: O(m p) numbers, whatever its length.

  Attributes:
    weighted: sums over images of w phi_local, and of w g in the last row.
    weight: sums of w.
    images: how many were counted.
  """

  weighted: Float[ArrayLike, "n p"]
  weight: Float[ArrayLike, " p"]
  images: Int[ArrayLike, ""] | Float[ArrayLike, ""]

  @classmethod
  def of(
    cls,
    local: Local,
    weight: Float[ArrayLike, "b p"],
    mask: Bool[ArrayLike, " b"],
  ) -> "Sums":
    """Sums of one batch; where the mask is False a row is padding."""
    weight = jnp.where(mask[:, None], weight, 0.0)
    terms = jnp.concatenate([local.delta, local.similarity[:, None]], axis=1)
    # Weight 0 leaves out what is not a number, too.
    products = jnp.where(weight[:, None] > 0, terms * weight[:, None], 0.0)
    return cls(
      jnp.sum(products, axis=0),
      jnp.sum(weight, axis=0),
      jnp.sum(mask, dtype=jnp.int32),
    )

  def scores(self) -> Scores:
    """Divides; see `Scores`."""
    weight = np.asarray(self.weight, np.float64)
    safe = np.where(weight > 0, weight, np.nan)
    means = np.asarray(self.weighted, np.float64) / safe[None]
    return Scores(means[:-1], means[-1], int(self.images))

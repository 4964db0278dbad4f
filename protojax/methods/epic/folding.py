"""Puts U into a state, and U^-1 into its head: the same classifier.

In a state params["prototypes"] is U, params["head"] is A U^-1, and
params["classifier"] is A, the classifier's own head.
"""

import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.backbones import classifier
from protojax.prototypes.bank import bank_of, with_bank
from protojax.types import Array, ArrayLike, State, UserError

# Largest difference of logits that rounding of U and U^-1 to float32 makes,
# relative to the largest logit of an image.
TOLERANCE = 1e-4
# Keeps quotients finite if all weights are 0.
_TINY = 1e-30


def basis(state: State) -> Float[Array, "p d"]:
  """U of a state."""
  return jnp.asarray(bank_of(state).vectors)[:, 0, 0]


def remember_purest(state: State, purity: float) -> State:
  """The state, which remembers its U and head if they are the purest so far."""
  if purity <= state.buffers["best"]["purity"]:
    return state
  best = {
    "purity": np.float32(purity),
    "prototypes": bank_of(state).vectors,
    "weight": state.params["head"]["weight"],
  }
  return state.replace(buffers={**state.buffers, "best": best})


def purest(state: State) -> State:
  """The state with the U and head that it remembers."""
  best, head = state.buffers["best"], state.params["head"]
  params = {**state.params, "head": {**head, "weight": best["weight"]}}
  bank = bank_of(state).replace(
    vectors=best["prototypes"], class_of=_favourites(best["weight"])
  )
  return with_bank(state.replace(params=params), bank)


def with_head(state: State, head: classifier.Head) -> State:
  """The state with this head as the classifier's own."""
  params = dict(state.params)
  params["classifier"] = {"weight": head.weight, "bias": head.bias}
  if head.norm is not None:
    scale, bias = head.norm
    params["norm"] = {"scale": scale, "bias": bias}
  return state.replace(params=params)


def with_head_as_classifier(state: State) -> State:
  """The state with its head, trained at U = I, as the classifier's own."""
  return state.replace(
    params={**state.params, "classifier": state.params["head"]}
  )


def folded(
  state: State,
  basis: Float[ArrayLike, "d d"],
  inverse: Float[ArrayLike, "d d"] | None = None,
) -> State:
  """The state with another U, and its inverse in the head.

  Args:
    state: with any U; its "classifier" is the head without U.
    basis: U.
    inverse: U^-1; by default U^T.
  """
  own = state.params["classifier"]
  turned = np.asarray(basis, np.float32)
  undone = np.asarray(basis).T if inverse is None else np.asarray(inverse)
  # In float64: a sum of 1280 products in float32 is off by 1e-6 of a logit.
  weight = np.asarray(own["weight"], np.float64) @ undone
  head = {"weight": weight.astype(np.float32), "bias": np.asarray(own["bias"])}
  bank = bank_of(state).replace(
    vectors=turned[:, None, None], class_of=_favourites(weight)
  )
  return with_bank(state.replace(params={**state.params, "head": head}), bank)


def _favourites(weight: Float[ArrayLike, "k p"]) -> Int[np.ndarray, " p"]:
  """The class that each channel has its largest weight to."""
  return np.argmax(np.asarray(weight), axis=0).astype(np.int32)


def require_same(state: State, moved: float = 0.0) -> None:
  """Checks that U with its head is the classifier, unless a person edited it.

  Args:
    state: (A U^-1) U should be A.
    moved: measured difference of logits from the classifier's, relative to the
      largest of an image.

  Raises:
    UserError: they differ by more than rounding.
  """
  own = np.asarray(state.params["classifier"]["weight"], np.float64)
  weight = np.asarray(state.params["head"]["weight"], np.float64)
  if is_edited(state):
    return
  off = np.abs(weight @ np.asarray(basis(state)) - own).max()
  off /= np.maximum(np.abs(own).max(), _TINY)
  if not max(off, moved) <= TOLERANCE:
    raise UserError(
      f"the head behind U is not the classifier: its weights are off by"
      f" {off:.2g} of the largest, logits by {moved:.2g}, where {TOLERANCE:g}"
      " is allowed. Either U is too badly conditioned, and"
      " --config.rotation.kind=orthogonal or a lower --config.rotation.rate"
      " helps; or the run is not trained to its end, or was altered."
    )


def is_edited(state: State) -> bool:
  """Whether a person has thrown out channels, or forbidden one for a class.

  Training leaves all channels alive, and makes no weight exactly 0 among others
  that are not.
  """
  weight = np.asarray(state.params["head"]["weight"])
  forbidden = np.any(weight == 0) and np.any(weight != 0)
  return not np.all(bank_of(state).alive) or bool(forbidden)

"""U in a state, and its inverse in the head: the same classifier.

The head A U^-1 is params["head"], the classifier's own params["classifier"],
and U the prototypes (see `rotated`).
"""

import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.backbones import classifier
from protojax.prototypes.bank import vectors
from protojax.types import Array, ArrayLike, State, UserError

# Relative to the largest logit of an image: what float32 makes of U and U^-1.
TOLERANCE = 1e-4
# Keeps what is relative to weights of zero finite.
_TINY = 1e-30


def basis(state: State) -> Float[Array, "p d"]:
  """U."""
  prototypes = jnp.asarray(vectors(state))
  return prototypes[:, 0, 0]


def remember_purest(state: State, purity: float) -> State:
  """Remembers U and its head, if they are the purest so far."""
  if purity <= state.buffers["best"]["purity"]:
    return state
  best = {
    "purity": np.float32(purity),
    "prototypes": vectors(state),
    "weight": state.params["head"]["weight"],
  }
  return state.replace(buffers={**state.buffers, "best": best})


def purest(state: State) -> State:
  """The state with the U that was remembered."""
  kept, head = state.buffers["best"], state.params["head"]
  class_of = np.argmax(kept["weight"], axis=0).astype(np.int32)
  return state.replace(
    params={
      **state.params,
      "prototypes": {"prototypes": kept["prototypes"]},
      "head": {**head, "weight": kept["weight"]},
    },
    buffers={**state.buffers, "class_of": class_of},
  )


def with_head(state: State, head: classifier.Head) -> State:
  """The state with somebody's head as the classifier's own."""
  params = dict(state.params)
  params["classifier"] = {"weight": head.weight, "bias": head.bias}
  if head.norm is not None:
    scale, bias = head.norm
    params["norm"] = {"scale": scale, "bias": bias}
  return state.replace(params=params)


def with_head_as_classifier(state: State) -> State:
  """The state whose head, trained at U = I, is the classifier's own."""
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
    state: of any U; its "classifier" is the head without one.
    basis: U.
    inverse: U^-1; U^T where it is not given.
  """
  own = state.params["classifier"]
  turned = np.asarray(basis, np.float32)
  undone = np.asarray(basis).T if inverse is None else np.asarray(inverse)
  # In float64: of 1280 products float32 would leave 1e-6 of a logit.
  weight = np.asarray(own["weight"], np.float64) @ undone
  return state.replace(
    params={
      **state.params,
      "prototypes": {"prototypes": turned[:, None, None]},
      "head": {
        "weight": weight.astype(np.float32),
        "bias": np.asarray(own["bias"]),
      },
    },
    buffers={
      **state.buffers,
      "class_of": np.argmax(weight, axis=0).astype(np.int32),
    },
  )


def require_same(state: State, moved: float = 0.0) -> None:
  """That the head behind U is the classifier that was there.

  Args:
    state: whose (A U^-1) U should be A.
    moved: how far logits were found from the classifier's, relative to the
      largest of an image.

  Raises:
    UserError: they differ by more than rounding.
  """
  own = np.asarray(state.params["classifier"]["weight"], np.float64)
  weight = np.asarray(state.params["head"]["weight"], np.float64)
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

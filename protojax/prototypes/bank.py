"""The bank: the prototypes of a model, read from its state and put back.

Where a state keeps them is written here and in `layer` alone. All other code
asks a network for its `bank(state)`, or calls these functions.
"""

from typing import Any

from flax import struct
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.types import ArrayLike, PyTree, State, UserError

DIGEST_BYTES = 16


@struct.dataclass
class Provenance:
  """Where each prototype was taken from at the last push.

  Fields are typed as Any: JAX rebuilds the struct with axes or stacked arrays.

  Attributes:
    image: int32 [p], position of the image in its source; -1 where nothing
      was taken.
    cell: int32 [p], row-major index of the window in the feature map's grid.
    distance: float32 [p], how far the prototype moved, in the similarity's
      distance; inf where nothing was taken.
    content: uint8 [p, 16], digest of the image's pixels at network size.
    embedder: uint8 [16], digest of backbone, add-on and prototypes after the
      push; when it differs from `push.embedder_digest`, the prototypes are
      stale.
  """

  image: Any
  cell: Any
  distance: Any
  content: Any
  embedder: Any

  @classmethod
  def empty(cls, count: int) -> "Provenance":
    """The provenance of `count` prototypes that were never pushed."""
    return cls(
      image=np.full(count, -1, np.int32),
      cell=np.zeros(count, np.int32),
      distance=np.full(count, np.inf, np.float32),
      content=np.zeros((count, DIGEST_BYTES), np.uint8),
      embedder=np.zeros(DIGEST_BYTES, np.uint8),
    )


class Bank(struct.PyTreeNode):
  """The p prototypes of a model.

  Of a sharded bank, inside a mapped step: those of this device. Fields are
  typed as Any, as in `Provenance`.

  Attributes:
    vectors: float32 [p, h1, w1, d], in the space of the features; a prototype
      spans h1 x w1 cells.
    class_of: int32 [p], the class of each prototype or, if it has none, its
      group; see `Groups`.
    alive: bool [p], False for a pruned prototype, which stays in its place.
    provenance: `Provenance`; None where the state does not hold it.
  """

  vectors: Any
  class_of: Any
  alive: Any
  provenance: Any = None


def bank_of(state: State) -> Bank:
  """The bank of a state that keeps it in the usual place."""
  return Bank(
    vectors(state.params),
    state.buffers["class_of"],
    state.buffers["alive"],
    state.buffers.get("provenance"),
  )


def require_living(bank: Bank) -> None:
  """Refuses a model without a living prototype.

  Raises:
    UserError: all were pruned.
  """
  alive = np.asarray(bank.alive)
  if not alive.any():
    raise UserError(
      f"all {len(alive)} prototypes of the model were pruned, so it gives every"
      " image the same answer, without a reason: train it longer, or prune less"
    )


def with_bank(state: State, bank: Bank) -> State:
  """The state with another bank in the usual place."""
  buffers = {**state.buffers, "class_of": bank.class_of, "alive": bank.alive}
  if bank.provenance is not None:
    buffers["provenance"] = bank.provenance
  return with_vectors(state, bank.vectors).replace(buffers=buffers)


def with_vectors(state: State, found: Float[ArrayLike, "p h1 w1 d"]) -> State:
  """The state with other vectors of its prototypes."""
  params = {**state.params, "prototypes": bank_params(found)}
  return state.replace(params=params)


def vectors(params: PyTree) -> Float[ArrayLike, "p h1 w1 d"]:
  """The vectors among parameters, such as those a gradient is taken of."""
  return params["prototypes"]["prototypes"]


def bank_params(found: Float[ArrayLike, "p h1 w1 d"]) -> PyTree:
  """The group "prototypes" of the parameters, with these vectors."""
  return {"prototypes": found}


def bank_buffers(class_of: Int[ArrayLike, " p"]) -> dict[str, PyTree]:
  """Buffers of p prototypes that are all alive and were never pushed."""
  count = len(class_of)
  return {
    "class_of": jnp.asarray(class_of, jnp.int32),
    "alive": jnp.ones(count, bool),
    "provenance": Provenance.empty(count),
  }

"""What EPIC optimises: the purity of channels (Borycki et al., section 4).

Two solvers maximise the mean purity over pairs of an image and a channel that
chose it: `procrustes`, the default, in closed form from all pairs, and the
gradient of `loss`, the paper's, from batches of them.
"""

from collections.abc import Iterable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.epic import rotation
from protojax.methods.epic.folding import basis, folded
from protojax.methods.epic.network import RotatedNetwork
from protojax.prototypes.distance import PRECISION
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Below this length a patch has no direction (the paper's code).
_TINY = 1e-8
# Least weight of the current R in `procrustes`: below that of images and above
# the rounding of their sums, so that channels that never fire do not move.
_NEAR = 1e-4


def purity(
  features: Float[ArrayLike, "b h w d"],
  basis: Float[ArrayLike, "p d"],
  orthogonal: bool = False,
) -> Float[jax.Array, "b p"]:
  """Purity p_k / |p| of channel k at its strongest pixel, for each image.

  p = U z at that pixel, which is chosen without gradient (section 4). Purity 1
  means that no other channel fires there.

  Args:
    features: maps Z.
    basis: U.
    orthogonal: U keeps lengths, so that |p| is computed as |z|.
  """
  cells = jnp.asarray(features).reshape(len(features), -1, features.shape[-1])
  found = rotation.rotated(cells, basis)
  chosen = jnp.argmax(jax.lax.stop_gradient(found), axis=1)
  values = jnp.take_along_axis(found, chosen[:, None], axis=1)[:, 0]
  lengths = _lengths(cells if orthogonal else found)
  lengths = jnp.take_along_axis(lengths, chosen, axis=1)
  return values / jnp.maximum(lengths, _TINY)


def purity_of_pairs(
  features: Float[ArrayLike, "b h w d"],
  channel: Int[ArrayLike, " b"],
  basis: Float[ArrayLike, "p d"],
  orthogonal: bool = False,
) -> Float[jax.Array, " b"]:
  """`purity` of one channel in each image, without the other channels' maps.

  Args:
    features: maps Z.
    channel: of each image.
    basis: U.
    orthogonal: U keeps lengths, so that |p| is computed as |z|.
  """
  cells = jnp.asarray(features).reshape(len(features), -1, features.shape[-1])
  rows = jnp.asarray(basis)[channel]
  maps = jnp.einsum("bcd,bd->bc", cells, rows, precision=PRECISION)
  strongest = jnp.argmax(jax.lax.stop_gradient(maps), axis=1)[:, None]
  values = jnp.take_along_axis(maps, strongest, axis=1)[:, 0]
  patches = jnp.take_along_axis(cells, strongest[..., None], axis=1)[:, 0]
  if not orthogonal:
    patches = rotation.rotated(patches, basis)
  return values / jnp.maximum(_lengths(patches), _TINY)


def _lengths(vectors):
  # No gradient for a patch of zeros, where that of the root is infinite.
  squared = jnp.sum(vectors**2, axis=-1)
  return jnp.sqrt(jnp.where(squared > 0, squared, 1.0)) * (squared > 0)


def pairs(
  chosen: Int[ArrayLike, "p m"], batch: Batch
) -> Float[jax.Array, "b p"]:
  """1 for an image and a channel that it was chosen for, else 0.

  Args:
    chosen: positions of images in their source, by channel; -1 for none.
    batch: its "index" and "valid".
  """
  index = jnp.asarray(batch["index"])[:, None, None]
  found = jnp.any(jnp.asarray(chosen)[None] == index, axis=2)
  return (found & batch["valid"][:, None]).astype(jnp.float32)


def loss(
  kind: str, params: PyTree, state: State, batch: Batch, now: Now
) -> tuple[dict[str, Term], Aux]:
  """Minus the purity, a mean over the pairs of a batch (section 4).

  Args:
    kind: of U; see `rotation.matrix`.
    params: with the generator of U.
    state: not used.
    batch: of pairs: their images' maps, "features", and "channel".
    now: not used.
  """
  del state, now
  u = rotation.matrix(params["rotation"]["generator"], kind)
  found = purity_of_pairs(
    batch["features"], batch["channel"], u, kind == "orthogonal"
  )
  valid = batch["valid"]
  total = -jnp.sum(jnp.where(valid, found, 0.0))
  return {"impurity": Term(total, jnp.sum(valid))}, Aux()


def procrustes(
  network: RotatedNetwork,
  state: State,
  batches: Iterable[Batch],
  inertia: float = 0.0,
) -> tuple[State, float]:
  """Rotates U to the best one for the pixels that the current U chooses.

  U = R S, where S is fixed (a whitening, or the identity) and R is orthogonal.
  With images and pixels fixed the mean purity is <R, A>, where row k of A is
  the mean of S z / |S z| over channel k's pixels. The polar factor of A makes
  it largest (Procrustes). So there is no rate, and no gradient of the
  exponential of a large matrix.

  Args:
    network: the network.
    state: its U, and the images "chosen" for each channel.
    batches: with all these images; others do not count.
    inertia: weight of the current R beside A. A larger one makes smaller steps,
      so that U does not overfit to few images.

  Returns:
    The state with the new U, and the mean purity under the current one.
  """
  width = network.backbone.channels
  empty = {
    "alignment": np.zeros((width, width), np.float32),
    "purity": np.zeros((), np.float32),
    "pairs": np.zeros(width, np.float32),
  }
  sums = parallel.fold(functools.partial(_step, network), state, empty, batches)
  total = {k: np.sum(x, axis=0, dtype=np.float64) for k, x in sums.items()}
  counts = total["pairs"]
  mean = total["alignment"] / np.maximum(counts, 1.0)[:, None]
  now = np.asarray(_turn(state))
  turn = polar(mean + max(inertia, _NEAR) * now)
  white = state.buffers.get("whitening")
  before = float(total["purity"] / np.maximum(counts.sum(), 1.0))
  if white is None:
    return folded(state, turn), before
  s, undone = (np.asarray(white[k], np.float64) for k in ("matrix", "inverse"))
  return folded(state, turn @ s, undone @ turn.T), before


def polar(alignment: Float[ArrayLike, "d d"]) -> Float[np.ndarray, "d d"]:
  """The orthogonal U with the largest <U, alignment> (Schoenemann, 1966)."""
  # In float64: logits change as far as U U^T is not the identity.
  left, _, right = np.linalg.svd(np.asarray(alignment, np.float64))
  return (left @ right).astype(np.float32)


def _turn(state: State) -> Float[Array, "p d"]:
  """R of U = R S."""
  u, white = basis(state), state.buffers.get("whitening")
  if white is None:
    return u
  return jnp.matmul(u, white["inverse"], precision=PRECISION)


def _step(
  network: RotatedNetwork, state: State, carry: PyTree, batch: Batch
) -> PyTree:
  features = network.embedded(state, batch)
  chosen = pairs(state.buffers["chosen"], batch)
  if "whitening" in state.buffers:
    white = state.buffers["whitening"]["matrix"]
    features = rotation.rotated(features, white)

  def total(turn: Array) -> Array:
    return jnp.sum(chosen * purity(features, turn, orthogonal=True))

  # R keeps lengths, so the gradient by R is the sum of directions.
  value, alignment = jax.value_and_grad(total)(_turn(state))
  more = {
    "alignment": alignment,
    "purity": value,
    "pairs": jnp.sum(chosen, axis=0),
  }
  return jax.tree.map(jnp.add, carry, more)

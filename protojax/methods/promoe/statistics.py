"""What the routing of a batch or a split comes to, layer by layer."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.methods.promoe import losses
from protojax.types import Array, ArrayLike


def figures(
  prototypes: Float[ArrayLike, "n e d"], load: Mapping[str, Any]
) -> dict[str, Float[Array, " n"]]:
  """Health of the routing, for each of n layers.

  Args:
    prototypes: of the routed experts.
    load: "sums" [n e d] of each expert's tokens, and their "counts" [n e].

  Returns:
    "margin", see `losses.margin`; "load_entropy" over its largest value; and
    "smallest_share", times the number of experts: 1 if the load is equal.
  """
  return {
    "margin": each(losses.margin, prototypes, load),
    **shares(load["counts"]),
  }


def shares(counts: Float[ArrayLike, "n e"]) -> dict[str, Float[Array, " n"]]:
  """ "load_entropy" and "smallest_share" of `figures`."""
  counts = jnp.asarray(counts, jnp.float32)
  total = jnp.maximum(jnp.sum(counts, axis=-1), 1)
  smallest = jnp.min(counts, axis=-1) / total * counts.shape[-1]
  return {
    "load_entropy": jax.vmap(losses.load_entropy)(counts),
    "smallest_share": smallest,
  }


def each(
  function: Callable[..., Array],
  prototypes: Float[ArrayLike, "n e d"],
  load: Mapping[str, Any],
) -> Float[Array, " n"]:
  """`function(prototypes, means, present)` of each layer."""

  def one(p, sums, counts):
    return function(p, *losses.means(sums, counts))

  return jax.vmap(one)(prototypes, load["sums"], load["counts"])


def strongest(evidence: Mapping[str, Any]) -> Int[Array, "n b l"]:
  """The expert of each token: of those that have it, the largest gate's.

  Where experts choose, none may have it: then the number of all experts.

  Args:
    evidence: of the mixtures, with "gates" and "chosen" [n b l e'].
  """
  chosen = jnp.asarray(evidence["chosen"])
  sizes = jnp.where(chosen, jnp.abs(evidence["gates"]), -1.0)
  found = jnp.argmax(sizes, axis=-1)
  found = jnp.where(jnp.any(chosen, axis=-1), found, chosen.shape[-1])
  return found.astype(jnp.int32)


def counted(
  evidence: Mapping[str, Any],
  label: Int[ArrayLike, " b"],
  valid: Bool[ArrayLike, " b"],
  classes: int,
) -> dict[str, Array]:
  """Sums over the valid examples of a batch.

  Args:
    evidence: of the mixtures, [n b ...].
    label: of the examples; `classes`: none.
    valid: False for padding.
    classes: number of classes.

  Returns:
    "sums" [n e d], "counts" [n e], and "usage" [n k e']: tokens of each class
    that each expert has, the unconditional one included.
  """
  weight = jnp.asarray(valid, jnp.float32)
  chosen = evidence["chosen"] * weight[None, :, None, None]
  own = chosen[..., : evidence["counts"].shape[-1]]
  highest = jax.lax.Precision.HIGHEST
  one = jax.nn.one_hot(label, classes)
  return {
    "sums": jnp.einsum(
      "nble,nbld->ned", own, evidence["tokens"], precision=highest
    ),
    "counts": jnp.sum(own, axis=(1, 2)),
    "usage": jnp.einsum("nble,bk->nke", chosen, one, precision=highest),
  }

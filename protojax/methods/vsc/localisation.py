"""The loss that makes words look at their things: L_loc.

Of the note on VSC (2505.01104): for each pair, of its attribute and of its
noun, the mean attention outside of the pair's mask less that inside, added up
and divided by the number of pairs.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_SMALL = 1e-6


def maps(
  words: Float[Array, "b l w"],
  owner: Int[Array, "b w"],
  noun: Bool[Array, "b w"],
  pairs: int,
) -> Float[Array, "b n 2 l"]:
  """The attention of l places to each pair's attributes and to its noun.

  Of several words it is the mean.

  Args:
    words: how much each place looked at each of w words.
    owner: the pair of each word, -1 for none.
    noun: True for words that are a pair's noun.
    pairs: how many there are at most, n.
  """
  of_pair = owner[:, None] == jnp.arange(pairs)[None, :, None]
  kinds = jnp.stack([~noun, noun], axis=1)[:, None]
  chosen = (of_pair[:, :, None] & kinds).astype(words.dtype)
  count = jnp.maximum(jnp.sum(chosen, axis=-1, keepdims=True), 1)
  return jnp.einsum("bnkw,blw->bnkl", chosen / count, words)


def loss(
  found: Float[Array, "b n 2 l"],
  masks: Float[Array, "b n l"],
  valid: Bool[Array, "b n"],
  by_area: bool = False,
) -> Float[Array, " b"]:
  """L_loc of each example; 0 of one without pairs.

  Args:
    found: see `maps`.
    masks: the share of each place that a pair's thing covers.
    valid: False for padding, and for pairs without a mask.
    by_area: means over inside and outside by themselves, which a small thing
      does not make small; else both are over all places, as the note writes.
  """
  inside = masks[:, :, None]
  outside = 1 - inside

  def mean(where: Array) -> Array:
    total = jnp.sum(found * where, axis=-1)
    area = jnp.sum(where, axis=-1) if by_area else found.shape[-1]
    return total / jnp.maximum(area, _SMALL)

  each = jnp.sum(mean(outside) - mean(inside), axis=-1)
  count = jnp.maximum(jnp.sum(valid, axis=1), 1)
  return jnp.sum(jnp.where(valid, each, 0), axis=1) / count


def covered(
  masks: Bool[Array, "b n H W"], grid: tuple[int, int]
) -> Float[Array, "b n l"]:
  """The share of each place of a grid that masks cover, row by row."""
  batch, count, height, width = masks.shape
  rows, columns = grid
  cells = masks.astype(jnp.float32).reshape(
    batch, count, rows, height // rows, columns, width // columns
  )
  return jnp.mean(cells, axis=(3, 5)).reshape(batch, count, -1)

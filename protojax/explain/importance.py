"""Importance: how much of a likeness each characteristic of an image carries.

The score of "This Looks Like That, Because ...": one characteristic of the
image is changed, the place is kept, and the loss of similarity is measured.
`importance` scores a batch (local); `totals` weighs the batches of a whole set
(global). `sweep` runs both over a stream, on all devices.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.explain import perturb
from protojax.types import ArrayLike

Embed = Callable[[ArrayLike], jax.Array]
Nearest = Callable[[ArrayLike], tuple[jax.Array, jax.Array]]
At = Callable[[ArrayLike, ArrayLike], jax.Array]


class Local(NamedTuple):
  """Scores of a batch.

  Attributes:
    similarity: g, at the nearest cell of the unchanged image.
    cell: that cell, row-major.
    delta: phi_local = g - g^i, for every modification i at the same cell.
  """

  similarity: Float[jax.Array, "b p"]
  cell: Int[jax.Array, "b p"]
  delta: Float[jax.Array, "b m p"]


def importance(
  nearest: Nearest,
  at: At,
  images: UInt8[ArrayLike, "b H W 3"],
  modifications: Sequence[str],
  embed: Embed = jnp.asarray,
) -> Local:
  """Local importance of every modification for every prototype.

  phi_local(i, k, j) = g_kj - g^i_kj ("This Looks Like That, Because ...").
  Positive: the characteristic mattered; about 0: it did not; negative: the
  patch is more alike without it. The cell is that of the unchanged image.

  The unchanged image goes through `embed` and `at` in one stack with its
  copies and gives the reference g. Compiled apart, its similarity would
  differ from a copy's in the last bits, and the log similarity makes much of
  that near 0.

  Args:
    nearest: features -> (similarity b p, cell b p).
    at: features, cells b p -> similarity b p.
    images: before any modification.
    modifications: names known to `perturb.modify`. "identity", the control,
      is the first of the stack itself.
    embed: images -> features. The costly part of a model belongs here: it
      runs once over the stack, M + 1 times the images. Without it `nearest`
      and `at` get the images themselves.
  """
  images = jnp.asarray(images)
  changed = [name for name in modifications if name != "identity"]
  copies = [images, *(perturb.modify(images, name) for name in changed)]
  features = embed(jnp.concatenate(copies))
  stack = features.reshape(len(copies), len(images), *features.shape[1:])
  _, cell = nearest(stack[0])
  similarity = jax.vmap(at, in_axes=(0, None))(stack, cell)
  row = {name: 1 + i for i, name in enumerate(changed)} | {"identity": 0}
  order = np.array([row[name] for name in modifications], np.int32)
  delta = similarity[0][None] - similarity[order]
  return Local(similarity[0], cell, jnp.moveaxis(delta, 0, 1))


def from_maps(
  function: Callable[[ArrayLike], Float[jax.Array, "b h w p"]],
) -> tuple[Nearest, At]:
  """Adapts a model that returns maps of similarities to `importance`.

  The nearest cell is the most similar one, the first in row-major order.
  """

  def flat(images: ArrayLike) -> jax.Array:
    maps = function(images)
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])

  def nearest(images: ArrayLike) -> tuple[jax.Array, jax.Array]:
    maps = flat(images)
    return jnp.max(maps, axis=1), jnp.argmax(maps, axis=1).astype(jnp.int32)

  def at(images: ArrayLike, cells: ArrayLike) -> jax.Array:
    return jnp.take_along_axis(flat(images), cells[:, None], axis=1)[:, 0]

  return nearest, at

"""The relation module: a learned score of an image and each class prototype.

Two layers over both vectors side by side. The first is a sum of two products,
one of the image and one of the prototype, so that no pair of them is written
to memory: 256 times fewer products than with all pairs in a table.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import ArrayLike, PyTree

_EXACT = jax.lax.Precision.HIGHEST
# Numbers of [b k h] that are held at once; more classes go in groups.
_MOST = 1 << 24


def init(key: jax.Array, channels: int, hidden: int) -> PyTree:
  """Weights uniform as Kaiming's, without biases.

  Args:
    key: of the randomness.
    channels: d, of an image's vector and of a prototype.
    hidden: h.
  """
  first, last = jax.random.split(key)
  wide, narrow = (6 / (2 * channels)) ** 0.5, (6 / hidden) ** 0.5
  both = jax.random.uniform(
    first, (2, channels, hidden), minval=-wide, maxval=wide
  )
  out = jax.random.uniform(last, (hidden,), minval=-narrow, maxval=narrow)
  return {"image": both[0], "prototype": both[1], "out": out}


def scores(
  params: PyTree,
  rows: Float[ArrayLike, "b d"],
  prototypes: Float[ArrayLike, "k d"],
  most: int = _MOST,
) -> Float[jax.Array, "b k"]:
  """r, the logit that an image is of a class.

  Args:
    params: "image" and "prototype" [d h], "out" [h].
    rows: of the images.
    prototypes: of the classes.
    most: numbers of the layer between that are held at once. The gradient makes
      those of a group of classes again.
  """
  images = jnp.matmul(rows, params["image"], precision=_EXACT)
  classes = jnp.matmul(prototypes, params["prototype"], precision=_EXACT)

  @jax.checkpoint
  def of_some(some: Float[jax.Array, "g h"]) -> Float[jax.Array, "b g"]:
    pairs = jax.nn.relu(images[:, None] + some[None])
    return jnp.matmul(pairs, params["out"], precision=_EXACT)

  count, hidden = classes.shape
  group = max(most // max(images.size, 1), 1)
  if count <= group:
    return of_some(classes)
  padded = jnp.pad(classes, ((0, -count % group), (0, 0)))
  found = jax.lax.map(of_some, padded.reshape(-1, group, hidden))
  return jnp.moveaxis(found, 0, 1).reshape(len(images), -1)[:, :count]

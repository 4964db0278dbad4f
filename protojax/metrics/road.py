"""ROAD: does the class stay when the hottest pixels are filled in?

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution
Methods" (RemOve And Debias), ICML 2022. `deletion` paints removed pixels in one
colour, which itself tells a model where they were. Here each becomes the mean
of its neighbours, so that little is left to see.
"""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from protojax.metrics.deletion import Predict, order
from protojax.types import Array, ArrayLike

# Shares of the pixels that are removed.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Weights of the neighbours of a pixel, by row and column; their sum is 1.
_NEIGHBOURS = (
  *((y, x, 1 / 6) for y, x in ((-1, 0), (0, -1), (0, 1), (1, 0))),
  *((y, x, 1 / 12) for y, x in ((-1, -1), (-1, 1), (1, -1), (1, 1))),
)
# Of the residual to the right-hand side, near what float32 allows.
_TOLERANCE = 1e-6
_ITERATIONS = 1000


def road(
  predict: Predict,
  images: Num[ArrayLike, "b H W c"],
  maps: Float[ArrayLike, "b H W"],
  classes: Int[ArrayLike, " b"],
  keys: Array,
  shares: Sequence[float] = SHARES,
  noise: float = 2.55,
) -> Bool[Array, "b s"]:
  """Whether each image keeps its class, most relevant pixels removed first.

  A good map loses the class early: the mean over images and shares is low.

  Args:
    predict: called once, with all b s copies.
    images: the images.
    maps: heat of the class.
    classes: the class of each image.
    keys: of the noise, one for each image.
    shares: of the pixels that are removed, each below 1.
    noise: standard deviation of what is added to filled pixels; the paper's
      0.01 of the range of pixels.
  """
  images = jnp.asarray(images, jnp.float32)
  counts = [int(share * maps[0].size) for share in shares]
  ordered = order(maps)
  gone = ordered[:, None] < jnp.array(counts)[None, :, None, None]
  filled = imputed(images, gone)
  draw = jax.vmap(lambda key: jax.random.normal(key, filled.shape[1:]))
  noisy = filled + noise * draw(keys)
  copies = jnp.where(gone[..., None], noisy, images[:, None])
  found = jnp.asarray(predict(copies.reshape(-1, *images.shape[1:])))
  best = jnp.argmax(found.reshape(*gone.shape[:2], -1), axis=2)
  return best == jnp.asarray(classes)[:, None]


def imputed(
  images: Float[Array, "b H W c"], gone: Bool[Array, "b s H W"]
) -> Float[Array, "b s H W c"]:
  """Images whose removed pixels are the weighted mean of their neighbours.

  The neighbours may be removed, too: a linear system (the paper's equation 6,
  with weights of 1/6 and, diagonally, 1/12), solved by conjugate gradients.
  At an edge the weights of the neighbours that exist count.
  """
  where = gone[..., None].astype(jnp.float32)
  known = (1 - where) * images[:, None]
  weight = _around(jnp.ones_like(where))

  def system(x: Float[Array, "b s H W c"]) -> Float[Array, "b s H W c"]:
    # The identity where a pixel is known.
    return where * (weight * x - _around(where * x)) + (1 - where) * x

  found, _ = jax.scipy.sparse.linalg.cg(
    system,
    where * _around(known),
    tol=_TOLERANCE,
    maxiter=_ITERATIONS,
    M=lambda x: x / weight,
  )
  return known + where * found


def _around(x: Float[Array, "b s H W c"]) -> Float[Array, "b s H W c"]:
  """Weighted sum of the neighbours; 0 beyond the edges."""
  _, _, height, width, _ = x.shape
  wide = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
  moved = [
    w * wide[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    for dy, dx, w in _NEIGHBOURS
  ]
  return functools.reduce(jnp.add, moved)

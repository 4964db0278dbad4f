"""Max-sensitivity: how far a heat map moves when its image hardly does.

Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019,
definition 3, relative to the norm of the map as in Captum and Quantus.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Num

from protojax.metrics.means import ratio
from protojax.types import Array, ArrayLike

# 0.02 of the range of pixels in 0..255, as in Captum.
RADIUS = 5.1


def max_sensitivity(
  explain: Callable[[Array], Float[Array, "b H W"]],
  images: Num[ArrayLike, "b H W c"],
  keys: Array,
  radius: float = RADIUS,
  samples: int = 10,
) -> Float[Array, " b"]:
  """Largest |map(x + noise) - map(x)| / |map(x)| over samples of noise.

  Args:
    explain: images -> heat maps.
    images: the images.
    keys: of the noise, one for each image.
    radius: each pixel moves by at most that much, uniformly.
    samples: of the noise; one call of `explain` for each.

  Returns:
    Of each image, from 0; nan if its map is 0 everywhere.
  """
  images = jnp.asarray(images, jnp.float32)
  maps = explain(images)

  def noise(key: Array, i: Array) -> Float[Array, "H W c"]:
    own = jax.random.fold_in(key, i)
    shape = images.shape[1:]
    return jax.random.uniform(own, shape, minval=-radius, maxval=radius)

  def moved(i: Array) -> Float[Array, " b"]:
    noisy = images + jax.vmap(noise, (0, None))(keys, i)
    return _norm(explain(noisy) - maps)

  most = jnp.max(jax.lax.map(moved, jnp.arange(samples)), axis=0)
  return ratio(most, _norm(maps))


def _norm(maps: Float[Array, "b H W"]) -> Float[Array, " b"]:
  return jnp.sqrt(jnp.sum(maps**2, axis=(1, 2)))

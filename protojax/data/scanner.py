"""What differs from scanner to scanner: bias field, noise and contrast.

Random changes of grey images 0..255, for `transforms`. The bias field is smooth
and multiplies, as that which N4 takes out; the noise is Rician, as that of the
magnitude of a complex signal; the contrast is a power.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_BIAS = 0.3  # factors 0.7..1.3
_WAVES = 2  # of the bias field: cosines with up to so many half periods a side
_NOISE = 10.0  # deviation, of grey values 0..255, at most
_GAMMA = 0.4  # powers e^-0.4..e^0.4


def bias(key: Array) -> Float[Array, "u v"]:
  """Weights of the cosines of a bias field; together at most its strength."""
  weights = jax.random.uniform(
    key, (_WAVES + 1, _WAVES + 1), minval=-1.0, maxval=1.0
  )
  # A constant would change the brightness alone.
  weights = weights.at[0, 0].set(0.0)
  return _BIAS * weights / jnp.maximum(jnp.sum(jnp.abs(weights)), 1e-6)


def biased(
  image: Float[Array, "H W c"], weights: Float[Array, "u v"]
) -> Float[Array, "H W c"]:
  """The image times 1 + field, cut off at 255."""
  waves = [
    jnp.cos(
      jnp.pi
      * jnp.arange(_WAVES + 1)[:, None]
      * (jnp.arange(side) + 0.5)[None]
      / side
    )
    for side in image.shape[:2]
  ]
  field = jnp.einsum("uy,uv,vx->yx", waves[0], weights, waves[1])
  return jnp.clip(image * (1 + field[..., None]), 0, 255)


def noise(key: Array) -> tuple[Array, Array]:
  """The key of the noise, and its deviation."""
  for_noise, for_size = jax.random.split(key)
  return for_noise, jax.random.uniform(for_size, (), maxval=_NOISE)


def noisy(
  image: Float[Array, "H W c"], drawn: tuple[Array, Array]
) -> Float[Array, "H W c"]:
  """The magnitude of the image with complex noise, the same in each channel."""
  key, deviation = drawn
  normal = deviation * jax.random.normal(key, (2, *image.shape[:2], 1))
  # Of a cell without signal and noise the root has no gradient.
  squares = (image + normal[0]) ** 2 + normal[1] ** 2
  return jnp.clip(jnp.sqrt(squares + 1e-6), 0, 255)


def gamma(key: Array) -> Array:
  """The power."""
  return jnp.exp(jax.random.uniform(key, (), minval=-_GAMMA, maxval=_GAMMA))


def powered(
  image: Float[Array, "H W c"], power: Array
) -> Float[Array, "H W c"]:
  """Grey values as shares of 255, to a power."""
  return 255 * jnp.clip(image / 255, 1e-6, 1) ** power

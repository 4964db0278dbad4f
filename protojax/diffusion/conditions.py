"""Which of some texts a model finds the likeliest of an image.

The text by which the noise of an image is predicted best (a diffusion
classifier: Li et al., ICCV 2023, 2303.16203), outside of the objects.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.diffusion import guidable, processes
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.diffusion.transformer import Text
from protojax.types import PyTree

# Shares of the way to noise at which it is predicted: where conditions show.
_AT = (0.2, 0.35, 0.5, 0.65)


def errors(
  model: GuidableDiffusion,
  weights: PyTree,
  clean: Float[Array, "b h w c"],
  texts: Sequence[Text],
  counted: Bool[Array, "b h w"],
  index: Int[Array, " b"],
) -> Float[Array, "b k"]:
  """Squared errors of the noise, one for each of k texts.

  All texts see the same noise, which depends on the number of the image.

  Args:
    model: that judges.
    weights: of it.
    clean: images without noise.
    texts: of each image, k times.
    counted: cells that count.
    index: numbers of the images.
  """
  process = model.process
  times = model.times(1000)
  last = len(times) - 1
  at = jnp.asarray([times[round((1 - share) * last)] for share in _AT])
  weight = counted / jnp.maximum(
    jnp.sum(counted, axis=(1, 2), keepdims=True), 1
  )

  def one(given):
    t, number = given
    drawn = processes.fixed(process, clean, index, t, number)
    noise = guidable.estimate(model, drawn.x, drawn.target, drawn.t).noise
    found = []
    for text in texts:
      said = model.predict(weights, drawn.x, drawn.t, text)
      thought = guidable.estimate(model, drawn.x, said, drawn.t).noise
      error = jnp.mean((thought - noise) ** 2, axis=-1)
      found.append(jnp.sum(weight * error, axis=(1, 2)))
    return jnp.stack(found, axis=-1)

  return jnp.mean(jax.lax.map(one, (at, jnp.arange(len(_AT)))), axis=0)

"""Selective entropy: sure where views of an image agree, unsure elsewhere.

After SE-ASA's idea, as the authors' caches have it in a second loop: five
photometric views of a target image and five with the low frequencies of a
source image. Where most views say what the image itself says, entropy is made
small; elsewhere, large. The sizes of the changes are ours.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.methods.tcsa_uda.adversary import information
from protojax.types import Array, ArrayLike

# Of photometric views: powers of grey values, factors and offsets of contrast.
_POWER, _FACTOR, _OFFSET = (0.7, 1.4), (0.75, 1.25), (-20.0, 20.0)
# Of Fourier views: half of the side of the low frequencies, as a share of the
# image's, and how far their amplitudes become those of the source.
_LOW, _STYLE = 0.05, (0.5, 1.0)


def photometric(
  images: Float[ArrayLike, "b H W c"], keys: Array
) -> Float[Array, "b H W c"]:
  """Grey values 0..255 to a random power, factor and offset.

  Args:
    images: of the target.
    keys: one for each image.
  """

  def one(image: Array, key: Array) -> Array:
    draw = [
      jax.random.uniform(k, minval=low, maxval=high)
      for k, (low, high) in zip(
        jax.random.split(key, 3), (_POWER, _FACTOR, _OFFSET), strict=True
      )
    ]
    power, factor, offset = draw
    bent = 255 * (image / 255) ** power
    return jnp.clip(factor * (bent - 127.5) + 127.5 + offset, 0, 255)

  return jax.vmap(one)(jnp.asarray(images), keys)


def fourier(
  images: Float[ArrayLike, "b H W c"],
  style: Float[ArrayLike, "b H W c"],
  keys: Array,
) -> Float[Array, "b H W c"]:
  """Low frequencies with the amplitudes of other images, as FDA has it.

  Args:
    images: of the target; their phases stay.
    style: of the source.
    keys: one for each image.
  """
  images, style = (jnp.asarray(x, jnp.float32) for x in (images, style))
  height, width = images.shape[1:3]
  rows, columns = (jnp.abs(jnp.fft.fftfreq(n)) for n in (height, width))
  low = jnp.maximum(rows[:, None], columns[None]) <= _LOW

  def one(image: Array, other: Array, key: Array) -> Array:
    share = jax.random.uniform(key, minval=_STYLE[0], maxval=_STYLE[1])
    share = share * low[..., None]
    own, given = (jnp.fft.fft2(x, axes=(0, 1)) for x in (image, other))
    amplitude = (1 - share) * jnp.abs(own) + share * jnp.abs(given)
    mixed = amplitude * jnp.exp(1j * jnp.angle(own))
    return jnp.clip(jnp.fft.ifft2(mixed, axes=(0, 1)).real, 0, 255)

  return jax.vmap(one)(images, style, keys)


def views(
  images: Float[ArrayLike, "b H W c"],
  style: Float[ArrayLike, "b H W c"],
  keys: Array,
  count: int,
) -> Float[Array, "n H W c"]:
  """All views in one batch, n = 2 count b: photometric ones, then Fourier's.

  Args:
    images: of the target.
    style: of the source, as many.
    keys: one for each image of the target.
    count: views of each kind.
  """
  each = jax.vmap(lambda key: jax.random.split(key, 2 * count))(keys)
  made = [photometric(images, each[:, n]) for n in range(count)]
  made += [fourier(images, style, each[:, count + n]) for n in range(count)]
  return jnp.concatenate(made)


def agreed(
  own: Int[Array, "b h w"], seen: Int[Array, "n h w"]
) -> Bool[Array, "b h w"]:
  """Cells whose answer more than half of the views repeat.

  Args:
    own: classes that the image's cells are answered.
    seen: the same of the views, as `views` puts them.
  """
  same = seen.reshape(-1, *own.shape) == own[None]
  return 2 * jnp.sum(same, axis=0) > len(same)


def entropy(
  logits: Float[Array, "b h w k"], firm: Bool[Array, "b h w"]
) -> tuple[Array, int]:
  """Entropy in units of log k, less where firm, more elsewhere; and its count.

  Args:
    logits: of the target's cells.
    firm: where views agree.
  """
  each = jnp.sum(information(jax.nn.softmax(logits, axis=-1)), axis=-1)
  return jnp.sum(jnp.where(firm, each, -each)), each.size

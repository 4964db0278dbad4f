"""Self-prototypes: directions in which the keys of one image differ.

DriveGEN (Lin et al., CVPR 2025, 2503.11122), after FreeControl (Mo et al.,
2312.07536): the mean of an image's keys and their first principal axes. They
are of one image, one block and one step. Axes are found anew by a symmetric
eigenvalue problem of the smaller side, or followed from step to step by block
power iteration, which needs products alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_PRECISION = jax.lax.Precision.HIGHEST
_NOTHING = 1e-7


class Basis(NamedTuple):
  """Self-prototypes.

  Attributes:
    mean: of the keys.
    axes: of length 1 and at right angles, the one with most variance first.
  """

  mean: Float[Array, "*n d"]
  axes: Float[Array, "*n k d"]


def exact(keys: Float[Array, "*n l d"], count: int) -> Basis:
  """The mean, and the first right singular vectors of keys less the mean.

  Args:
    keys: of l tokens.
    count: of axes, at most l and d.

  Raises:
    ValueError: there are not so many.
  """
  tokens, channels = keys.shape[-2:]
  if count > min(tokens, channels):
    raise ValueError(f"{count} axes of {tokens} tokens of {channels} channels")
  mean, centred = _centred(keys)
  if tokens <= channels:
    _, left = jnp.linalg.eigh(_product("...ld,...md->...lm", centred, centred))
    left = left[..., ::-1][..., :count]
    axes = _product("...ld,...lk->...kd", centred, left)
    length = jnp.linalg.norm(axes, axis=-1, keepdims=True)
    return Basis(mean, axes / jnp.maximum(length, _NOTHING))
  _, right = jnp.linalg.eigh(_product("...ld,...le->...de", centred, centred))
  return Basis(mean, jnp.swapaxes(right[..., ::-1][..., :count], -1, -2))


def start(shape: tuple[int, ...], count: int) -> Float[Array, "*n k d"]:
  """Axes to follow from, where there are none yet: the same for all.

  Args:
    shape: of the keys.
    count: of axes.
  """
  drawn = jax.random.normal(jax.random.key(0), (shape[-1], count))
  axes = jnp.linalg.qr(drawn)[0].T
  return jnp.broadcast_to(axes, (*shape[:-2], *axes.shape))


def followed(
  keys: Float[Array, "*n l d"], axes: Float[Array, "*n k d"], sweeps: int = 3
) -> Basis:
  """As `exact`, from axes that are about right, such as those a step before.

  Block power iteration, and in its span the axes in order of their variance
  (Rayleigh-Ritz): what is compared is scaled axis by axis, so that the span
  alone would not do.

  Args:
    keys: of l tokens.
    axes: to begin from; k are found.
    sweeps: of the iteration.
  """
  mean, centred = _centred(keys)
  found = jnp.swapaxes(axes, -1, -2)
  for _ in range(sweeps):
    shown = _product("...ld,...dk->...lk", centred, found)
    found = jnp.linalg.qr(_product("...ld,...lk->...dk", centred, shown))[0]
  shown = _product("...ld,...dk->...lk", centred, found)
  _, turned = jnp.linalg.eigh(_product("...lk,...lm->...km", shown, shown))
  found = _product("...dk,...km->...dm", found, turned[..., ::-1])
  return Basis(mean, jnp.swapaxes(found, -1, -2))


def projected(
  keys: Float[Array, "*n l d"], basis: Basis
) -> Float[Array, "*n l k"]:
  """Keys along the axes, from 0 (the least token) to 1 (the most) of each axis.

  Least and most have no gradient. To turn an axis about makes q into 1 - q, so
  that differences of two images keep their size.
  """
  along = _product(
    "...ld,...kd->...lk", keys - basis.mean[..., None, :], basis.axes
  )
  return scaled(along)


def scaled(x: Float[Array, "*n l k"]) -> Float[Array, "*n l k"]:
  """From 0 to 1 over the tokens, by axis; ends have no gradient."""
  ends = jax.lax.stop_gradient(x)
  least = jnp.min(ends, axis=-2, keepdims=True)
  most = jnp.max(ends, axis=-2, keepdims=True)
  return (x - least) / (most - least + _NOTHING)


def _centred(keys):
  keys = keys.astype(jnp.float32)
  mean = jnp.mean(keys, axis=-2)
  return mean, keys - mean[..., None, :]


def _product(path, *x):
  return jnp.einsum(path, *x, precision=_PRECISION)

"""MPRT: does a heat map change when the model forgets what it learned?

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: parameters are
made random from the output down, and maps that stay alike do not depend on what
was learned. Similarity is the rank correlation over the pixels.
"""

from collections.abc import Callable, Sequence
import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Float, Num

from protojax.metrics.means import ratio
from protojax.shown import shown
from protojax.types import Array, ArrayLike, PyTree, UserError


def mprt(
  explain: Callable[[PyTree, Array], Float[Array, "b H W"]],
  params: PyTree,
  images: Num[ArrayLike, "b H W c"],
  key: Array,
  layers: Sequence[str],
  cascading: bool = True,
) -> Float[Array, "s b"]:
  """Rank correlation of each map with that of the model made random.

  An array is made random by putting its values in random order, so that it
  keeps their distribution (and variances of BatchNorm stay positive). All
  layers go through one program, one after the other.

  Args:
    explain: parameters, images -> heat maps.
    params: a tree of arrays.
    images: the images.
    key: of the orders.
    layers: s starts of paths in the tree, such as "head" or "backbone/block6",
      from the output down.
    cascading: whether layers stay random when the next one becomes so, as in
      the paper's section 3.1; one alone at a time otherwise (3.2).

  Returns:
    Of each layer and image; 1: the same order of pixels. nan for a flat map.

  Raises:
    UserError: a layer of that name is not in the tree.
  """
  images = jnp.asarray(images, jnp.float32)
  paths, tree = jax.tree_util.tree_flatten_with_path(params)
  names = [
    jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths
  ]
  places = [_place(name, layers) for name in names]
  for k, layer in enumerate(layers):
    if not any(_within(name, layer) for name in names):
      raise UserError(
        f"no parameters under {shown(layer)}; they begin with"
        f" {', '.join(sorted({name.split('/')[0] for name in names})):.300}"
      )
    if k not in places:
      raise UserError(f"{shown(layer)} lies within a layer named before it")
  values = [jnp.asarray(value) for _, value in paths]
  mixed = [
    _mixed(jax.random.fold_in(key, zlib.crc32(name.encode())), value)
    for name, value in zip(names, values, strict=True)
  ]
  before = explain(params, images)

  def one(k: Array) -> Float[Array, " b"]:
    arrays = []
    for place, value, new in zip(places, values, mixed, strict=True):
      random = False
      if place is not None:
        random = place <= k if cascading else place == k
      arrays.append(jnp.where(random, new, value))
    return spearman(before, explain(tree.unflatten(arrays), images))

  return jax.lax.map(one, jnp.arange(len(layers)))


def spearman(
  a: Float[ArrayLike, "b H W"], b: Float[ArrayLike, "b H W"]
) -> Float[Array, " b"]:
  """Rank correlation of two maps; equal pixels share their mean rank."""
  x, y = (jax.vmap(_ranks)(jnp.asarray(m).reshape(len(m), -1)) for m in (a, b))
  x, y = (m - jnp.mean(m, axis=1, keepdims=True) for m in (x, y))
  squares = jnp.sum(x**2, axis=1) * jnp.sum(y**2, axis=1)
  return ratio(jnp.sum(x * y, axis=1), jnp.sqrt(squares))


def _ranks(values: Float[Array, " n"]) -> Float[Array, " n"]:
  """Ranks from 0 to 1, small enough for sums of squares in float32."""
  ordered = jnp.sort(values)
  first = jnp.searchsorted(ordered, values, side="left")
  after = jnp.searchsorted(ordered, values, side="right")
  return (first + after - 1) / (2 * len(values))


def _mixed(key: Array, value: Array) -> Array:
  return jax.random.permutation(key, value.reshape(-1)).reshape(value.shape)


def _place(name: str, layers: Sequence[str]) -> int | None:
  """Position of the first layer that an array lies in."""
  found = (k for k, layer in enumerate(layers) if _within(name, layer))
  return next(found, None)


def _within(name: str, layer: str) -> bool:
  return name == layer or name.startswith(f"{layer}/")

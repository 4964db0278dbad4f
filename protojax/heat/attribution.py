"""Attributions: which pixels make a patch similar to a prototype.

Each function takes a batch of images, and q prototypes for each image, and
gives maps [b q H W] at the size of the input. It makes one forward pass
(SmoothGrad: one for each noisy copy) and a backward pass for each prototype.
`at_once` of these run together; this and the batch decide the memory.

  upsampling       similarity of the cells, upsampled to pixels
  receptive_field  1 where the nearest cell can see
  saliency         size of the similarity's gradient at each pixel
  smoothgrad       the same for the mean gradient over noisy copies
  prp              share of each pixel in the similarity
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np

from protojax.heat import relevance, similarity_map
from protojax.heat.receptive_field import Axis, ReceptiveField
from protojax.prototypes import distance
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike

# Images of pixels 0..255, floats too -> features b h w d.
Embed = Callable[[ArrayLike], Array]

# Prototypes that a report lists for an image.
_AT_ONCE = 10
# Noisy copies, of all images together, that go through the network at once.
# With 16 copies for 10 prototypes, ResNet-18 at 224 pixels needs 2 GB. On CPU a
# loop over four copies takes 1.3 times as long, over single copies 6 times.
_COPIES_AT_ONCE = 16
# The largest value of a pixel; the smallest is 0.
_WHITE = 255.0
# Keeps the shares finite where a patch equals the prototype.
_TINY = 1e-12


def upsampling(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  similarity: Similarity,
) -> Float[Array, "b q H W"]:
  """Similarity of every cell, by cubic interpolation (ProtoPNet's picture).

  Args:
    embed: the network up to the features.
    images: the images to explain.
    prototypes: q prototypes for each image.
    similarity: of a patch to a prototype.
  """
  features = embed(images)

  def one(features: Array, prototypes: Array) -> Array:
    distances = similarity.distance(features[None], prototypes)[0]
    maps = jnp.moveaxis(similarity.activation(distances), -1, 0)
    return similarity_map.upsample(maps, *images.shape[1:3])

  return jax.vmap(one)(features, jnp.asarray(prototypes))


def receptive_field(
  field: ReceptiveField, cells: Int[ArrayLike, "b q"]
) -> Float[Array, "b q H W"]:
  """1 where the nearest cell can see, 0 elsewhere.

  Args:
    field: of the network's layers, see `receptive_field.chain`.
    cells: the nearest cell of each prototype, row-major.
  """
  row, column = jnp.divmod(cells, field.columns.cells)
  rows = _inside(field.rows)[row]
  columns = _inside(field.columns)[column]
  return rows[..., :, None] * columns[..., None, :]


def saliency(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  at_once: int = _AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Size of the similarity's gradient at each pixel (Simonyan et al., 2014).

  The largest over the channels, as in their section 3.1. Zero for the image
  that the prototype was taken from: there the similarity has its maximum.

  Args:
    embed: the network up to the features, differentiable.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
    at_once: prototypes in one backward pass.

  Returns:
    Similarity per grey level of 0..255.
  """
  pull = _gradient(embed, images, prototypes, cells, similarity)
  return _each(lambda asked: _size(pull(asked)), cells, at_once)


def smoothgrad(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  key: Array,
  index: Int[ArrayLike, " b"],
  copies: int = 16,
  noise: float = 0.15,
  at_once: int = _AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Saliency of the mean gradient over noisy copies (Smilkov et al., 2017).

  Equation 1 averages the gradients with their signs; the size is that of the
  mean. The cell is that of the image without noise.

  Args:
    embed: the network up to the features, differentiable.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
    key: of the noise.
    index: position of each image in its source, folded into the key.
    copies: n, noisy copies of each image; one forward pass for each.
    noise: standard deviation of the noise, as a share of the range of pixels.
    at_once: prototypes in one backward pass.

  Returns:
    Similarity per grey level of 0..255.
  """
  images = jnp.asarray(images, jnp.float32)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(index))
  some = max(n for n in range(1, copies + 1) if _fits(n, copies, len(images)))

  def noisy(i: Array) -> Float[Array, "b H W 3"]:
    own = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))
    return images + noise * _WHITE * draw(own)

  def total_of(numbers: Int[Array, " n"]) -> Float[Array, "b q H W 3"]:
    seen = jax.vmap(noisy)(numbers).reshape(-1, *images.shape[1:])
    asked, places = (
      jnp.concatenate([x] * some) for x in (prototypes, jnp.asarray(cells))
    )
    pull = _gradient(embed, seen, asked, places, similarity)
    each = _each(pull, places, at_once)
    return jnp.sum(each.reshape(some, *cells.shape, *images.shape[1:]), axis=0)

  numbers = jnp.arange(copies).reshape(-1, some)
  if len(numbers) == 1:
    return _size(total_of(numbers[0]) / copies)
  zeros = jnp.zeros((*cells.shape, *images.shape[1:]))
  total = jax.lax.fori_loop(
    0, len(numbers), lambda i, total: total + total_of(numbers[i]), zeros
  )
  return _size(total / copies)


def _fits(some: int, copies: int, images: int) -> bool:
  """Whether `some` copies of each image go through the network at once."""
  few = some == 1 or some * images <= _COPIES_AT_ONCE
  return few and copies % some == 0


def prp(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  at_once: int = _AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Prototypical relevance propagation (Gautam et al., Pattern Recogn. 2023).

  Shares the similarity at the cell out over the channels of the patch, and
  these shares over the pixels, by `relevance`; colours are summed. A map sums
  up to the similarity. It is fine-grained, so blur it before you show it.

  Args:
    embed: the network up to the features; `relevance` has rules for its steps.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
    at_once: prototypes in one backward pass.

  Returns:
    The share of each pixel in the similarity; negative where it makes the
    patch less similar.

  Raises:
    UserError: the network has a step without a rule.
  """
  features, pull = relevance.vjp(embed, images)

  def at_cells(features: Array) -> Array:
    return _patches(features, prototypes, cells)

  patches, put = jax.vjp(at_cells, features)
  relevances = _relevance(patches, _flat(prototypes), similarity)

  def one(asked: Array) -> Array:
    return pull(put(relevances * asked[None, :, None])[0]).sum(axis=-1)

  return _each(one, cells, at_once)


def _gradient(
  embed, images, prototypes, cells, similarity
) -> Callable[[Array], Array]:
  """Gives a function: one-hot prototype [q] -> gradients b H W 3."""

  def scores(images: Array) -> Float[Array, "b q"]:
    patches = _patches(embed(images), prototypes, cells)
    distances = similarity.paired(patches, _flat(prototypes))
    return similarity.activation(distances)

  _, pull = jax.vjp(scores, jnp.asarray(images, jnp.float32))
  return lambda asked: pull(jnp.broadcast_to(asked[None], cells.shape))[0]


def _each(one: Callable[[Array], Array], cells, at_once) -> Array:
  """`one` for the one-hot row of every prototype: b q ..."""
  asked = jnp.eye(cells.shape[1])
  # On CPU, XLA runs convolutions in a loop at a third of their speed.
  if len(asked) <= at_once:
    each = jax.vmap(one)(asked)
  else:
    each = jax.lax.map(one, asked, batch_size=at_once)
  return jnp.moveaxis(each, 0, 1)


def _size(gradients: Float[Array, "*n H W 3"]) -> Float[Array, "*n H W"]:
  return jnp.max(jnp.abs(gradients), axis=-1)


def _flat(prototypes) -> Float[Array, "b q e"]:
  return jnp.asarray(prototypes).reshape(*prototypes.shape[:2], -1)


def _patches(features, prototypes, cells) -> Float[Array, "b q e"]:
  """The patches at the cells of the prototypes."""
  windows = distance.patches(features, *prototypes.shape[2:4])
  windows = windows.reshape(len(windows), -1, windows.shape[-1])
  return jnp.take_along_axis(windows, jnp.asarray(cells)[..., None], axis=1)


def _relevance(patches, prototypes, similarity) -> Float[Array, "b q e"]:
  """Share of each channel c of a patch z in its similarity to a prototype p.

  Cosine and linear similarity are sums over the channels. Others are shared out
  by nearness, 1 / ((z_c - p_c)^2 + epsilon), as in the authors' code. Their
  epsilon of 1e-12 gives 60 % to the one channel that is nearest by chance. Here
  epsilon is the mean over the channels, so that all channels count.
  """
  if similarity.name == "cosine":
    return distance.direction(patches) * distance.direction(prototypes)
  far = (patches - prototypes) ** 2
  if similarity.name == "linear":
    return -far
  near = 1 / (far + jnp.mean(far, axis=-1, keepdims=True) + _TINY)
  share = near / jnp.sum(near, axis=-1, keepdims=True)
  return share * similarity.activation(jnp.sum(far, axis=-1, keepdims=True))


def _inside(axis: Axis) -> Float[Array, "cells pixels"]:
  """1 for the pixels that each place along an axis can see."""
  first, end = np.split(axis.span(np.arange(axis.cells)), 2, axis=-1)
  pixel = np.arange(axis.image_size)[None]
  return jnp.asarray((first <= pixel) & (pixel < end), jnp.float32)

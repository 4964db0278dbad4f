"""Attributions: which pixels make a patch similar to a prototype.

Each function takes a batch of images, and q prototypes for each image, and
gives maps [b q H W] at the size of the input. It makes one forward pass (one
for each copy of an image) and a backward pass for each prototype. `at_once` of
these run together; this and the batch decide the memory.

  upsampling            similarity of the cells, upsampled to pixels
  receptive_field       1 where the nearest cell can see
  saliency              size of the similarity's gradient at each pixel
  smoothgrad            the same for the mean gradient over noisy copies
  integrated_gradients  share of each pixel in the rise from a grey image
  occluded              similarity that is lost behind a grey square
  of_features           Grad-CAM: features times their gradients
  prp                   share of each pixel in the similarity
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np

from protojax.heat import (
  grad_cam,
  gradients,
  occlusion,
  relevance,
  similarity_map,
)
from protojax.heat.gradients import AT_ONCE
from protojax.heat.receptive_field import Axis, ReceptiveField
from protojax.prototypes import distance
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike

# Images of pixels 0..255, floats too -> features b h w d.
Embed = Callable[[ArrayLike], Array]

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
  at_once: int = AT_ONCE,
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
  scores = _scores(embed, prototypes, cells, similarity)
  return gradients.saliency(scores, images, at_once)


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
  at_once: int = AT_ONCE,
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
  scores = _scores(embed, prototypes, cells, similarity)
  return gradients.smoothgrad(
    scores, images, key, index, noise * _WHITE, copies, at_once
  )


def integrated_gradients(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  at_once: int = AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Share of each pixel in the rise of the similarity from a grey image.

  The baseline is mid-grey, since black is a colour that prototypes have; see
  `gradients.integrated_gradients`. The cell is that of the image.

  Args:
    embed: the network up to the features, differentiable.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
    at_once: prototypes in one backward pass.
  """
  scores = _scores(embed, prototypes, cells, similarity)
  return gradients.integrated_gradients(
    scores, images, _WHITE / 2, at_once=at_once
  )


def occluded(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
) -> Float[Array, "b q H W"]:
  """Similarity at the cell that is lost behind a grey square.

  See `occlusion.occlusion`; no gradient is taken.

  Args:
    embed: the network up to the features.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
  """
  scores = _scores(embed, prototypes, cells, similarity)
  return occlusion.occlusion(scores, images, baseline=_WHITE / 2)


def of_features(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  at_once: int = AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Grad-CAM: where features are that would make the cell more similar.

  See `grad_cam.grad_cam`; the features are those that are compared with
  prototypes, so that only the cell has a gradient.

  Args:
    embed: the network up to the features.
    images: the images to explain.
    prototypes: q prototypes for each image.
    cells: the nearest cell of each prototype, row-major.
    similarity: of a patch to a prototype.
    at_once: prototypes in one backward pass.
  """
  features = embed(images)
  head = _scores(lambda features: features, prototypes, cells, similarity)
  maps = grad_cam.grad_cam(head, features, at_once)
  return grad_cam.upsampled(maps, *images.shape[1:3])


def prp(
  embed: Embed,
  images: Num[ArrayLike, "b H W 3"],
  prototypes: Float[ArrayLike, "b q h1 w1 d"],
  cells: Int[ArrayLike, "b q"],
  similarity: Similarity,
  at_once: int = AT_ONCE,
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

  def one(asked: Float[Array, "b q"]) -> Float[Array, "b H W"]:
    return pull(put(relevances * asked[..., None])[0]).sum(axis=-1)

  return gradients.each(one, jnp.zeros(cells.shape), at_once)


def _scores(embed, prototypes, cells, similarity) -> gradients.Scores:
  """Similarity of the patch at each cell: images n b H W 3 -> n b q."""
  asked, cells = jnp.asarray(prototypes), jnp.asarray(cells)

  def scores(images: Array) -> Float[Array, "nb q"]:
    copies = len(images) // len(cells)
    own, places = (jnp.concatenate([x] * copies) for x in (asked, cells))
    patches = _patches(embed(images), own, places)
    distances = similarity.paired(patches, _flat(own))
    return similarity.activation(distances)

  return scores


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

"""Values to start training from: weights, scale of the features, patches.

Raw features of a pretrained backbone are far from unit variance and would
saturate the add-on. Prototypes that start as patches differ, and lie among the
features, where the push will put them. Uniform random prototypes are about
equally far from all features, and many of a class end at the same patch.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.backbones.backbone import Backbone
from protojax.prototypes.bank import bank_of
from protojax.types import Batch, PyTree, State, UserError
from protojax.weights import reading


def tell_of_small_classes(
  class_names: Sequence[str], labels: Int[np.ndarray, " n"], each: int
) -> None:
  """Prints which classes have fewer training images than prototypes."""
  counts = np.bincount(labels, minlength=len(class_names))
  small = [
    f"{name} ({count})"
    for name, count in zip(class_names, counts, strict=True)
    if count < each
  ]
  if small:
    parallel.say(
      f"note: fewer training images than the {each} prototypes of a class:"
      f" {', '.join(small)}. Some prototypes will share an image; give the"
      " class more images, or set --config.prototypes.per_class lower."
    )


def pretrained(
  state: State, backbone: Backbone, name: str, weights: str = ""
) -> State:
  """The state with pretrained weights in its backbone: see `variables`."""
  loaded = variables(backbone, name, weights)
  return state.replace(
    params={**state.params, "backbone": loaded.pop("params")},
    statistics={**state.statistics, "backbone": loaded},
  )


def variables(
  backbone: Backbone, name: str, weights: str = ""
) -> dict[str, PyTree]:
  """Pretrained parameters and statistics of a backbone.

  Args:
    backbone: the network.
    name: of the backbone, for messages.
    weights: a file of weights or a name on the hub (`reading.fetch`); '' takes
      the weights that the backbone comes with.

  Raises:
    UserError: it comes with none, or the file cannot be read or is of another
      network.
  """
  if weights:
    tensors = reading.read(reading.fetch(weights))
    try:
      return dict(backbone.convert(tensors))
    except UserError as error:
      raise UserError(f"{weights} is not of {name}: {error}") from error
  if backbone.pretrained is None:
    raise UserError(
      f"the backbone '{name}' has no pretrained weights of its own; give a file"
      " of them with --config.backbone.weights=FILE, or train with"
      " --config.backbone.pretrained=False."
    )
  return dict(backbone.pretrained())


def standardisation(
  features: Callable[[State, Batch], jax.Array],
  state: State,
  stream: Any,
  channels: int,
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
  """Shift and scale that bring every channel to mean 0 and variance 1.

  Args:
    features: (state, batch) -> b h w c.
    state: for `features`.
    stream: `batches()` of all images, without augmentation.
    channels: c.
  """
  zeros = np.zeros(channels, np.float32)
  carries = parallel.fold(
    functools.partial(_add_moments, features),
    state,
    (zeros, zeros, np.float32(0)),
    stream.batches(),
  )
  total, squares, count = (np.sum(x, 0, np.float64) for x in carries)
  mean = total / count
  # Without the addition a constant channel would be divided by 0.
  variance = np.maximum(squares / count - mean**2, 0.0) + 1e-6
  scale = 1 / np.sqrt(variance)
  return np.asarray(mean, np.float32), np.asarray(scale, np.float32)


def _add_moments(
  features: Callable[[State, Batch], jax.Array],
  state: State,
  carry: PyTree,
  batch: Batch,
) -> PyTree:
  """Adds a batch to the sums of the features, their squares, and the count."""
  found = features(state, batch)
  _, h, w, c = found.shape
  valid = batch["valid"][:, None, None, None]
  found = jnp.where(valid, found, 0.0).reshape(-1, c)
  total, squares, count = carry
  return (
    total + jnp.sum(found, 0),
    squares + jnp.sum(found**2, 0),
    count + jnp.sum(batch["valid"], dtype=jnp.float32) * float(h * w),
  )


def random_patches(
  embedded: Callable[[State, Batch], jax.Array],
  state: State,
  stream: Any,
  seed: int,
) -> Float[np.ndarray, "p h1 w1 d"]:
  """For each prototype a random patch of a random image of its class.

  Prototypes of a class get different images as long as there are enough. A
  prototype whose class has no image does not change.

  Args:
    embedded: (state, batch) -> the features b h w d that prototypes are
      compared with.
    state: its bank is read here, the rest by `embedded`.
    stream: `some(indices)`, batches of chosen images without augmentation,
      and `labels`.
    seed: of the choice.
  """
  rng = np.random.default_rng(seed)
  bank = bank_of(state)
  prototypes = np.array(bank.vectors)
  class_of, labels = np.asarray(bank.class_of), stream.labels
  chosen = np.full(len(class_of), -1)
  for label in np.intersect1d(class_of, labels):
    images = rng.permutation(np.flatnonzero(labels == label))
    own = np.flatnonzero(class_of == label)
    chosen[own] = np.resize(images, len(own))
  # As shares of the grid, whose size is known only from the first map.
  places = rng.random((len(chosen), 2))
  _, height, width, _ = prototypes.shape
  images = np.unique(chosen[chosen >= 0])
  for batch, maps in parallel.each(embedded, state, stream.some(images)):
    rows, columns = maps.shape[1] - height + 1, maps.shape[2] - width + 1
    for index, z in zip(batch["index"], maps[batch["valid"]], strict=False):
      for j in np.flatnonzero(chosen == index):
        top, left = (places[j] * (rows, columns)).astype(int)
        prototypes[j] = z[top : top + height, left : left + width]
  return prototypes

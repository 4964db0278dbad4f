"""The network at one layer and time: experts of patches, and because of what.

`comparing` gives `nearest` and `at` of `explain.importance` on the similarity
that routes; `rows` is what `explanation` makes of each image.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from protojax import parallel
from protojax.diffusion import processes
from protojax.diffusion.processes import Estimate
from protojax.diffusion.space import Pixels
from protojax.explain.importance import of_batch
from protojax.methods.promoe import statistics
from protojax.methods.promoe.network import MixtureNetwork, average
from protojax.modify.presets import Preset
from protojax.types import ArrayLike, Batch, PyTree, State

# Times at which the experts of an image are shown, beside the config's.
_TIMES = (100.0, 500.0, 900.0)


class View(NamedTuple):
  """Where the network is looked at.

  Attributes:
    layer: number of the mixture, from 0.
    time: of the noise.
  """

  layer: int
  time: float


def maps(
  net: MixtureNetwork,
  time: ArrayLike | float,
  weights: PyTree,
  images: UInt8[ArrayLike, "b H W 3"],
  label: Int[ArrayLike, " b"],
) -> Any:
  """Evidence of all mixtures for images with noise that is always the same.

  Args:
    net: on pixels.
    time: of the noise.
    weights: averaged.
    images: real ones, changed or not. All have the same noise: a change of the
      evidence is one of the image.
    label: their classes.
  """
  assert isinstance(net.space, Pixels)
  clean = net.space.encoded(images)
  noise = jax.random.normal(parallel.key(0), clean.shape[1:])
  both = Estimate(clean, jnp.broadcast_to(noise[None], clean.shape))
  t = jnp.full(len(clean), time, jnp.float32)
  x = processes.noisy(net.process, both, t)
  return net.apply(weights, x, t, net.known(label)).evidence


def comparing(
  net: MixtureNetwork, view: View, weights: PyTree, label: Int[ArrayLike, " b"]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """`nearest` and `at` of `explain.importance`, on the routing's similarity.

  A place is a token; both get the images themselves, whose classes the network
  must know.
  """

  def embed(images: ArrayLike) -> Float[Array, "b l e"]:
    return maps(net, view.time, weights, images, label)["similarity"][
      view.layer
    ]

  def nearest(images: ArrayLike) -> tuple[Array, Array]:
    found = embed(images)
    return jnp.max(found, axis=1), jnp.argmax(found, axis=1).astype(jnp.int32)

  def at(images: ArrayLike, place: Int[ArrayLike, "b e"]) -> Array:
    return jnp.take_along_axis(embed(images), place[:, None], axis=1)[:, 0]

  return nearest, at


def rows(
  net: MixtureNetwork, preset: Preset, view: View, state: State, batch: Batch
) -> dict[str, Array]:
  """What explanations are made of, for each image of a batch.

  Returns:
    "similarity" and "cell" [b e] of each prototype at its nearest patch,
    "delta" [b m e]; "map" [b l e] and "chosen" [b l e'] at the view; "experts"
    [b t n l], the number of each patch's expert at more times and layers, as
    in `statistics.strongest`.
  """
  weights, label = average(state), batch["label"]
  nearest, at = comparing(net, view, weights, label)
  local, _ = of_batch(nearest, at, batch, preset)
  evidence = maps(net, view.time, weights, batch["image"], label)

  def experts(time: Array) -> Array:
    of = maps(net, time, weights, batch["image"], label)
    return statistics.strongest(of)

  every = jax.lax.map(experts, jnp.asarray(times(view), jnp.float32))
  return {
    "similarity": local.similarity,
    "cell": local.place,
    "delta": local.delta,
    "map": evidence["similarity"][view.layer],
    "chosen": evidence["chosen"][view.layer],
    "experts": jnp.moveaxis(every, 2, 0),
  }


def times(view: View) -> tuple[float, ...]:
  """Times that the experts of an image are shown at, in order."""
  return tuple(sorted({*_TIMES, view.time}))

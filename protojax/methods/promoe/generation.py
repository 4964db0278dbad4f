"""Draws images from the averaged weights of ProMoE; see `diffusion.drawing`."""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int, UInt8
import numpy as np

from protojax.diffusion import drawing, guidance, samplers
from protojax.diffusion.processes import Flow
from protojax.methods.promoe import statistics
from protojax.methods.promoe.network import MixtureNetwork, average
from protojax.shown import shown
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

_KNOWN = ("label", "guidance", "steps")
# Times of a draw that `traced` looks at.
_TRACED = 5


class Generator:
  """Makes images with a method; see `base.Generates`."""

  def __init__(self, method: Any) -> None:
    self._method = method

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes that images are drawn of."""
    return self._method.dataset.class_names

  def generate(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> UInt8[np.ndarray, "count H W 3"]:
    """Images by class; see `base.Generates`."""
    return self._drawn(_images, state, conditions, key, count, start)["images"]

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[UInt8[np.ndarray, "count H W 3"], Mapping[str, np.ndarray]]:
    """Images, and the expert of each token on their way.

    Returns:
      The images; "times" [count t]; and "experts" int [count t n l], the expert
      that has each of l tokens at so many of the sampler's times in each of n
      layers, as in `statistics.strongest`. Without mixtures n is 0. Images of
      DDPM are those of DDIM's steps, and not those of `generate`.
    """
    found = self._drawn(_traced, state, conditions, key, count, start)
    return found.pop("images"), found

  def _drawn(self, function, state, conditions, key, count, start):
    method, net = self._method, self._method.network
    sampler = drawing.numbers(method.config.sample, conditions, _KNOWN, "class")
    label = _labels(conditions, self.class_names, count, start)
    given = {
      "weights": average(state),
      "assets": state.assets,
      "key": np.asarray(jax.random.key_data(key)),
    }
    return drawing.numbered(
      functools.partial(function, net, sampler.steps, sampler.guidance),
      given,
      {"label": label},
      start,
      count,
      method.config.batch_size,
    )


def _images(
  net: MixtureNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  predict, x, keys = _begun(net, weight, given, batch)
  times = net.process.times(steps)
  if isinstance(net.process, Flow):
    x = samplers.follow(net.process, predict, x, times)
  else:
    x = samplers.ancestral(net.process, predict, x, times, keys)
  return {"images": net.space.images(given["assets"], x)}


def _traced(
  net: MixtureNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "times", "experts"."""
  predict, x, _ = _begun(net, weight, given, batch)
  times = net.process.times(steps)
  way = samplers.path(net.process, predict, x, times)
  at = np.unique(np.linspace(0, steps - 1, min(_TRACED, steps)).round())
  at = at.astype(int)
  shape = (len(at), 0, len(x), 0)
  experts = jnp.zeros(shape, jnp.int32)
  if net.rule is not None:

    def one(x: Array, t: Array) -> Array:
      answer = net.apply(
        given["weights"], x, jnp.full(len(x), t), batch["label"]
      )
      return statistics.strongest(answer.evidence)

    experts = jax.lax.map(lambda x: one(*x), (way[at], jnp.asarray(times[at])))
  return {
    "images": net.space.images(given["assets"], way[-1]),
    "times": jnp.broadcast_to(jnp.asarray(times[at])[None], (len(x), len(at))),
    "experts": jnp.moveaxis(experts, 2, 0),
  }


def _begun(net: MixtureNetwork, weight: float, given: PyTree, batch: Batch):
  """The guided network, noise of each example, and keys for more."""
  x, more = drawing.begun(net.space, given["key"], batch["index"])
  label = jnp.asarray(batch["label"])

  def network(x: Array, t: Array, label: Array) -> Array:
    return net.apply(given["weights"], x, t, label).prediction

  null = jnp.full_like(label, net.null)
  return guidance.guided(network, label, null, weight), x, more


def _labels(
  conditions: Mapping[str, Any], names: tuple[str, ...], count: int, start: int
) -> Int[np.ndarray, " count"]:
  """The class of each image.

  Raises:
    UserError: one is outside of the table.
  """
  label = conditions.get("label")
  if label is None:
    return (np.arange(start, start + count) % len(names)).astype(np.int32)
  found: ArrayLike = np.asarray(label)
  if found.ndim and len(found) != count:
    raise UserError(
      f"{len(found)} labels for {count} images: give one for each"
    )
  outside = np.unique(found[(found < 0) | (found >= len(names))])
  if len(outside):
    raise UserError(
      f"label {shown(outside.tolist())}: the run knows {len(names)} classes, 0"
      f" ({names[0]}) to {len(names) - 1} ({names[-1]})"
    )
  return np.broadcast_to(found, count).astype(np.int32)

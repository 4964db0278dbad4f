"""Draws images from the averaged weights of ProMoE; see `diffusion.drawing`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int
import numpy as np

from protojax.diffusion import drawing, guidance, samplers
from protojax.diffusion.drawing import Draw, Maker
from protojax.methods.promoe import statistics
from protojax.methods.promoe.network import MixtureNetwork
from protojax.shown import shown
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

# Times of a draw that `traced` looks at.
_TRACED = 5


def _images(
  net: MixtureNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  predict, begun = _begun(net, weight, given, batch)
  x = drawing.sampled(net.process, predict, begun, steps)
  return {"images": net.space.images(given["assets"], x)}


def _traced(
  net: MixtureNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "times", "experts".

  "times" [count t]; "experts" int [count t n l], the expert that has each of l
  tokens at so many of the sampler's times in each of n layers, as in
  `statistics.strongest`. Without mixtures n is 0. Images of DDPM are those of
  DDIM's steps, and not those of `generate`.
  """
  predict, begun = _begun(net, weight, given, batch)
  x = begun.noise
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
  """The guided network, and where each image begins."""
  begun = drawing.begun(net.space, given["key"], batch["index"])
  label = jnp.asarray(batch["label"])

  def network(x: Array, t: Array, label: Array) -> Array:
    return net.apply(given["weights"], x, t, label).prediction

  null = jnp.full_like(label, net.null)
  return guidance.guided(network, label, null, weight), begun


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


class Generator(drawing.Generator):
  """Makes images by class; see `drawing.Generator`."""

  known = ("label", "guidance", "steps")
  condition = "class"
  images = _images
  ways = _traced

  def __init__(self, method: Any) -> None:
    self._method = method

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes that images are drawn of."""
    return self._method.dataset.class_names

  def maker(self, state: State) -> Maker:
    """The averaged weights."""
    return drawing.averaged(self._method, state)

  def asked(self, draw: Draw) -> PyTree:
    """The label of each image; see `drawing.Generator`."""
    names = self.class_names
    label = _labels(draw.conditions, names, draw.count, draw.start)
    return {"label": label}

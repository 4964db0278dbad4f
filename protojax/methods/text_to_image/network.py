"""The network: noisy image, time, caption -> prediction, and what it looked at.

Training, sampling and the methods that steer the model go through
`TextNetwork`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.diffusion import preconditioning
from protojax.diffusion.guidable import Caption
from protojax.diffusion.processes import Process
from protojax.diffusion.space import Space
from protojax.diffusion.transformer import DiT, Text, captured
from protojax.text.small import SmallTower
from protojax.types import Array, ArrayLike, PyTree, State


@dataclasses.dataclass(frozen=True, eq=False)
class TextNetwork:
  """A diffusion transformer that reads texts, and the tower of its words.

  Attributes:
    transformer: the layers, with `text=True`.
    tower: tokens -> their states.
    process: what is noise, and what is predicted.
    space: what the network sees of an image.
    variance: of clean images, for `preconditioning`; 0: none.
  """

  transformer: DiT
  tower: SmallTower
  process: Process
  space: Space
  variance: float = 0.0

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of tokens of an image."""
    cells = self.space.side // self.transformer.patch
    return cells, cells

  def init(self, key: Array) -> State:
    """Random weights, and their average."""
    for_tower, for_transformer = jax.random.split(key)
    side, channels = self.space.side, self.space.channels
    ids = jnp.zeros((1, self.tower.length), jnp.int32)
    valid = jnp.ones_like(ids, bool)
    tower = self.tower.init(for_tower, ids, valid)["params"]
    read: Any = self.tower.apply({"params": tower}, ids, valid)
    found = self.transformer.init(
      for_transformer,
      jnp.zeros((1, side, side, channels)),
      jnp.zeros(1),
      jnp.zeros(1, jnp.int32),
      Text(read, valid),
    )["params"]
    params = {"network": found, "text": tower}
    return State(params, {}, {}, {"average": params})

  def read(self, params: PyTree, caption: Caption) -> Text:
    """States of the words of captions.

    Args:
      params: the groups "network" and "text", or their average.
      caption: as numbers.
    """
    ids, valid = (jnp.asarray(caption[k]) for k in ("tokens", "valid"))
    call: Any = self.tower.apply
    return Text(call({"params": params["text"]}, ids, valid), valid)

  def apply(
    self,
    params: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
  ) -> Float[Array, "b h w c"]:
    """The prediction.

    Args:
      params: see `read`.
      x: noisy images.
      t: their times.
      text: what they show.
    """
    call: Any = self.transformer.apply
    out, _ = call({"params": params["network"]}, x, t, _no_class(x), text)
    return self._whole(x, t, out)

  def seen(
    self,
    params: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
    captures: tuple[str, ...],
  ) -> tuple[Float[Array, "b h w c"], dict[str, Float[Array, "n b ..."]]]:
    """The prediction, and what blocks looked at, in one forward pass.

    Args:
      params, x, t, text: see `apply`.
      captures: of `transformer.CAPTURES`.

    Returns:
      The prediction, and each capture stacked over the blocks; see
      `transformer.captured`.
    """
    call: Any = self.transformer.apply
    variables = {"params": params["network"]}
    (out, _), kept = call(
      variables, x, t, _no_class(x), text, mutable=list(captures)
    )
    return self._whole(x, t, out), captured(kept)

  def _whole(self, x: Array, t: Array, out: Array) -> Array:
    """The prediction of what the transformer gave."""
    return preconditioning.conditioned(
      self.process, x, t, out[..., : x.shape[-1]], self.variance
    )


def unsaid(caption: Caption, drop: Bool[ArrayLike, " b"]) -> dict[str, Array]:
  """Captions of which some say nothing: only their beginning is left."""
  valid = jnp.asarray(caption["valid"])
  first = jnp.arange(valid.shape[1]) == 0
  kept = valid & (first[None] | ~jnp.asarray(drop)[:, None])
  return {"tokens": jnp.asarray(caption["tokens"]), "valid": kept}


def average(state: State) -> PyTree:
  """The averaged weights, which images are sampled from."""
  return state.memory["average"]


def _no_class(x: Array) -> Int[Array, " b"]:
  return jnp.zeros(len(x), jnp.int32)

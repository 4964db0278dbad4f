"""Low-rank adapters (LoRA, Hu et al. 2021) on layers of a whole network.

A layer y = x W with the adapters D [p r in] and U [p r out/p] computes

  y + s [x D_1^T U_1, ..., x D_p^T U_p],  s = alpha / r

The p blocks of its output are one for most layers; a layer "qkv" has three:
queries, keys and values, whose adapters are one stack. Linear layers of Flax
and our convolutions have adapters; the network itself is not rewritten, and its
own parameters are read only.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import re
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from protojax.layers import lora
from protojax.layers.conv import Conv, convolve
from protojax.types import PyTree, UserError

# Blocks of the output of a layer with this name.
_STACKED = {"qkv": ("q", "k", "v")}


@dataclasses.dataclass(frozen=True)
class Adapted:
  """Which layers have adapters, and how they count.

  Attributes:
    blocks: path of a layer, such as "layer_1/qkv" -> the blocks of its output
      that have adapters, and how many blocks there are.
    rank: r, at most the channels of a layer.
    alpha: the adapters are multiplied by alpha / r.
    dropout: share of the adapters' inputs that become 0 in training.
  """

  blocks: Mapping[str, tuple[tuple[int, ...], int]]
  rank: int
  alpha: float
  dropout: float = 0.0

  def init(self, key: jax.Array, params: PyTree) -> dict[str, PyTree]:
    """New adapters by layer, which change nothing: U = 0.

    Args:
      key: of D, uniform with the bound 1 / sqrt(in), as PyTorch starts.
      params: of the network, or their shapes.
    """
    made = {}
    for number, (path, (own, count)) in enumerate(self.blocks.items()):
      *inside, outputs = _kernels(params)[path].shape
      inputs, width = int(np.prod(inside)), outputs // count
      rank = min(self.rank, inputs, width)
      bound = inputs**-0.5
      down = jax.random.uniform(
        jax.random.fold_in(key, number),
        (len(own), rank, inputs),
        minval=-bound,
        maxval=bound,
      )
      made[path] = {"down": down, "up": jnp.zeros((len(own), rank, width))}
    return made

  def merged(self, params: PyTree, adapters: Mapping[str, PyTree]) -> PyTree:
    """Parameters of the network that computes the same without adapters."""
    flat: dict[str, Any] = traverse_util.flatten_dict(params, sep="/")
    for path, (own, count) in self.blocks.items():
      kernel = flat[f"{path}/kernel"]
      made = jax.vmap(self._change)(adapters[path])
      width = kernel.shape[-1] // count
      change = jnp.zeros((made.shape[1], count, width))
      change = change.at[:, np.array(own)].set(jnp.moveaxis(made, 0, 1))
      flat[f"{path}/kernel"] = kernel + change.reshape(kernel.shape)
    return traverse_util.unflatten_dict(flat, sep="/")

  def _change(self, adapter: PyTree) -> jax.Array:
    rank = len(adapter["down"])
    scale = jnp.full(rank, self.alpha / rank)
    return lora.change(lora.Adapter(adapter["down"], scale, adapter["up"]))

  def applied(
    self, adapters: Mapping[str, PyTree], keys: jax.Array | None = None
  ) -> Any:
    """A context in which the network's layers use their adapters.

    Args:
      adapters: by layer.
      keys: one for each example, of dropout; None: no dropout.
    """
    numbers = {path: n for n, path in enumerate(self.blocks)}
    dropped = self.dropout if keys is not None else 0.0

    def layer(
      call: Callable, args: tuple, kwargs: dict, context: Any
    ) -> jax.Array:
      found = call(*args, **kwargs)
      path = "/".join(context.module.path)
      if path not in numbers or context.method_name != "__call__":
        return found
      x, adapter = args[0], adapters[path]
      own, count = self.blocks[path]
      if dropped:
        # Each block drops inputs of its own, as one of several layers would.
        more = [
          self._more(
            context.module,
            _dropped(x, keys, (numbers[path], n), dropped),
            jax.tree.map(lambda rows, n=n: rows[n : n + 1], adapter),
          )[0]
          for n in range(len(own))
        ]
      else:
        more = self._more(context.module, x, adapter)
      blocks = jnp.split(found, count, axis=-1)
      for n, block in enumerate(own):
        blocks[block] = blocks[block] + more[n].astype(found.dtype)
      return jnp.concatenate(blocks, axis=-1) if count > 1 else blocks[0]

    return nn.intercept_methods(layer)

  def _more(self, module: nn.Module, x: jax.Array, adapter: PyTree) -> Any:
    """What the adapters of a layer add to each of their blocks."""
    down, up = (adapter[side].astype(x.dtype) for side in ("down", "up"))
    parts, rank, _ = down.shape
    flat = down.reshape(parts * rank, -1).T
    if isinstance(module, Conv):
      side = module.kernel
      kernel = flat.reshape(side, side, -1, parts * rank)
      read = convolve(x, kernel, module.stride, module.padding, module.dilation)
    else:
      read = x @ flat
    read = read.reshape(*read.shape[:-1], parts, rank)
    return jnp.einsum("...pr,prw->p...w", read, up) * (self.alpha / rank)


def chosen(
  params: PyTree, names: str, rank: int, alpha: float, dropout: float
) -> Adapted:
  """Adapters of the layers of a network that a pattern names.

  Args:
    params: of the network, or their shapes.
    names: a regular expression for the last part of a layer's path, such as
      "expand|project"; "q", "k" and "v" are blocks of a layer "qkv". '' takes
      q, k and v, or every layer of a network that has no such.
    rank, alpha, dropout: see `Adapted`.

  Raises:
    UserError: no layer has such a name, or it is no regular expression.
  """
  try:
    pattern = re.compile(names)
  except re.error as error:
    raise UserError(
      f"--config.adapters.layers={names!r} is no regular expression: {error}"
    ) from error
  parts = {path: path.rpartition("/")[2] for path in _kernels(params)}
  if not names:
    stacked = any(last in _STACKED for last in parts.values())
    pattern = re.compile("q|k|v" if stacked else ".*")
  blocks = {}
  for path, last in parts.items():
    every = _STACKED.get(last, (last,))
    own = [n for n, name in enumerate(every) if pattern.fullmatch(name)]
    if own:
      blocks[path] = tuple(own), len(every)
  if not blocks:
    known = {n for last in parts.values() for n in _STACKED.get(last, (last,))}
    raise UserError(
      f"--config.adapters.layers={names!r} names no layer of the backbone;"
      f" there are {', '.join(sorted(known))}"
    )
  return Adapted(blocks, rank, alpha, dropout)


def _kernels(params: PyTree) -> dict[str, Any]:
  """Path of a layer -> its kernel; depthwise convolutions are left out."""
  flat: dict[str, Any] = traverse_util.flatten_dict(params, sep="/")
  return {
    path.removesuffix("/kernel"): kernel
    for path, kernel in sorted(flat.items())
    if path.endswith("/kernel")
    and (kernel.ndim == 2 or (kernel.ndim == 4 and kernel.shape[2] > 1))
  }


def _dropped(
  x: jax.Array, keys: Any, place: tuple[int, int], rate: float
) -> jax.Array:
  """Some numbers of each example become 0, the others grow."""

  def kept(key: jax.Array) -> jax.Array:
    key = functools.reduce(jax.random.fold_in, place, key)
    return jax.random.bernoulli(key, 1 - rate, x.shape[1:])

  return jnp.where(jax.vmap(kept)(keys), x / (1 - rate), 0.0)

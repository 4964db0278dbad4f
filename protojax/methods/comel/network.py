"""CoMEL's network: a bag of vectors -> attention, bag prototype and logits.

All parameters are plain trees. "base" holds the kernels and the rest of the
layers, "adapter_t" the adapters of task t >= 1 for each kernel, and "head_t"
the head of task t.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.layers import lora
from protojax.methods.comel import attention, grouping
from protojax.methods.comel.attention import Context, Dropout
from protojax.types import Array, ArrayLike, PyTree

_LEAST = 1e-10  # as in the authors' code


class Seen(NamedTuple):
  """What the network makes of one bag.

  Attributes:
    features: of the instances, after the blocks.
    attention: a, which sums to 1 over the instances.
    bag: z+ = sum_m a_m x_m, the positive prototype of the bag.
    logits: of the heads of all tasks.
  """

  features: Float[Array, "n d"]
  attention: Float[Array, " n"]
  bag: Float[Array, " d"]
  logits: Float[Array, " k"]


@dataclasses.dataclass(frozen=True)
class Network:
  """The layers and their sizes.

  Attributes:
    channels: of an instance's vector.
    width: d, of the features.
    heads: of the attention.
    blocks: how many GDAT blocks; 0: ABMIL.
    hidden: of an MLP.
    scorer: width of the pooling's hidden layer.
    side: m = side^2 groups.
    grouping: one of `grouping.GROUPINGS`.
    chunk: instances that go through the attention at a time.
    tasks: how many there are.
    dropout: after the embedding, and within the blocks.
  """

  channels: int
  width: int
  heads: int
  blocks: int
  hidden: int
  scorer: int
  side: int
  grouping: str
  chunk: int
  tasks: int
  dropout: tuple[float, float]

  @property
  def kernels(self) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each layer that gets adapters."""
    d = self.width
    found = {"embed": (self.channels, d)}
    for i in range(self.blocks):
      found |= {
        f"block_{i}_qkv": (d, 3 * d),
        f"block_{i}_proj": (d, d),
        f"block_{i}_fc_1": (d, self.hidden),
        f"block_{i}_fc_2": (self.hidden, d),
      }
    return {**found, "pool": (d, self.scorer)}

  def init(
    self, key: jax.Array, ranks: Mapping[str, int] | None
  ) -> dict[str, PyTree]:
    """Xavier-normal kernels and zero biases; adapters that change nothing.

    Args:
      key: of the random numbers.
      ranks: of each kernel's adapters; None: there are no adapters.
    """

    shapes, d = self.kernels, self.width
    wanted = [*shapes.values(), (self.scorer, 1), *[(d, 2)] * self.tasks]
    adapted = [
      (ranks[name], shape[0])
      for _ in range(1, self.tasks)
      for name, shape in shapes.items()
      if ranks
    ]
    drawn = _drawn(key, [*wanted, *adapted])
    xavier = iter(x * (2 / sum(x.shape)) ** 0.5 for x in drawn[: len(wanted)])
    down = iter(x / len(x) for x in drawn[len(wanted) :])
    kernels = dict(zip(shapes, xavier, strict=False))
    norms = {
      f"block_{i}_norm_{j}": {"scale": jnp.ones(d), "bias": jnp.zeros(d)}
      for i in range(self.blocks)
      for j in (1, 2)
    }
    # Queries, keys and values and the pooling have no bias.
    biases = {
      name: jnp.zeros(shape[1])
      for name, shape in shapes.items()
      if not name.endswith(("qkv", "pool"))
    }
    made: dict[str, PyTree] = {
      "base": {
        "kernels": kernels,
        "biases": biases,
        "norms": norms,
        "scorer": next(xavier)[:, 0],
      }
    }
    for t in range(self.tasks):
      made[f"head_{t}"] = {"kernel": next(xavier), "bias": jnp.zeros(2)}
      if t and ranks:
        made[f"adapter_{t}"] = {
          name: lora.unused(next(down), shape[1])
          for name, shape in shapes.items()
        }
    return made

  def adapters(self, params: PyTree, name: str) -> list[lora.Adapter]:
    """The adapters of a kernel, in the order of their tasks."""
    groups = (params.get(f"adapter_{t}") for t in range(1, self.tasks))
    return [group[name] for group in groups if group]

  def merged(self, params: PyTree) -> dict[str, PyTree]:
    """The base with all adapters in its kernels."""
    base = dict(params["base"])
    base["kernels"] = {
      name: lora.merged(kernel, self.adapters(params, name))
      for name, kernel in base["kernels"].items()
    }
    return base

  def heads_of(self, params: PyTree) -> tuple[Array, Array]:
    """Kernel [d k] and bias [k] of the heads of all tasks, side by side."""
    heads = [params[f"head_{t}"] for t in range(self.tasks)]
    return (
      jnp.concatenate([head["kernel"] for head in heads], axis=1),
      jnp.concatenate([head["bias"] for head in heads]),
    )

  def one(
    self,
    base: PyTree,
    heads: tuple[Array, Array],
    vectors: Float[ArrayLike, "n c"],
    valid: Bool[ArrayLike, " n"],
    places: Float[ArrayLike, "n 2"],
    key: jax.Array | None,
  ) -> Seen:
    """What the network makes of one bag.

    Args:
      base: `merged`.
      heads: `heads_of`.
      vectors: the instances.
      valid: False for padding.
      places: of the instances; "strided" groups do not read them.
      key: of a step of training.
    """
    x, _ = self._blocks(base, vectors, valid, places, key)
    scores = jnp.tanh(x @ base["kernels"]["pool"]) @ base["scorer"]
    scores = jnp.where(jnp.asarray(valid), scores, -jnp.inf)
    attended = jax.nn.softmax(scores)
    bag = attended @ x
    return Seen(x, attended, bag, bag @ heads[0] + heads[1])

  def contexts(
    self,
    base: PyTree,
    vectors: Float[ArrayLike, "n c"],
    valid: Bool[ArrayLike, " n"],
    places: Float[ArrayLike, "n 2"],
  ) -> list[Context]:
    """What the instances of a bag see of it in each block."""
    return self._blocks(base, vectors, valid, places, None)[1]

  def among(
    self,
    base: PyTree,
    contexts: list[Context],
    vectors: Float[ArrayLike, "r c"],
  ) -> Float[jax.Array, "r d"]:
    """Features of instances that are looked at in a bag, but not part of it.

    Args:
      base: `merged`.
      contexts: of the bag.
      vectors: of the instances.
    """
    x = self._embedded(base, vectors, None)
    for i, seen in enumerate(contexts):
      x = self._through(base, i, x, seen, None)
    return x

  def _blocks(
    self, base: PyTree, vectors: Any, valid: Any, places: Any, key: Any
  ) -> tuple[Array, list[Context]]:
    x, found = self._embedded(base, vectors, key), []
    if not self.blocks:
      return x, found
    if self.grouping == "region":
      groups = grouping.region(places, valid, self.side)
    else:
      groups = grouping.strided(valid, self.side)
    for i in range(self.blocks):
      weights = self._block(base, i)
      found.append(
        attention.context(x, valid, groups, weights, self.heads, self.chunk)
      )
      x = self._through(base, i, x, found[-1], key)
    return x, found

  def _embedded(self, base: PyTree, vectors: Any, key: Any) -> Array:
    x = jnp.asarray(vectors) @ base["kernels"]["embed"]
    x = jax.nn.relu(x + base["biases"]["embed"][None])
    return Dropout(self.dropout[0], key)(x, 0)

  def _through(
    self, base: PyTree, number: int, x: Array, seen: Context, key: Any
  ) -> Array:
    if key is not None:
      key = jax.random.fold_in(key, number + 1)
    return attention.through(
      x,
      seen,
      self._block(base, number),
      self.heads,
      self.chunk,
      Dropout(self.dropout[1], key),
    )

  def _block(self, base: PyTree, number: int) -> dict[str, Any]:
    start = f"block_{number}_"
    kernels, biases = base["kernels"], base["biases"]
    layers = {
      name: {"kernel": kernels[start + name], "bias": biases[start + name]}
      for name in ("proj", "fc_1", "fc_2")
    }
    norms = {name: base["norms"][start + name] for name in ("norm_1", "norm_2")}
    return {**layers, **norms, "qkv": kernels[f"{start}qkv"]}

  def bags(
    self,
    params: PyTree,
    vectors: Float[ArrayLike, "b n c"],
    valid: Bool[ArrayLike, "b n"],
    places: Float[ArrayLike, "b n 2"],
    keys: jax.Array | None = None,
  ) -> Seen:
    """What the network makes of a batch of bags; each alone.

    Args:
      params: of the state.
      vectors: the instances, padded.
      valid: False for padding.
      places: of the instances.
      keys: of each bag's randomness [b], in training.
    """
    base, heads = self.merged(params), self.heads_of(params)

    def one(vectors: Any, valid: Any, places: Any, key: Any) -> Seen:
      return self.one(base, heads, vectors, valid, places, key)

    axes = (0, 0, 0, None if keys is None else 0)
    return jax.vmap(one, in_axes=axes)(vectors, valid, places, keys)


def _drawn(key: jax.Array, shapes: list[tuple[int, int]]) -> list[Array]:
  """Normal numbers in some shapes, by one draw: it compiles sooner."""
  sizes = [a * b for a, b in shapes]
  flat = jax.random.normal(key, (sum(sizes),))
  parts = jnp.split(flat, np.cumsum(sizes)[:-1])
  return [x.reshape(s) for x, s in zip(parts, shapes, strict=True)]


def probabilities(
  attended: Float[ArrayLike, " n"], valid: Bool[ArrayLike, " n"]
) -> Float[jax.Array, " n"]:
  """p_m = (a_m - min a) / max a: how positive an instance is; 0 of padding."""
  attended, valid = jnp.asarray(attended), jnp.asarray(valid)
  low = jnp.min(jnp.where(valid, attended, jnp.inf))
  high = jnp.max(jnp.where(valid, attended, -jnp.inf))
  # Where the compiler computes `attended` twice, a - min a may be below 0.
  off = jnp.maximum(attended - low, 0.0)
  return jnp.where(valid, off / (high + _LEAST), 0.0)

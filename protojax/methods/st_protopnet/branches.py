"""Several branches of add-on and prototypes on one backbone, as one `Network`.

The features of the branches are concatenated along the channels, and a
prototype is zero outside its branch's channels. So its product with all
features is that within its branch, and the logits are the sums of the branches'
logits. Push, head and explanations see p prototypes with n * d channels; the
forward path compares each branch with its own d channels only.
"""

import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.prototypes import distance, pooling, similarity
from protojax.prototypes.layer import AddOn
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, UserError


class BranchedAddOn(nn.Module):
  """The same add-on for every branch, each with its own weights.

  Attributes:
    add_on: of one branch.
    count: n, the number of branches.
    unit: brings each branch's features to length one, for cosines.
  """

  add_on: AddOn
  count: int
  unit: bool = False

  @nn.compact
  def __call__(
    self,
    features: Float[ArrayLike, "b h w c"],
    shift: Float[ArrayLike, " c"] | None = None,
    scale: Float[ArrayLike, " c"] | None = None,
  ) -> Float[jax.Array, "b h w e"]:
    """Features of all branches, e = n * d, the first branch first.

    Parameters have the branches as their first axis.
    """
    every = nn.vmap(
      AddOn,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=None,
      out_axes=3,
      axis_size=self.count,
    )
    a = self.add_on
    z = every(a.channels, a.kind, a.final, a.hidden, name="branches")(
      features, shift, scale
    )
    return _joined(distance.direction(z) if self.unit else z)


class BranchedLayer(nn.Module):
  """The prototypes of all branches; finds the nearest patch of each.

  Its one parameter, "prototypes" [p 1 1 e], has the branches' rows one after
  the other. Each row is zero outside its branch's channels. There it starts
  uniform in (0, 1), scaled to length one unless `raw` (ST-ProtoPNet's code does
  not scale it); it is compared at length one.

  Attributes:
    count: p, of all branches.
    channels: e, of all branches.
    branches: n; divides both.
    similarity: the metric, one of this module's.
    raw: prototypes start as long as they are drawn.
  """

  count: int
  channels: int
  branches: int
  similarity: Similarity
  raw: bool = False
  height: int = 1
  width: int = 1

  @nn.compact
  def __call__(self, features: Float[ArrayLike, "b h w e"]) -> pooling.Nearest:
    """Smallest distance and its cell: `pooling.nearest`, branch by branch."""

    def start(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
      drawn = blocks(jax.random.uniform(key, shape), self.branches)
      return diagonal(drawn if self.raw else distance.direction(drawn))

    shape = (self.count, 1, 1, self.channels)
    bank = cut(self.param("prototypes", start, shape), self.branches)
    each = jnp.split(jnp.asarray(features), self.branches, axis=-1)
    found = [
      pooling.nearest(z, p[:, None, None], self.similarity)
      for z, p in zip(each, bank, strict=True)
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *found)


def cut(
  prototypes: Float[ArrayLike, "p 1 1 e"], branches: int
) -> Float[jax.Array, "n q d"]:
  """The prototypes of each branch in its own channels, at length one."""
  return distance.direction(blocks(prototypes, branches))


def blocks(
  prototypes: Float[ArrayLike, "p 1 1 e"], branches: int
) -> Float[jax.Array, "n q d"]:
  """The prototypes of each branch in its own channels, as long as they are."""
  count, _, _, channels = prototypes.shape
  each = count // branches, channels // branches
  every = jnp.reshape(
    jnp.asarray(prototypes), (branches, each[0], branches, each[1])
  )
  own = jnp.arange(branches)
  return every[own, :, own]


def diagonal(every: Float[ArrayLike, "n q d"]) -> Float[jax.Array, "p 1 1 e"]:
  """Prototypes of all branches, zero outside their branch's channels."""
  every = jnp.asarray(every)
  branches, each, channels = every.shape
  own = jnp.eye(branches)[:, None, :, None]
  wide = every[:, :, None] * own
  return wide.reshape(branches * each, 1, 1, branches * channels)


def directions(
  embedded: Float[ArrayLike, "b h w e"], branches: int
) -> Float[jax.Array, "b h w e"]:
  """Features with the channels of each branch at length one."""
  each = jnp.stack(jnp.split(jnp.asarray(embedded), branches, axis=-1), 3)
  return _joined(distance.direction(each))


def load(name: str) -> Similarity:
  """The similarity called `name`; `UserError` with the names otherwise."""
  if name not in _ALL:
    raise UserError(
      f"similarity {name!r} is not one of branches; choose one of"
      f" {', '.join(_ALL)}."
    )
  return _ALL[name]


def _joined(each: Float[jax.Array, "b h w n d"]) -> Float[jax.Array, "b h w e"]:
  return each.reshape(*each.shape[:3], -1)


def _complement(distances: Float[ArrayLike, "*n"]) -> Float[jax.Array, "*n"]:
  return jnp.subtract(1.0, distances)


def _rectified(distances: Float[ArrayLike, "*n"]) -> Float[jax.Array, "*n"]:
  return nn.relu(jnp.subtract(1.0, distances))


def _distance(
  features: Float[ArrayLike, "b h w e"], prototypes: Float[ArrayLike, "p 1 1 e"]
) -> Float[jax.Array, "b h w p"]:
  return 1.0 + _PROJECTION.distance(features, prototypes)


def _apart(
  patches: Float[ArrayLike, "*n e"], prototypes: Float[ArrayLike, "*m e"]
) -> Float[jax.Array, "*l"]:
  return 1.0 + _PROJECTION.apart(patches, prototypes)


_PROJECTION = similarity.load("projection")
# With features and prototypes at length one in each branch, the product is the
# cosine.
_COSINE = dataclasses.replace(
  _PROJECTION,
  name="cosine",
  distance=_distance,
  apart=_apart,
  activation=_complement,
  inverse=_complement,
  span=lambda size: 2.0,
)
_ALL = {
  s.name: s
  for s in (
    _PROJECTION,
    _COSINE,
    dataclasses.replace(
      _COSINE, name="relu_cosine", activation=_rectified, span=lambda size: 1.0
    ),
  )
}

"""Groups of prototypes in words: what each is made of."""

from typing import NamedTuple

import jax
import numpy as np

from protojax.methods.scaleprotoseg import judging
from protojax.methods.scaleprotoseg.network import Network
from protojax.types import State


class Member(NamedTuple):
  """A prototype in a group.

  Attributes:
    prototype: its number in the bank.
    scale: from 1.
    weight: of it in the group; 1 where a prototype stands for itself.
  """

  prototype: int
  scale: int
  weight: float


class Unit(NamedTuple):
  """What the head adds up: a group of prototypes, or one of them.

  Attributes:
    name: such as "group 2" or "prototype 17".
    members: the prototypes with a weight that counts, the largest first.
  """

  name: str
  members: tuple[Member, ...]

  @property
  def text(self) -> str:
    """Such as "0.60 x prototype 17 (scale 2), 0.40 x prototype 4 (scale 1)"."""
    return ", ".join(
      f"{x.weight:.2f} x prototype {x.prototype} (scale {x.scale})"
      for x in self.members
    )


def units_of(network: Network, state: State) -> list[list[Unit]]:
  """By class: its groups or, without groups, its prototypes by scale.

  A prototype that is dead is a unit without members.
  """
  s, k, m = network.shape
  alive = np.asarray(jax.device_get(network.bank(state).alive))
  numbers = np.arange(s * k * m).reshape(s, k, m)
  of_class = numbers.swapaxes(0, 1).reshape(k, -1)
  scale = np.repeat(np.arange(1, s + 1), m)
  if not (network.groups and bool(state.buffers["grouped"])):
    return [
      [
        Unit(
          f"prototype {p}",
          (Member(int(p), int(scale[n]), 1.0),) if alive[p] else (),
        )
        for n, p in enumerate(own)
      ]
      for own in of_class
    ]
  weights = judging.group_weights(network, state)
  return [
    [
      Unit(f"group {g + 1}", _members(of_class[c], scale, weights[c, g]))
      for g in range(network.groups)
    ]
    for c in range(k)
  ]


def _members(
  own: np.ndarray, scale: np.ndarray, weights: np.ndarray
) -> tuple[Member, ...]:
  order = np.argsort(-weights, kind="stable")
  return tuple(
    Member(int(own[n]), int(scale[n]), float(weights[n]))
    for n in order
    if weights[n] >= judging.USED
  )

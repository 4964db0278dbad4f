"""Grad-CAM: which features speak for a score, and where they are.

`split` finds the last feature map of any function in its jaxpr, so that no
layer needs to be named. `attribution` calls `grad_cam` for prototypes,
`heatmap` for a function of the user's.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax.extend.core import JaxprEqn
import jax.numpy as jnp
from jaxtyping import Float, Num

from protojax.heat import gradients, interpreter, similarity_map
from protojax.types import Array, ArrayLike, UserError

# Calls whose steps are looked at one by one. Others are one step, which keeps
# its own derivative, such as that of ReLU at 0.
_ENTERED = ("closed_call", "core_call", "jit", "pjit")


def grad_cam(
  head: gradients.Scores,
  features: Float[Array, "b h w d"],
  at_once: int = gradients.AT_ONCE,
) -> Float[Array, "b q h w"]:
  """Sum of the features times their mean gradients, where above 0.

  Equations 1 and 2 of Selvaraju et al., ICCV 2017.

  Args:
    head: features -> scores, differentiable.
    features: the feature map.
    at_once: backward passes in one.
  """
  pulled = gradients.gradient(head, features, at_once)
  weights = jnp.mean(pulled, axis=(2, 3))
  maps = jnp.einsum("bqd,bhwd->bqhw", weights, features, precision="highest")
  return jax.nn.relu(maps)


def upsampled(
  maps: Float[Array, "b q h w"], height: int, width: int
) -> Float[Array, "b q {height} {width}"]:
  """Maps of cells at the size of the image, by cubic interpolation."""
  flat = maps.reshape(-1, *maps.shape[2:])
  return similarity_map.upsample(flat, height, width).reshape(
    *maps.shape[:2], height, width
  )


def split(
  scores: gradients.Scores, images: Num[ArrayLike, "b H W c"]
) -> tuple[Float[Array, "b h w d"], gradients.Scores]:
  """The last feature map of a function, and the function from there on.

  The map is the last value with the axes b h w d of the steps from images to
  scores that has more than one cell, and is not of the shape of the images.

  Args:
    scores: images -> scores.
    images: the images to explain.

  Raises:
    UserError: the function has no such map.
  """
  images = jnp.asarray(images, jnp.float32)
  closed = jax.make_jaxpr(scores)(images)

  def walk(images: Array, change: Callable[[int, Array], Array]) -> Array:
    steps = _Steps(images.shape, change)
    (found,) = interpreter.run(
      closed.jaxpr, closed.consts, [_Seen(images)], (_Seen,), steps.rule
    )
    return found.value if isinstance(found, _Seen) else found

  maps: list[Any] = []

  def note(number: int, value: Array) -> Array:
    del number
    maps.append(value)
    return value

  walk(images, note)
  if not maps:
    raise UserError(
      "Grad-CAM needs a feature map [images, rows, columns, channels] between"
      " the images and the scores, and this function has none. Take another"
      " kind of heat map, such as integrated_gradients."
    )
  last = len(maps) - 1

  def head(features: Array) -> Array:
    return walk(images, lambda n, value: features if n == last else value)

  return maps[last], head


@dataclasses.dataclass(frozen=True)
class _Seen:
  """A value that depends on the images."""

  value: Array


@dataclasses.dataclass
class _Steps:
  """Runs steps, and passes each feature map through `change`."""

  image: tuple[int, ...]
  change: Callable[[int, Array], Array]
  count: int = 0

  def rule(self, eqn: JaxprEqn) -> interpreter.Rule:
    """For `interpreter.run`."""
    return None if eqn.primitive.name in _ENTERED else self._step

  def _step(self, eqn: JaxprEqn, *inputs: Any) -> list[_Seen]:
    values = [x.value if isinstance(x, _Seen) else x for x in inputs]
    return [_Seen(self._seen(y)) for y in interpreter.bind(eqn, values)]

  def _seen(self, value: Array) -> Array:
    shape = value.shape
    if (
      len(shape) != 4
      or shape == self.image
      or shape[0] != self.image[0]
      or shape[1] * shape[2] == 1
      or not jnp.issubdtype(value.dtype, jnp.floating)
    ):
      return value
    self.count += 1
    return self.change(self.count - 1, value)

"""In tests, arguments and results have the shapes that signatures say."""

import jax
import jaxtyping
from jaxtyping import Float
import numpy as np
import pytest

from protojax.prototypes import distance
from tests import type_checks


def test_the_package_is_checked():
  cells, prototypes = np.ones((1, 2, 2, 3)), np.ones((4, 1, 1, 3))
  jax.eval_shape(distance.squared_l2, cells, prototypes)
  with pytest.raises(jaxtyping.TypeCheckError, match="features"):
    jax.eval_shape(distance.squared_l2, cells[0], prototypes)


@jaxtyping.jaxtyped(typechecker=type_checks.lazily)
def turned(
  x: Float[np.ndarray, "a b"], /, *more: int, times: int = 1, **others: str
) -> Float[np.ndarray, "b a"]:
  return x if times == 1 else x.swapaxes(0, 1)


def test_axes_of_a_result_are_those_of_the_arguments():
  assert turned(np.zeros((2, 3)), times=3).shape == (3, 2)
  assert turned(np.zeros((2, 2)), 1, 2, b="c").shape == (2, 2)
  with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
    turned(np.zeros((2, 3)))


@pytest.mark.parametrize(
  ("arguments", "keywords", "named"),
  [
    ((np.zeros(3),), {}, "x"),
    ((np.zeros((1, 1), int),), {}, "x"),
    ((np.zeros((1, 1)), "a"), {}, "more"),
    ((np.zeros((1, 1)),), {"times": 1.5}, "times"),
    ((np.zeros((1, 1)),), {"b": 1}, "others"),
  ],
)
def test_arguments_are_checked(arguments, keywords, named):
  with pytest.raises(jaxtyping.TypeCheckError, match=f"parameter '{named}'"):
    turned(*arguments, **keywords)


def test_a_function_without_a_result_is_checked():

  @jaxtyping.jaxtyped(typechecker=type_checks.lazily)
  def nothing(x: int) -> None:
    return x or None

  nothing(0)
  with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
    nothing(1)
  with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
    nothing("a")

"""The method on the debug config: zero start, drawing by class, bad input."""

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.methods.base import needed
from protojax.types import State, UserError

SMALL = {"label": np.int32([3, 7, 1]), "steps": 2, "guidance": 1.5}


@pytest.fixture(scope="module")
def method():
  return methods.load(promoe_folder.get_config("debug"))


@pytest.fixture(scope="module")
def state(method):
  """Random, also where a network begins with zeros; nothing is compiled."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  weights = jax.tree.map(
    lambda x: np.float32(0.2 * rng.normal(size=x.shape)),
    shapes.params["network"],
  )
  return State({"network": weights}, {}, {}, {"average": weights})


@pytest.fixture(scope="module")
def drawn(method, state):
  generates = needed(method, "generates")
  return generates.generate(state, SMALL, parallel.key(5), 3)


def test_an_image_depends_on_the_key_and_its_number(method, state, drawn):
  generates = needed(method, "generates")
  assert drawn.shape == (3, 8, 8, 3)
  assert drawn.dtype == np.uint8
  assert drawn.std() > 10
  later = {**SMALL, "label": np.int32([1, 0, 0])}
  others = generates.generate(state, later, parallel.key(5), 3, start=2)
  np.testing.assert_allclose(others[0].astype(int), drawn[2], atol=1)
  other = generates.generate(state, SMALL, parallel.key(6), 3)
  assert (other != drawn).mean() > 0.2


@pytest.mark.slow
def test_the_way_of_each_token_is_told(method, state):
  generates = needed(method, "generates")
  images, way = generates.traced(state, SMALL, parallel.key(5), 3)
  assert way["experts"].shape == (3, 2, 2, 16)
  # A class is given: never the unconditional expert.
  assert set(np.unique(way["experts"])) <= {0, 1, 2}
  assert way["times"].tolist() == [[1000, 500]] * 3
  assert images.shape == (3, 8, 8, 3)


@pytest.mark.parametrize(
  ("conditions", "said"),
  [
    ({"label": 10}, r"label \[10\]: the run knows 10 classes, 0 \(0\) to 9"),
    ({"label": [1, -1, 3]}, r"label \[-1\]"),
    ({"label": [1, 2]}, "2 labels for 3 images"),
    ({"guidance": -1}, "guidance -1: give 1"),
    ({"steps": 0}, "0 steps of a sampler"),
    ({"colour": 1}, "no condition colour: images are drawn by label"),
  ],
)
def test_bad_conditions_are_refused(method, state, conditions, said):
  generates = needed(method, "generates")
  with pytest.raises(UserError, match=said):
    generates.generate(state, conditions, parallel.key(0), 3)

"""The method on the debug config: zero start, drawing by class, bad input."""

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_folder
from protojax.methods.base import needed
from protojax.types import UserError

SMALL = {"label": np.int32([3, 7, 1]), "steps": 2, "guidance": 1.5}


@pytest.fixture(scope="module")
def method():
  return methods.load(promoe_folder.get_config("debug"))


@pytest.fixture(scope="module")
def state(method):
  """Random, and not zero where a network begins with zeros."""
  made = jax.jit(method.init)(parallel.init_key(0))
  rng = np.random.default_rng(0)
  average = jax.tree.map(
    lambda x: np.float32(x + 0.1 * rng.normal(size=x.shape)),
    made.params["network"],
  )
  return made.replace(memory={"average": average})


@pytest.fixture(scope="module")
def drawn(method, state):
  generates = needed(method, "generates")
  return generates.generate(state, SMALL, parallel.key(5), 3)


def test_an_image_depends_on_the_key_and_its_number(method, state, drawn):
  generates = needed(method, "generates")
  assert drawn.shape == (3, 8, 8, 3)
  assert drawn.dtype == np.uint8
  assert drawn.std() > 10
  last = {**SMALL, "label": SMALL["label"][2]}
  one = generates.generate(state, last, parallel.key(5), 1, start=2)
  np.testing.assert_allclose(one[0].astype(int), drawn[2], atol=1)
  other = generates.generate(state, SMALL, parallel.key(6), 3)
  assert (other != drawn).mean() > 0.2


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

"""Sanity checks on models with wrong prototypes."""

import numpy as np

from protojax.explain import sanity
from protojax.explain.context import Context
from tests.explain import explain_fakes as fakes


def _check(model, state, split="train"):
  return sanity.check(Context(model, state, model.train, split, fakes.PRESET))


def test_nothing_is_told_of_a_sound_model():
  assert _check(*fakes.trained()) == ()


def test_patches_of_another_class_are_told():
  model, state = fakes.trained()
  class_of = state.buffers["class_of"].copy()
  (others,) = np.nonzero(class_of == 1)
  provenance = state.buffers["provenance"]
  image = provenance.image.copy()
  image[0] = image[others[0]]
  wrong = provenance.replace(image=image)
  state = state.replace(buffers={**state.buffers, "provenance": wrong})
  (told,) = _check(model, state)
  assert "1 prototypes are patches of images of another class" in told
  assert "0 (class 1)" in told
  # No prototype was pushed to a test image.
  assert _check(model, state, "test") == ()


def test_weights_for_another_class_are_told_unless_the_prototype_is_dead():
  model, state = fakes.trained(dead=(5,))
  weight = state.params["head"]["weight"].copy()
  weight[0, [4, 5, 7]] = 9.0
  params = {**state.params, "head": {"weight": weight}}
  (told,) = _check(model, state.replace(params=params))
  assert told.startswith("2 prototypes have a larger weight for another class")
  assert "4 (class 0), 7 (class 0)." in told

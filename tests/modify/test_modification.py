"""Modifications: bytes to bytes, strengths, and wrong names."""

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest
from skimage import data

from protojax.modify import presets
from protojax.modify.modification import Modification, modify
from protojax.types import UserError

IMAGES = np.stack([data.chelsea()[100:137, 120:173], data.coffee()[:37, :53]])
MODIFICATIONS = presets.REFERENCE.modifications


def _name(modification):
  return modification.name


@pytest.mark.parametrize("modification", MODIFICATIONS, ids=_name)
def test_every_modification_is_bytes_to_bytes_of_one_image(modification):
  together = modify(IMAGES, modification)
  assert together.shape == IMAGES.shape
  assert together.dtype == np.uint8
  changed = (np.asarray(together) != IMAGES).any()
  assert changed == (modification.name != "identity")
  each = jax.vmap(lambda image: modify(image[None], modification)[0])
  assert_array_equal(each(IMAGES), together)


@pytest.mark.parametrize("modification", MODIFICATIONS[1:], ids=_name)
def test_strengths_that_change_nothing(modification):
  by_factor = "factor" in modification.settings
  still = modification.at(1.0 if by_factor else 0.0)
  assert still.strengths[1:] == modification.strengths[1:]
  assert_array_equal(modify(IMAGES, still), IMAGES)


def test_strengths_have_names_and_defaults():
  warp = Modification("shape", "warp", (2.0,))
  assert warp.settings == {"amplitude": 2.0, "frequency": 0.05}
  assert warp == Modification("shape", "warp", (2.0, 0.05))
  assert str(warp) == "warp: amplitude 2, frequency 0.05"
  assert str(MODIFICATIONS[0]) == "identity"


def test_unknown_change_names_the_nearest_and_all():
  with pytest.raises(UserError, match=r"of x: 'contrst'; did you mean contr"):
    Modification("x", "contrst", (1.0,))
  with pytest.raises(UserError, match=r"of x: 'fuzzy'; there are identity, c"):
    Modification("x", "fuzzy")


@pytest.mark.parametrize(
  ("change", "strength", "wanted"),
  [
    ("hue", 0.6, "turn=0.6 is out of range; use a number from -0.5 to 0.5"),
    ("contrast", -0.1, "factor=-0.1 is out of range; .* from 0 to 1000"),
    ("texture", float("nan"), "h=nan is out of range"),
  ],
)
def test_strength_out_of_range(change, strength, wanted):
  with pytest.raises(UserError, match=wanted):
    Modification("mine", change, (strength,))


@pytest.mark.parametrize("strengths", [(), (1.0, 2.0)])
def test_number_of_strengths(strengths):
  with pytest.raises(UserError, match="strengths for the change contrast; it"):
    Modification("contrast", "contrast", strengths)

"""Boxes and heat maps, against the maps that they are made of."""

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.heat import attribution, colormap, similarity_map
from protojax.heat.maps import ATTRIBUTIONS, HeatMaps
from protojax.types import UserError
from tests.explain import explain_fakes as fakes

PROTOTYPES = [3, 0, 7]


def _whole(model, state):
  """What the attributions are asked for an image, by hand."""
  images = fakes.photographs(1, seed=4)
  prototypes = state.params["prototypes"]["prototypes"][PROTOTYPES][None]
  _, cells = model.nearest(state, model.features(images))
  return images, prototypes, cells[:, np.array(PROTOTYPES)]


@pytest.mark.parametrize("heat", ATTRIBUTIONS)
def test_boxes_frame_similarity_and_heat_shows_what_was_asked(heat):
  model, state = fakes.trained()
  images, prototypes, cells = _whole(model, state)
  seen = HeatMaps(model, state, heat)(images[0], PROTOTYPES, index=5)
  asked = model.features, images, prototypes
  similar = attribution.upsampling(*asked, model.similarity)[0]
  boxes = similarity_map.percentile_box(np.asarray(similar))
  assert_array_equal([box for box, _ in seen], boxes)
  repeated = np.repeat(images, len(PROTOTYPES), axis=0)
  if heat == "upsampling":
    expected = colormap.overlay(repeated, similar)
    assert_array_equal([picture for _, picture in seen], expected)
  pictures = np.array([picture for _, picture in seen])
  assert pictures.shape == (3, 32, 32, 3)
  assert (pictures.std(axis=0) > 0).any()
  if heat == "saliency":
    # The gradient lies in the tile that is the cell; nothing outside is hot.
    found = attribution.saliency(*asked, cells, model.similarity)[0]
    row, column = np.divmod(np.asarray(cells)[0], 4)
    for map_, y, x in zip(np.asarray(found), row, column, strict=True):
      inside = np.zeros((32, 32), bool)
      inside[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = True
      assert (map_[inside] > 0).all()
      assert not map_[~inside].any()


def test_features_that_are_there_are_not_made_again():
  model, state = fakes.trained()
  images, _, _ = _whole(model, state)
  heat_maps = HeatMaps(model, state)
  embedded = np.asarray(model.embed(state, images))[0]
  for (box, heat), (same_box, same_heat) in zip(
    heat_maps(images[0], PROTOTYPES),
    heat_maps(np.zeros_like(images[0]), PROTOTYPES, embedded=embedded),
    strict=True,
  ):
    assert box == same_box
    # The black picture shows the heat alone.
    assert np.abs(heat.astype(int) - images[0] / 2 - same_heat).max() <= 1


def test_noise_is_of_the_image_alone():
  model, state = fakes.trained()
  image = fakes.photographs(1, seed=4)[0]
  heat_maps = HeatMaps(model, state, "smoothgrad")
  # More prototypes than go through at once.
  many = heat_maps(image, list(range(12)), index=5)
  few = heat_maps(image, [9, 2], index=5)
  for (box, heat), j in zip(few, (9, 2), strict=True):
    assert box == many[j][0]
    assert np.abs(heat.astype(int) - many[j][1]).max() <= 1


def test_an_unknown_attribution_is_named():
  model, state = fakes.trained()
  with pytest.raises(UserError, match=r"'saliencey'; did you mean saliency"):
    HeatMaps(model, state, "saliencey")

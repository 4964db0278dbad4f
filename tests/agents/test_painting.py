"""Pictures of scenes show what their facts say, and nothing else moves."""

import numpy as np
import pytest

from protojax.agents import painting, scenes
from protojax.agents.scenes import ATTRIBUTES, TYPES, Scenes

pytest.importorskip("skimage", reason="needs the demo extra")


def scene(*things, whole=(0, 0)):
  """(type, attributes, place) of each thing -> one scene."""
  there = np.zeros((1, len(TYPES)), bool)
  attributes = np.zeros((1, len(TYPES), len(ATTRIBUTES)), np.int32)
  at = np.zeros((1, len(TYPES), 2))
  for name, own, place in things:
    t = TYPES.index(name)
    there[0, t], attributes[0, t], at[0, t] = True, own, place
  return Scenes(there, attributes, np.array([whole], np.int32), at)


def together(*some):
  return Scenes(*(np.concatenate(x) for x in zip(*some, strict=True)))


COIN = "coin", (0, 1, 0), (0.0, 0.0)


@pytest.fixture(scope="module")
def pictures():
  """By name; in one call, for each size of a batch is compiled."""
  made = {
    "nothing": scene(),
    "coin": scene(COIN),
    "green": scene(("coin", (1, 1, 0), (0, 0))),
    "blue": scene(("coin", (2, 1, 0), (0, 0))),
    "small": scene(("coin", (0, 0, 0), (0, 0))),
    "large": scene(("coin", (0, 2, 0), (0, 0))),
    "striped": scene(("coin", (0, 1, 1), (0, 0))),
    "dotted": scene(("coin", (0, 1, 2), (0, 0))),
    "left": scene(("coin", (0, 1, 0), (-1, 0))),
    "above": scene(("coin", (0, 1, 0), (0, -1))),
    "sketch": scene(COIN, whole=(0, 1)),
    "mosaic": scene(COIN, whole=(0, 2)),
    "orange": scene(COIN, whole=(2, 0)),
    "both": scene(("coin", (0, 2, 0), (0, 0)), ("cup", (1, 0, 0), (0, 0))),
  } | {name: scene((name, (0, 1, 0), (0, 0))) for name in TYPES[1:]}
  found = painting.paint(together(*made.values())).astype(float)
  return dict(zip(made, found, strict=True))


def changed(pictures, name):
  """Pixels in which a picture is not the empty one."""
  return np.abs(pictures[name] - pictures["nothing"]).max(-1) > 4


def test_the_background_is_its_colour(pictures):
  assert (pictures["nothing"] == round(255 * 0.93)).all()
  away = ~changed(pictures, "coin")
  orange = pictures["orange"][away]
  np.testing.assert_array_equal(np.unique(orange, axis=0), [[242, 140, 26]])


def test_a_thing_has_its_colour(pictures):
  for channel, name in enumerate(("coin", "green", "blue")):
    mean = pictures[name][changed(pictures, name)].mean(0)
    assert mean.argmax() == channel
    assert mean.max() > 2 * np.sort(mean)[1]


def test_its_size_is_in_pixels(pictures):
  """Those of an ellipse in a square of so many pixels."""
  for name, side in (("small", 14), ("coin", 20), ("large", 27)):
    area = changed(pictures, name).sum()
    piece = 56 / 59  # height of the coin's piece over its width
    np.testing.assert_allclose(area, np.pi / 4 * side**2 * piece, rtol=0.12)


def test_textures_darken_half_and_a_quarter(pictures):
  plain = pictures["coin"]
  inside = changed(pictures, "coin")
  for name, share in (("striped", 1 / 2), ("dotted", 1 / 4)):
    darker = (pictures[name] < plain - 1).any(-1)
    assert not darker[~inside].any()
    np.testing.assert_allclose(darker.sum() / inside.sum(), share, atol=0.1)


def test_it_is_where_it_is(pictures):
  middle = np.argwhere(changed(pictures, "coin")).mean(0)
  for name, moved in (("left", (0, -19)), ("above", (-19, 0))):
    found = np.argwhere(changed(pictures, name)).mean(0) - middle
    np.testing.assert_allclose(found, moved, atol=0.6)


def test_styles(pictures):
  sketch = pictures["sketch"]
  assert (sketch == sketch[..., :1]).all()
  grey = pictures["coin"] @ np.array([0.299, 0.587, 0.114])
  np.testing.assert_allclose(sketch[..., 0], grey, atol=1)
  blocks = pictures["coin"].reshape(16, 4, 16, 4, 3).mean((1, 3))
  np.testing.assert_allclose(
    pictures["mosaic"], blocks.repeat(4, 0).repeat(4, 1), atol=1
  )


def test_smaller_things_are_in_front(pictures):
  found = pictures["both"][changed(pictures, "small")].mean(0)
  assert found.argmax() == 1


def test_things_differ(pictures):
  levels = [pictures[name][..., 0] for name in TYPES]
  for i, one in enumerate(levels):
    for other in levels[i + 1 :]:
      assert np.abs(one - other).mean() > 0.5


def test_no_scene_is_no_picture():
  some = scene(COIN)
  empty = Scenes(*(x[:0] for x in some))
  assert painting.paint(empty).shape == (0, 64, 64, 3)


@pytest.mark.slow
def test_weights_are_how_far_pictures_change():
  found = painting.weights(scenes.draw(200, seed=0), count=24)
  every = [*found.things.values(), *found.whole.values(), found.relation]
  assert max(every) == 1
  assert min(every) > 0
  assert max(found.attributes.values()) == 1
  # The background fills the picture; a narrow thing changes little of it.
  assert found.whole["background"] == 1
  assert found.things["rocket"] == min(found.things.values())

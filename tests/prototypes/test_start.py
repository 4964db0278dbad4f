"""Prototypes that start as patches are patches, of their class, and differ."""

import dataclasses

from flax import traverse_util
import numpy as np
import pytest

from protojax import backbones
from protojax.prototypes.bank import bank_buffers, bank_params
from protojax.prototypes.start import pretrained, random_patches
from protojax.types import State, UserError
from protojax.weights import naming, reading


class _Stream:
  """Maps for images, so that every patch is known; padded at the end."""

  def __init__(self, maps, labels, batch_size=4):
    self.maps, self.labels, self.size = maps, labels, batch_size

  def some(self, indices):
    for start in range(0, len(indices), self.size):
      index = indices[start : start + self.size]
      mask = np.arange(self.size) < len(index)
      index = np.resize(index, self.size)
      yield {"image": self.maps[index], "index": index, "valid": mask}


def _rows(state, batch):
  return batch["image"]


def _start(seed=0, height=1, width=1):
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(10, 4, 5, 3)).astype(np.float32)
  labels = np.array([0, 1] * 5, np.int32)
  class_of = np.repeat([0, 1, 2], 4)
  before = np.full((12, height, width, 3), 7, np.float32)
  state = State(
    params={"prototypes": bank_params(before)},
    statistics={},
    buffers=bank_buffers(class_of),
  )
  found = random_patches(_rows, state, _Stream(maps, labels), seed)
  return maps, labels, class_of, found


def _sources(maps, patch):
  """Images and places where a patch stands."""
  height, width, _ = patch.shape
  return [
    (i, y, x)
    for i in range(len(maps))
    for y in range(maps.shape[1] - height + 1)
    for x in range(maps.shape[2] - width + 1)
    if np.array_equal(maps[i, y : y + height, x : x + width], patch)
  ]


def test_each_is_a_patch_of_another_image_of_its_class():
  for height, width in ((1, 1), (2, 3)):
    maps, labels, class_of, found = _start(0, height, width)
    taken = []
    for k, patch in zip(class_of[:8], found[:8], strict=True):
      ((image, _, _),) = _sources(maps, patch)
      assert labels[image] == k
      taken.append(image)
    assert len(set(taken)) == 8


def test_a_class_without_images_keeps_its_start():
  *_, found = _start()
  np.testing.assert_array_equal(found[8:], 7)


def test_the_seed_decides():
  one, again, other = _start(1)[3], _start(1)[3], _start(2)[3]
  np.testing.assert_array_equal(one, again)
  assert np.any(one != other)


@pytest.fixture
def file_of_weights(tmp_path):
  """A backbone, and weights of it as another library would save them."""
  own = naming.Layout("own", naming.naming())
  backbone = dataclasses.replace(backbones.load("convnet"), layouts=(own,))
  rng = np.random.default_rng(0)
  foreign = {}
  for path, leaf in traverse_util.flatten_dict(
    reading.shapes(backbone.module)
  ).items():
    array = rng.normal(size=leaf.shape).astype(np.float32)
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    foreign[own.foreign_name(path)] = array
  np.savez(tmp_path / "weights.npz", **foreign)
  return backbone, foreign, tmp_path / "weights.npz"


def test_weights_from_a_file(file_of_weights):
  backbone, foreign, path = file_of_weights
  before = State({"backbone": {}, "head": 1}, {"shift": 2}, {})
  state = pretrained(before, backbone, "convnet", str(path))
  assert (state.params["head"], state.statistics["shift"]) == (1, 2)
  np.testing.assert_array_equal(
    state.params["backbone"]["conv_2"]["kernel"],
    foreign["conv_2.weight"].transpose(2, 3, 1, 0),
  )
  np.testing.assert_array_equal(
    state.statistics["backbone"]["batch_stats"]["norm_1"]["var"],
    foreign["norm_1.running_var"],
  )


def test_weights_of_another_network(file_of_weights):
  backbone, foreign, path = file_of_weights
  state = State({"backbone": {}}, {}, {})
  kernel = foreign.pop("conv_1.weight")
  np.savez(path, **foreign, stem=kernel)
  with pytest.raises(UserError) as error:
    pretrained(state, backbone, "convnet", str(path))
  assert str(error.value).startswith(f"{path} is not of convnet: ")
  for part in "missing conv_1.weight", "superfluous stem":
    assert part in str(error.value)

"""Mode "reference": images of any size against the paper's procedure."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from skimage import data
from skimage.transform import resize

from protojax.explain import reference_mode
from protojax.explain.importance import compare
from protojax.modify import modification, presets
from protojax.types import UserError
from tests.explain import explain_fakes as fakes
from tests.modify import plain_script as script

SIZE = 32
PRESETS = {
  codec: presets.load("reference", "reference", codec)
  for codec in presets.CODECS
}
# All but the last are padded to 64 x 64.
PHOTOS = {
  "eye": data.chelsea()[100:161, 120:167],
  "tissue": data.immunohistochemistry()[20:53, 30:94],
  "grey stones": np.repeat(data.gravel()[:40, :33, None], 3, axis=-1),
  "small": data.coffee()[50:57, 60:73],
  "pixel": data.astronaut()[100:101, 60:61],
  "wide": resize(data.coffee()[150:190], (12, 400), preserve_range=True).astype(
    np.uint8
  ),
}


class Photos:
  """A source of images that have sizes of their own."""

  def __init__(self, *images):
    self.images = images

  def __getitem__(self, i):
    return {"image": self.images[i]}

  def name(self, i):
    return f"photo {i}"


def batch(*index):
  return {
    "index": np.array(index, np.int32),
    "valid": np.ones(len(index), bool),
  }


@pytest.mark.parametrize("name", PHOTOS)
def test_bytes_before_the_resize(name):
  made, _ = modification.stacked(PRESETS["none"].modifications)
  for m, copy in zip(
    made, reference_mode._modified(PHOTOS[name], made), strict=True
  ):
    expected = script.modify(PHOTOS[name], m.name)
    assert_array_equal(copy, expected, err_msg=m.name)


@pytest.mark.parametrize(
  ("name", "codec"),
  [(name, "none") for name in PHOTOS]
  + [(name, "reference") for name in PHOTOS if name != "wide"],
)
def test_copies_equal_the_plain_script(name, codec):
  photo, preset = PHOTOS[name], PRESETS[codec]
  expected = script.copies(photo, SIZE, codec)
  made, _ = modification.stacked(preset.modifications)
  names = ("", *(m.name for m in made))
  copies = reference_mode.copies(photo, preset, SIZE)
  assert copies.shape == (len(names), SIZE, SIZE, 3)
  for row, copy in zip(names, copies, strict=True):
    assert_array_equal(copy, expected[row], err_msg=row)


@pytest.mark.parametrize("codec", presets.CODECS)
def test_scores_equal_the_plain_script(codec):
  model, state = fakes.trained()
  preset = PRESETS[codec]
  photos = [photo for name, photo in PHOTOS.items() if name != "wide"]
  prototypes = np.asarray(state.params["prototypes"]["prototypes"], float)

  def distances(image):
    tiles = image.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3)) / 255
    return ((tiles.reshape(16, 1, 3) - prototypes.reshape(1, 12, 3)) ** 2).sum(
      2
    )

  local, overall = script.explain(distances, photos, SIZE, codec)
  [found] = reference_mode.attach(
    [batch(*range(len(photos)))], Photos(*photos), preset, SIZE
  )
  _, rows = modification.stacked(preset.modifications)
  scores = jax.jit(
    lambda copies: compare(
      lambda features: model.nearest(state, features),
      lambda features, cells: model.at(state, features, cells),
      copies.swapaxes(0, 1),
      rows,
      model.features,
    )
  )(found["copies"])
  for delta, expected in zip(scores.delta, local, strict=True):
    for name, row in zip(preset.names, delta, strict=True):
      assert_allclose(row, expected[name], atol=1e-4, err_msg=name)
  weight = np.asarray(scores.similarity, float)[:, None]
  means = (scores.delta * weight).sum(0) / weight.sum(0)
  assert_allclose(means, overall, atol=1e-4)
  control = preset.names.index("identity")
  assert scores.delta[:, control].any() == (codec == "reference")


def test_padding_of_a_batch_repeats_one_of_its_images():
  decoded = []

  class Counted(Photos):
    def __getitem__(self, i):
      decoded.append(i)
      return super().__getitem__(i)

  source = Counted(PHOTOS["eye"], PHOTOS["tissue"])
  [found] = reference_mode.attach(
    [batch(1, 0, 0)], source, PRESETS["none"], SIZE
  )
  assert sorted(decoded) == [0, 1]
  assert_array_equal(found["image"], found["copies"][:, 0])
  assert_array_equal(found["valid"], True)
  for row, name in enumerate(("tissue", "eye", "eye")):
    expected = reference_mode.copies(PHOTOS[name], PRESETS["none"], SIZE)
    assert_array_equal(found["copies"][row], expected)


def test_batches_of_the_fast_mode_stay_as_they_are():
  batches = [batch(1, 0), batch(2)]
  fast = reference_mode.attach(batches, Photos(), presets.REFERENCE, SIZE)
  for before, after in zip(batches, fast, strict=True):
    assert after is before


def test_shapes_are_few_and_little_is_padded():
  # One program is compiled for each pair of these.
  sides = np.arange(1, 4097)
  padded = np.array([reference_mode._padded(int(side)) for side in sides])
  assert np.all(padded >= sides)
  assert np.all(padded[64:] < 1.25 * sides[64:] + 64)
  assert len(set(padded)) == 20


def test_too_large_an_image_is_named():
  source = Photos(np.broadcast_to(np.uint8(0), (4096, 4096, 3)))
  with pytest.raises(UserError, match=r"photo 0: 4096 x 4096 .*mode fast"):
    next(reference_mode.attach([batch(0)], source, PRESETS["none"], SIZE))

"""`protojax.importance`: what any function of pixels looks at."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
from PIL import Image
import pytest

import protojax as pj
from protojax.modify import modification, presets
from protojax.types import UserError

_PRESET = "contrast=0.45,0.7"
_RNG = np.random.default_rng(0)
_PIXELS = _RNG.integers(0, 256, (3, 12, 10, 3), np.uint8)


def _spread(pixels):
  """Grey levels are apart: numbers [b 2]."""
  x = np.asarray(pixels, np.float32)
  return np.stack([x.std((1, 2, 3)), x[:, :3].mean((1, 2, 3))], axis=1)


def _changed(pixels):
  found = presets.load(_PRESET).modifications
  return {
    m.name: np.asarray(modification.modify(pixels, m))
    for m in found
    if m.change != "identity"
  }


def test_what_is_lost_without_each_characteristic():
  found = pj.importance(_spread, _PIXELS, _PRESET, batch_size=2)
  np.testing.assert_allclose(found.scores, _spread(_PIXELS), rtol=1e-6)
  changed = _changed(_PIXELS)
  assert list(found.because) == list(changed)
  for name, pixels in changed.items():
    lost = _spread(_PIXELS) - _spread(pixels)
    np.testing.assert_allclose(found.because[name], lost, rtol=1e-5, atol=1e-4)
  assert found.cells is None
  assert repr(found).startswith("3 images: mostly contrast 0.45 (")


def test_images_and_answers_come_in_many_forms(tmp_path):
  Image.fromarray(_PIXELS[0]).save(tmp_path / "a.png")
  wanted = float(_spread(_PIXELS[:1])[0, 0])

  class Tensor:
    """As much of a tensor of PyTorch as is asked for."""

    def __init__(self, values):
      self.values = values

    def detach(self):
      return self

    def cpu(self):
      return self.values

  for fn in (
    lambda x: _spread(x)[:, 0],
    lambda x: _spread(x)[:, 0].tolist(),
    lambda x: jnp.asarray(_spread(x)[:, 0]),
    lambda x: Tensor(_spread(x)[:, 0]),
  ):
    for image in (tmp_path / "a.png", Image.fromarray(_PIXELS[0]), _PIXELS[0]):
      found = pj.importance(fn, image, _PRESET)
      assert found.scores == pytest.approx(wanted)
      assert isinstance(found.because["contrast 0.45"], float)
  listed = pj.importance(_spread, [_PIXELS[0], _PIXELS[1, :7]], _PRESET)
  assert listed.because["contrast 0.7"].shape == (2, 2)
  np.testing.assert_allclose(
    listed.scores[1:], _spread(_PIXELS[1:2, :7]), rtol=1e-6
  )


def test_maps_are_compared_at_the_place_of_the_unchanged_image():
  def maps(pixels):
    return np.asarray(pixels, np.float32)[:, ::3, ::2, :2]

  found = pj.importance(maps, _PIXELS, _PRESET)
  flat = maps(_PIXELS).reshape(3, -1, 2)
  np.testing.assert_array_equal(found.cells, flat.argmax(1))
  for name, pixels in _changed(_PIXELS).items():
    there = maps(pixels).reshape(3, -1, 2)
    lost = (
      flat.max(1) - np.take_along_axis(there, found.cells[:, None], 1)[:, 0]
    )
    np.testing.assert_allclose(found.because[name], lost)


@pytest.mark.parametrize(
  ("fn", "images", "said"),
  [
    (_spread, _PIXELS / 255, r"type float64; .*255 \* x"),
    (_spread, [], "an empty list"),
    (lambda x: x[:, 0, 0], _PIXELS[:, :, :, 0], "uint8 pixels of shape"),
    (lambda x: 1.0, _PIXELS, r"numbers \[\] for 3 images"),
    (lambda x: x[:1, 0, 0], _PIXELS, r"numbers \[1, 3\] for 3 images"),
    (lambda x: x[:, 0], _PIXELS, r"numbers \[3, 10, 3\] for 3 images"),
    (lambda x: ["a"] * len(x), _PIXELS, "expected numbers"),
    (lambda x: [[1.0], [1.0, 2.0], []], _PIXELS, "lists of several lengths"),
    (lambda x: np.full(len(x), np.nan), _PIXELS, "not finite"),
    (
      lambda x: np.zeros((len(x), x[0, 0, 0, 0] + 1)),
      _PIXELS,
      "several shapes",
    ),
  ],
)
def test_what_is_no_model_or_no_image_is_refused(fn, images, said):
  with pytest.raises(UserError, match=said):
    pj.importance(fn, images, _PRESET)
  with pytest.raises(UserError, match="batch_size=0"):
    pj.importance(_spread, _PIXELS, batch_size=0)


def test_what_is_no_function_is_said(monkeypatch):
  # Users have no type checks, which would speak first.
  monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
  with pytest.raises(UserError, match=r"found int; .* model.explain\(image\)"):
    pj.importance(3, _PIXELS)

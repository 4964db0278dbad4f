import dataclasses

import numpy as np
from PIL import Image
import pytest

from protojax.explain.picture_file import PictureFile
from protojax.report import page
from protojax.report.pictures import Pictures
from protojax.types import UserError
from tests.report import report_fakes as fakes


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def _leaves(value):
  """All values of an explanation, at any depth."""
  if dataclasses.is_dataclass(value):
    value = vars(value)
  if isinstance(value, dict):
    value = tuple(value.values())
  if isinstance(value, tuple) and not isinstance(value, PictureFile):
    return [leaf for inner in value for leaf in _leaves(inner)]
  return [value]


def test_every_array_becomes_a_file(tmp_path, rng):
  prototypes, images, overviews = fakes.run(classes=1)
  with Pictures(tmp_path) as pictures:
    kept = [
      *map(pictures.of_prototype, prototypes),
      *map(pictures.of_image, images),
      *(pictures.of_overview(o).samples for o in overviews.values()),
    ]
    found = [x for e in kept for x in _leaves(e)]
    assert not any(isinstance(x, np.ndarray) and x.ndim == 3 for x in found)
    stored = {x for x in found if isinstance(x, PictureFile)}
    files = [p for p in pictures.pages.rglob("*") if p.is_file()]
    assert {pictures.pages / x.path for x in stored} == set(files)
    assert pictures.size == sum(p.stat().st_size for p in files)
    assert all(
      x.size == (pictures.pages / x.path).stat().st_size for x in stored
    )
    # A picture that is a file already stays that file.
    assert pictures.of_prototype(kept[0]) == kept[0]
  assert not list(tmp_path.iterdir())


def test_an_image_is_stored_once(tmp_path, rng):
  one = fakes.prototype(0, "a", rng)
  other = fakes.prototype(1, "a", rng)
  other = dataclasses.replace(other, patch=one.patch, nearest=one.nearest)
  with Pictures(tmp_path) as pictures:
    first, second = map(pictures.of_prototype, (one, other))
    assert first.patch.picture == second.patch.picture
    assert first.patch.picture == first.nearest["train"][0].picture
    assert first.patch.heat != second.patch.heat


def test_files_are_the_pictures(tmp_path, rng):
  e = fakes.prototype(0, "a", rng)
  with Pictures(tmp_path) as pictures:
    patch = pictures.of_prototype(e).patch
    whole, piece = (
      np.asarray(Image.open(pictures.pages / p.path), int)
      for p in (patch.picture, patch.piece)
    )
  assert patch.picture.side == fakes.SIDE
  assert np.abs(whole - e.patch.picture).mean() < 12
  wanted = page.cut(e.patch.picture, e.patch.box, len(piece), fakes.SIDE // 5)
  assert np.abs(piece - wanted).mean() < 12


def test_no_place_to_write(tmp_path, rng):
  (tmp_path / "file").write_text("")
  pictures = Pictures(tmp_path / "file")
  with pytest.raises(UserError, match="could not be written"):
    pictures.of_prototype(fakes.prototype(0, "a", rng))

import dataclasses

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image

from protojax.report import png
from protojax.report.pictures import Pictures
from tests.report import report_fakes as fakes


def _read(path):
  return np.asarray(Image.open(path))


def test_pictures_of_a_prototype(tmp_path):
  (e, *_), _, _ = fakes.run(classes=1)
  png.of_prototype(tmp_path, e)
  folder, box = tmp_path / "prototypes", e.patch.box
  assert_array_equal(
    _read(folder / "prototype_0.png"),
    e.patch.picture[box.top : box.bottom, box.left : box.right],
  )
  assert_array_equal(_read(folder / "prototype_0_image.png"), e.patch.picture)
  assert_array_equal(_read(folder / "prototype_0_heat.png"), e.patch.heat)


def test_pictures_of_an_image(tmp_path):
  _, (e, *_), _ = fakes.run(classes=1)
  e = dataclasses.replace(e, image="../é/a b<i>.tar.png")
  png.of_image(tmp_path, e)
  folder = tmp_path / "images"
  assert sorted(p.name for p in folder.iterdir()) == [
    "test_0_a_b_i_tar.png",
    "test_0_a_b_i_tar_prototype_0.png",
    "test_0_a_b_i_tar_prototype_1.png",
    "test_0_a_b_i_tar_prototype_2.png",
  ]
  assert_array_equal(_read(folder / "test_0_a_b_i_tar.png"), e.picture)
  assert_array_equal(
    _read(folder / "test_0_a_b_i_tar_prototype_2.png"), e.evidence[2].heat
  )


def test_what_has_no_pictures_leaves_no_files(tmp_path):
  prototypes, images, _ = fakes.run(classes=1, pictures=False)
  png.of_prototype(tmp_path, prototypes[0])
  png.of_prototype(tmp_path, dataclasses.replace(prototypes[0], patch=None))
  with Pictures(tmp_path) as pictures:
    stored = pictures.of_image(images[0])
  png.of_image(tmp_path, dataclasses.replace(stored, picture=None))
  assert not list(tmp_path.iterdir())

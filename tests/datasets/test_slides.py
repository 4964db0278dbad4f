"""Bags from whole slides: a pyramid TIFF, written here."""

import json

import numpy as np
import pytest

from configs import comel_folder
from protojax import methods
from protojax.datasets import slide_reader, slides
from protojax.datasets.slide_bags import Embedder
from protojax.types import UserError

pytest.importorskip("openslide", reason="the extra `slides` has openslide")
tifffile = pytest.importorskip("tifffile", reason="scikit-image brings it")

SIDE = slide_reader.TILE


def _write(path, tissue, microns=0.5):
  """A slide of 4 x 3 tiles on three levels; `tissue` lists (column, row)."""
  image = np.full((3 * SIDE, 4 * SIDE, 3), 245, np.uint8)
  rng = np.random.default_rng(0)
  for column, row in tissue:
    y, x = row * SIDE, column * SIDE
    speckle = rng.integers(-20, 20, (SIDE, SIDE, 1))
    colour = np.array([170 + 20 * column, 60, 150])[None, None]
    image[y : y + SIDE, x : x + SIDE] = np.clip(colour + speckle, 0, 255)
  options = {
    "photometric": "rgb",
    "tile": (128, 128),
    "compression": None,
    "resolution": (1e4 / microns, 1e4 / microns),
    "resolutionunit": "CENTIMETER",
  }
  with tifffile.TiffWriter(path) as file:
    file.write(image, **options)
    for step in (2, 4):
      small = image[::step, ::step]
      file.write(small, subfiletype=1, **options)


def _embed(images):
  return np.float32(images).mean(axis=(1, 2)) / 255


EMBEDDER = Embedder("mean", "", _embed, 32, 2)
TISSUE = [(0, 0), (1, 1), (3, 2)]


def _prepare(source, output, embedder=EMBEDDER):
  steps = []
  outcome = slides.prepare(
    str(source), str(output), steps.append, lambda: steps.append("."), embedder
  )
  return outcome, steps


@pytest.fixture
def folder(tmp_path):
  source = tmp_path / "slides"
  source.mkdir()
  for name in ("a", "b"):
    _write(source / f"{name}.tif", TISSUE)
  return source


def test_tiles_with_tissue_become_a_bag(folder, tmp_path):
  listed = "bag,task,label,split\na,liver,normal,train\nb,liver,tumor,train\n"
  (folder / "bags.csv").write_text(listed)
  output = tmp_path / "bags"
  outcome, steps = _prepare(folder, output)
  assert outcome.counts == {"slides": 2}
  assert steps == [2, ".", "."]
  with np.load(output / "a.npz") as bag:
    np.testing.assert_array_equal(bag["coords"], np.array(TISSUE) * SIDE)
    red = bag["features"][:, 0] * 255
    np.testing.assert_allclose(red, [170, 190, 230], atol=2)
  config = comel_folder.get_config().unlock()
  config.data.root = str(output)
  config.network.channels, config.batch_size = 3, 2
  method = methods.load(config.lock())
  source = method.source("train")
  tiles = source.reader.pictures(0, [2, 0])
  assert tiles.shape == (2, 32, 32, 3)
  red = tiles[..., 0].mean(axis=(1, 2))
  np.testing.assert_allclose(red, [230, 170], atol=2)
  assert source.embedder["backbone"] == "mean"


def test_it_goes_on_where_it_was_stopped(folder, tmp_path):
  output = tmp_path / "bags"

  def stop():
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    slides.prepare(str(folder), str(output), lambda n: None, stop, EMBEDDER)
  assert [p.name for p in output.glob("*.npz")] == ["a.npz"]
  before = (output / "a.npz").stat().st_mtime_ns
  outcome, steps = _prepare(folder, output)
  assert steps == [1, "."]
  assert outcome.counts == {"slides": 2}
  assert (output / "a.npz").stat().st_mtime_ns == before
  assert set(json.loads((output / "slides.json").read_text())["slides"]) == {
    "a",
    "b",
  }
  with pytest.raises(UserError, match="holds bags of backbone 'mean', not"):
    _prepare(folder, output, EMBEDDER._replace(backbone="vit"))


def test_what_is_no_slide_or_has_no_tissue_is_named(folder, tmp_path):
  (folder / "bad.tif").write_bytes(b"II*\0 nothing")
  _write(folder / "glass.tif", [])
  outcome, _ = _prepare(folder, tmp_path / "bags")
  reasons = {name.rpartition("/")[2]: why for name, why in outcome.skipped}
  assert reasons["glass.tif"] == "no tile of it shows tissue"
  assert "no slide, or damaged" in reasons["bad.tif"]
  assert outcome.counts == {"slides": 2}
  empty = tmp_path / "empty"
  empty.mkdir()
  with pytest.raises(UserError, match="empty has no slide: expected"):
    _prepare(empty, tmp_path / "bags")
  (empty / "deep").mkdir()
  for place in (empty, empty / "deep"):
    (place / "x.svs").touch()
  with pytest.raises(UserError, match="have one name: rename one"):
    _prepare(empty, tmp_path / "bags")


def test_a_tile_has_the_same_size_on_glass_at_any_resolution(tmp_path):
  _write(tmp_path / "x.tif", TISSUE, microns=0.25)
  with slide_reader.opened(tmp_path / "x.tif") as slide:
    known = "openslide.mpp-x" in slide.properties
    assert slide_reader.tile_side(slide) == (2 * SIDE if known else SIDE)
    assert slide.level_count == 3

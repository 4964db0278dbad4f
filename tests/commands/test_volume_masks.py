"""Volumes that a user gives, and the NIfTI that is written of them."""

import types

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import loading
from protojax.operations import mask_files, volume_masks
from protojax.types import UserError
from tests.datasets import volume_fakes as fakes

nibabel = pytest.importorskip("nibabel")


def config(**data):
  found = {"image_size": 24, "axis": "coronal", "window": ()}
  found |= {"resize": "squash", "resize_size": 0, "interpolation": ""}
  return ConfigDict({"method": "x", "batch_size": 3, "data": {**found, **data}})


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_what_is_predicted_is_written_where_the_input_lies(tmp_path, axis):
  paths = [
    fakes.write(tmp_path / f"{name}.nii.gz", fakes.values(seed))
    for seed, name in enumerate("ab")
  ]
  chosen = config(axis=axis)
  source = volume_masks.opened(chosen, paths)
  stream = loading.stream(chosen, source)
  truth = fakes.labels()
  # As a perfect method answers: the classes at the network's size.
  with mask_files.writer(str(tmp_path / "out")) as write:
    for batch in stream.batches():
      for i in np.flatnonzero(batch["valid"]):
        index = int(batch["index"][i])
        shape = source[index]["image"].shape
        frame = stream.resizing.frame(shape, stream.image_size)
        number = source.places[index].number
        turned = truth[::-1, ::-1]  # to right, front, up
        plane = np.take(turned, number, axis=source.axis)[::-1, ::-1].T
        row = {"classes": frame.nearest(plane.astype(np.int32))}
        write(stream, index, row)
  for name in "ab":
    made = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
    np.testing.assert_array_equal(np.asarray(made.dataobj), truth)
    np.testing.assert_allclose(made.affine, fakes.AFFINE)
  assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_cannot_be_predicted_together_is_refused(tmp_path):
  one = fakes.write(tmp_path / "a.nii.gz", fakes.values())
  same = fakes.write(tmp_path / "b" / "a.nii", fakes.values())
  assert volume_masks.opened(config(), ["image.png"]) is None
  for paths, message in (
    ([one, "image.png"], "image.png is no volume"),
    ([one, same], "two volumes are called a"),
  ):
    with pytest.raises(UserError, match=message):
      volume_masks.opened(config(), paths)
  images = types.SimpleNamespace(data={"image_size": 24})
  with pytest.raises(UserError, match="was trained on images"):
    volume_masks.opened(images, [one])


def test_the_targets_window_comes_first(tmp_path):
  path = fakes.write(tmp_path / "a.nii.gz", fakes.values())
  plain = config(window=(0.0, 50.0))
  found = volume_masks.opened(plain, [path])
  assert found.window == (0.0, 50.0)
  plain.target = ConfigDict({"window": (0.0, 90.0)})
  assert volume_masks.opened(plain, [path]).window == (0.0, 90.0)

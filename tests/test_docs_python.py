"""docs/python.md: its blocks run as they are printed."""

import re
import shutil

from PIL import Image
import pytest
import skimage.data

import protojax as pj
from tests.conftest import ROOT

_TEXT = (ROOT / "docs" / "python.md").read_text("utf-8")


def test_every_public_name_is_told():
  for name in pj.__all__:
    assert f"pj.{name}" in _TEXT


@pytest.mark.slow
def test_the_blocks_run(train_arrays, tmp_path, monkeypatch, capsys):
  """On a run of fewer images than the photographs, and a small photograph."""
  run = train_arrays().folder
  shutil.copytree(run, tmp_path / "runs" / "protopnet_photos-debug")
  photo = Image.fromarray(skimage.data.coffee()).resize((90, 60))
  photo.save(tmp_path / "photo.jpg")
  monkeypatch.chdir(tmp_path)
  names: dict = {}
  for block in re.findall(r"^```python\n(.*?)^```$", _TEXT, re.M | re.S):
    exec(compile(block, "python.md", "exec"), names)
  said = capsys.readouterr().out
  assert "photo.jpg: " in said
  assert "found pixels of type float64" in said
  assert (tmp_path / "why.html").stat().st_size > 10_000
  assert names["run"].class_names == ("red", "green", "blue")

"""Candidates -> a folder of images, texts and masks; and that folder read."""

import json

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

from protojax.datasets import compositional
from protojax.text import pairs
from protojax.types import UserError

RED, BLUE = "a red cup", "a blue cat"
BOTH = f"{RED} and {BLUE}"


def _picture(path, value=0, side=8):
  Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(path)


def _mask(path, column):
  mask = np.zeros((8, 8), np.uint8)
  mask[:, column] = 255
  Image.fromarray(mask).save(path)


def _line(name, text, score, *things):
  of_image = [{"text": t, "mask": f"{t[2]}.png"} for t in things]
  return {"file_name": name, "text": text, "score": score, "things": of_image}


@pytest.fixture
def source(tmp_path):
  folder = tmp_path / "candidates"
  folder.mkdir()
  for i in range(5):
    _picture(folder / f"{i}.png", 10 * i)
  _mask(folder / "r.png", 1)
  _mask(folder / "b.png", 5)
  lines = [
    _line("0.png", BOTH, 0.2, BLUE, RED),
    _line("1.png", BOTH, 0.9, RED),
    _line("2.png", BOTH, 0.5, "a blue cup", "a red cat"),
    _line("3.png", RED, 0.7, RED, BLUE),
    _line("4.png", "a cup", 0.7),
  ]
  _write(folder, lines)
  return folder


def _write(folder, lines):
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metadata.jsonl").write_text(text)


def _prepared(source, output):
  counted = []
  outcome = compositional.prepare(
    str(source), str(output), counted.append, lambda: None, pairs.of_text
  )
  return outcome, counted


def test_candidates_are_kept_that_show_their_pairs(source, tmp_path):
  outcome, counted = _prepared(source, tmp_path / "out")
  assert counted == [5]
  assert outcome.counts == {"train": 1, "test": 1}
  assert dict(outcome.skipped) == {
    "1.png": f"it does not show {BLUE}",
    "2.png": f"it does not show {RED}",
    "4.png": "its text says no thing with an attribute",
  }
  found = {}
  for split in ("train", "test"):
    data = ConfigDict({"root": str(tmp_path / "out"), split: split})
    opened = compositional.load(data, split, 0)
    found[opened.captions[0]] = opened[0]
  np.testing.assert_array_equal(found[BOTH]["image"], 0)
  masks = found[BOTH]["things"]["masks"]
  # In the order of the text, whatever that of the things was.
  np.testing.assert_array_equal(masks[0, 0].nonzero()[0], [1])
  np.testing.assert_array_equal(masks[1, 0].nonzero()[0], [5])
  assert found[RED]["things"]["masks"].shape == (1, 8, 8)


def test_the_best_of_a_text_are_kept(source, tmp_path, monkeypatch):
  monkeypatch.setattr(compositional, "_KEPT", 1)
  lines = [_line(f"{i}.png", RED, 0.1 * i, RED) for i in range(3)]
  _write(source, [*lines, _line("3.png", BLUE, 0.5, BLUE)])
  outcome, _ = _prepared(source, tmp_path / "out")
  assert {name for name, _ in outcome.skipped} == {"0.png", "1.png"}


def test_what_cannot_be_prepared_is_refused(source, tmp_path):
  with pytest.raises(UserError, match=r"has no metadata\.jsonl"):
    _prepared(tmp_path / "none", tmp_path / "out")
  with pytest.raises(UserError, match="holds something already"):
    _prepared(source, source)
  _write(source, [_line("0.png", RED, 1.0, RED)])
  with pytest.raises(UserError, match="candidates those of 1 texts"):
    _prepared(source, tmp_path / "out")
  _write(source, [{"file_name": "0.png"}])
  with pytest.raises(UserError, match=r"metadata\.jsonl"):
    _prepared(source, tmp_path / "out")


def test_what_is_no_such_folder_is_refused(source, tmp_path):
  data = ConfigDict({"root": str(tmp_path), "train": "train"})
  with pytest.raises(UserError, match="prepare compositional"):
    compositional.load(data, "train", 0)
  _prepared(source, tmp_path / "out")
  data.root = str(tmp_path / "out")
  name = next((tmp_path / "out/train").glob("*-0.png"))
  _picture(name, side=4)
  found = compositional.load(data, "train", 0)
  with pytest.raises(UserError, match="has 4 x 4 pixels; its image has 8 x 8"):
    found[0]

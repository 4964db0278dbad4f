"""Community Forensics: rows of Parquet files become folders of generators."""

import io
import re

import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

from protojax.datasets import community_forensics, dataset
from protojax.types import UserError

_GENERATORS = ("org/one v1", "two", "../three")


def _png(value):
  file = io.BytesIO()
  Image.fromarray(np.full((6, 5, 3), value, np.uint8)).save(file, "PNG")
  return file.getvalue()


def _row(value, label, **changes):
  return {
    "image_name": "a/b.png",
    "image_data": _png(value),
    "format": "PNG",
    "label": label,
    "model_name": "FFHQ",
    "real_source": "FFHQ" if not label else "",
    "split": "train",
    **changes,
  }


def _rows():
  made = [
    _row(10 * g + n, 1, model_name=name)
    for g, name in enumerate(_GENERATORS)
    for n in range(2)
  ]
  return [*made, *(_row(100 + n, 0) for n in range(6))]


def _write(path, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  parquet.write_table(pa.Table.from_pylist(rows), path)


def _prepared(source, output):
  seen = []
  found = community_forensics.prepare(
    str(source), str(output), seen.append, lambda: seen.append(1)
  )
  assert len(seen) == 1 + seen[0]
  return found


def test_rows_become_folders_that_are_read(tmp_path, data_config):
  rows = _rows()
  _write(tmp_path / "in/x/train-0.parquet", rows[:7])
  _write(tmp_path / "in/train-1.parquet", rows[7:])
  outcome = _prepared(tmp_path / "in", tmp_path / "out")
  assert dict(outcome.counts) == {"train": 12}
  assert outcome.skipped == ()
  config = data_config(name="generators", root=str(tmp_path / "out")).unlock()
  config.update(
    test_root="", real="photographs", held_out=(), test_fraction=0.34
  )
  train, test = (
    dataset.open_split(config, split, seed=0) for split in ("train", "test")
  )
  assert sorted(train.generator_names + test.generator_names) == sorted(
    ["org--one_v1", "two", "--three"]
  )
  both = [*train.names, *test.names]
  assert len(set(both)) == 12
  values = {
    source.name(i): int(source[i]["image"][0, 0, 0])
    for source in (train, test)
    for i in range(len(source))
  }
  assert values["train/two/fake/train-0-000002.png"] == 10
  # Again: nothing is written anew.
  file = tmp_path / "out/train/two/fake/train-0-000002.png"
  file.write_bytes(b"")
  assert dict(_prepared(tmp_path / "in", tmp_path / "out").counts) == {
    "train": 12
  }
  assert file.read_bytes() == b""


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"label": 2}, "its label is 2; expected 0 or 1"),
    ({"format": "GIF"}, "its format is 'GIF'; expected PNG"),
    ({"image_data": b""}, "it has no image"),
    ({"model_name": "..", "label": 1}, r"its model_name is '\.\.'"),
  ],
)
def test_rows_that_say_nothing_are_named(tmp_path, changes, said):
  _write(tmp_path / "in.parquet", [_row(1, 0), {**_row(2, 0), **changes}])
  outcome = _prepared(tmp_path / "in.parquet", tmp_path / "out")
  ((name, reason),) = outcome.skipped
  assert name.endswith("in.parquet, row 1")
  assert re.search(said, reason)


def test_other_files_end_with_a_line(tmp_path):
  (tmp_path / "empty").mkdir()
  (tmp_path / "text.parquet").write_text("no")
  _write(tmp_path / "other.parquet", [{"image": b""}])
  for name, said in (
    ("empty", "holds no \\*.parquet file"),
    ("text.parquet", "is no Parquet file"),
    ("gone.parquet", "is no Parquet file"),
    ("other.parquet", "has no column 'image_data'"),
  ):
    with pytest.raises(UserError, match=said) as error:
      _prepared(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(error.value)

"""Lines about images that could not be read."""

import dataclasses

from protojax.data import skipped
from protojax.datasets import files


def _source(make_folder, *pairs):
  source = files.images(make_folder({"a.png": 1}))
  return dataclasses.replace(source, skipped=pairs)


def test_no_line_without_a_skipped_image(make_folder):
  assert skipped.report({"train": _source(make_folder)}) == []


def test_what_is_broken_is_named(make_folder):
  root = make_folder({"a.png": 1, "b.png": b""})
  (line,) = skipped.report({"images": files.images(root)})
  assert line == f"images: skipped {root}/b.png: empty file"


def test_ten_are_named_and_the_others_counted(make_folder):
  pairs = tuple((f"{i}.png", "broken") for i in range(13))
  lines = skipped.report({"test": _source(make_folder, *pairs[:10])})
  assert lines == [f"test: skipped {i}.png: broken" for i in range(10)]
  more = skipped.report({"test": _source(make_folder, *pairs)})
  assert more == [*lines, "test: skipped 3 more"]


def test_any_name_is_a_line_that_prints(make_folder):
  pair = ("a\nb\udcff.png", "line 1\nline 2")
  (line,) = skipped.report({"train": _source(make_folder, pair)})
  assert line == "train: skipped a b\\xff.png: line 1 line 2"
  assert line.encode()

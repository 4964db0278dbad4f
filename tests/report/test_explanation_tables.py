import csv
import dataclasses
import json

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pandas
import pytest

from protojax.explain import prototypical
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.request import Request
from protojax.report import explanation_tables
from protojax.types import UserError
from tests.explain import explain_fakes as fakes


@pytest.fixture(scope="module")
def explained():
  model, state = fakes.trained(names=["a,b", 'c"d', "e\nf"])
  found = list(
    prototypical.explain(
      model,
      state,
      model.train,
      Request(split="train", keep_all=True, preset=fakes.PRESET),
      training=lambda: model.train,
    )
  )
  return (
    [e for e in found if isinstance(e, LocalExplanation)],
    [e for e in found if isinstance(e, GlobalExplanation)],
  )


def test_global_is_groupby_of_the_arrays(explained, tmp_path):
  images, prototypes = explained
  explanation_tables.local_arrays(tmp_path / "local.npz", images, fakes.FEW)
  scores = {e.prototype: e.because["train"] for e in prototypes if e.alive}
  explanation_tables.global_table(tmp_path / "global_train.csv", scores)

  found = pandas.read_csv(tmp_path / "global_train.csv")
  assert list(found.columns) == ["prototype", "modification", "weighted_delta"]
  assert 5 not in set(found.prototype)
  with np.load(tmp_path / "local.npz") as arrays:
    g = arrays["similarity"].astype(float)
    weighted = (arrays["delta"] * g[:, None]).sum(0) / g.sum(0)[None]
    assert_array_equal(arrays["modification"], fakes.FEW)
    assert arrays["image"][3] == "image-3"
  row = {name: m for m, name in enumerate(fakes.FEW)}
  expected = [
    weighted[row[name], j]
    for name, j in zip(found.modification, found.prototype, strict=True)
  ]
  assert_allclose(found.weighted_delta, expected, rtol=1e-5, atol=1e-6)


def test_local_rows_are_written_as_they_come(explained, tmp_path):
  images, _ = explained
  path = tmp_path / "sub" / "local.csv"
  with explanation_tables.local_table(path) as add:
    for one in images:
      add(one)
    assert not path.exists()
  found = pandas.read_csv(path)
  assert list(found.columns) == [
    "image",
    "prototype",
    "modification",
    "delta",
    "orig_similarity",
  ]
  rows = sum(len(one.evidence) for one in images)
  assert len(found) == rows * len(fakes.FEW)
  first = images[0].evidence[0]
  assert found.prototype[0] == first.prototype
  assert_allclose(found.orig_similarity[0], first.similarity, rtol=1e-6)
  assert list(found.modification[:6]) == list(fakes.FEW)


def test_a_table_that_fails_leaves_the_old_one(tmp_path):
  path = tmp_path / "local.csv"
  path.write_text("old")
  with pytest.raises(RuntimeError), explanation_tables.local_table(path):
    raise RuntimeError
  assert path.read_text() == "old"
  assert [p.name for p in tmp_path.iterdir()] == ["local.csv"]


def test_a_full_disk_is_one_line(tmp_path):
  with (
    pytest.raises(UserError, match=r"local\.csv .*the disk is full"),
    explanation_tables.local_table(tmp_path / "local.csv"),
  ):
    raise OSError(28, "No space left on device")


def test_prototypes(explained, tmp_path):
  _, prototypes = explained
  explanation_tables.prototype_table(tmp_path / "prototypes.csv", prototypes)
  with open(tmp_path / "prototypes.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  columns = ["prototype", "class", "image", "cell", "box"]
  columns += ["original_box", "alive"]
  assert list(rows[0]) == columns
  assert [r["class"] for r in rows[::4]] == ["a,b", 'c"d', "e\nf"]
  assert rows[5]["alive"] == "0"
  assert rows[4]["alive"] == "1"
  top, left, bottom, right = map(int, rows[0]["box"].split())
  assert 0 <= top < bottom <= 32
  assert 0 <= left < right <= 32


def test_what_a_method_says_of_prototypes_has_columns(explained, tmp_path):
  _, (first, second, *_) = explained
  first = dataclasses.replace(first, notes={"kind": "support", "margin": 0.25})
  second = dataclasses.replace(second, notes={"purity": 1 / 3})
  explanation_tables.prototype_table(
    tmp_path / "prototypes.csv", [first, second]
  )
  with open(tmp_path / "prototypes.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  assert list(rows[0])[7:] == ["kind", "margin", "purity"]
  assert list(rows[0].values())[7:] == ["support", "0.25", ""]
  assert list(rows[1].values())[7:] == ["", "", "0.33333333"]


def test_summary(tmp_path):
  explanation_tables.summary(tmp_path / "summary.json", {"images": 3})
  assert json.loads((tmp_path / "summary.json").read_text()) == {"images": 3}


def test_arrays_need_all_scores(explained, tmp_path):
  images, _ = explained
  model, state = fakes.trained()
  bare = next(
    prototypical.explain(
      model,
      state,
      model.train,
      Request(preset=fakes.PRESET),
      training=lambda: model.train,
    )
  )
  with pytest.raises(ValueError, match="keep_all"):
    explanation_tables.local_arrays(
      tmp_path / "x.npz", [*images, bare], fakes.FEW
    )

"""Solar cells: the real package if it is installed, and a small one."""

import importlib.util
import sys

import numpy as np
import pytest

from protojax.datasets import anomalies, elpv
from protojax.types import UserError
from tests.datasets import anomaly_fakes as fakes

LABELS = """\
images/cell0001.png  1.0                 mono
images/cell0002.png  0.3333333333333333  mono
images/cell0003.png  0.0                 mono
images/cell0004.png  0.0                 poly
images/cell0005.png  0.6666666666666666  poly
"""


@pytest.fixture
def package(make_folder, monkeypatch):
  """Function: installs a package with some labels for the test."""

  def install(labels):
    tree = {"elpv_dataset/__init__.py": b""}
    if labels:
      tree["elpv_dataset/data/labels.csv"] = labels
    for i in range(1, 20):
      tree[f"elpv_dataset/data/images/cell{i:04d}.png"] = i
    monkeypatch.setattr(sys, "path", [make_folder(tree), *sys.path])
    importlib.invalidate_caches()

  return install


def test_sure_labels_alone(package):
  package(LABELS.encode())
  found = elpv.listed()
  assert [(e.name[-8:-4], e.category, e.kind) for e in found.entries] == [
    ("0003", "mono", "normal"),
    ("0001", "mono", "defective"),
    ("0004", "poly", "normal"),
  ]
  assert not found.has_truth


def test_source(package):
  lines = [
    f"images/cell{i:04d}.png {float(i > 14)} {('mono', 'poly')[i % 2]}"
    for i in range(1, 20)
  ]
  package("\n".join(lines).encode())
  test = anomalies.open_split(fakes.config(name="elpv"), "test")
  assert test.class_names == ("normal", "defective")
  assert test.category_names == ("mono", "poly")
  assert np.bincount(test.labels).tolist() == [6, 5]
  assert not test.has_truth
  assert not test.truth(0).any()
  defective = int(np.flatnonzero(test.labels)[0])
  with pytest.raises(ValueError, match="not known"):
    test.truth(defective)
  mono = anomalies.open_split(
    fakes.config(name="elpv", category="mono"), "train"
  )
  assert len(mono) == 3


@pytest.mark.parametrize(
  "labels", [b"", b"images/cell0001.png  1.0\n", b"a b c"]
)
def test_a_damaged_package(package, labels):
  package(labels)
  with pytest.raises(UserError, match=r"cannot be read .*protojax\[elpv\]"):
    elpv.listed()


def test_a_missing_package(monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name: None if name == "elpv_dataset" else find(name),
  )
  with pytest.raises(UserError, match=r"pip install 'protojax\[elpv\]'"):
    elpv.listed()


def test_the_real_cells():
  if importlib.util.find_spec("elpv_dataset") is None:
    pytest.skip("elpv-dataset is not installed")
  found = elpv.listed()
  counted = {}
  for entry in found.entries:
    key = (entry.category, entry.kind)
    counted[key] = counted.get(key, 0) + 1
  assert counted == {
    ("mono", "normal"): 588,
    ("mono", "defective"): 313,
    ("poly", "normal"): 920,
    ("poly", "defective"): 402,
  }
  assert found.image(0).shape == (300, 300, 3)

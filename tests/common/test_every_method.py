"""What holds for every method that there is, whatever it learns.

A process on one device goes through all stages of a method; here, on two, each
stage starts from the same state.
"""

import csv
import json

import jsonschema
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.engine.stage import Fit
from protojax.explain import documents
from tests.common import runs
from tests.common.processes import finish, start
from tests.report.page_reader import Page

pytestmark = pytest.mark.slow

# Of someone else, in a folder on the import path.
TOYS = ("toyshop.swirl", "toyshop.means", "toyshop.palette")


@pytest.fixture(scope="module", params=(*methods.names(), *TOYS))
def name(request):
  """Of a method: all is done with one before the next."""
  if request.param in TOYS:
    request.getfixturevalue("toyshop")
  return request.param


@pytest.fixture(scope="module")
def folder(name, tmp_path_factory):
  """What `worker.py` left of it."""
  folder = tmp_path_factory.mktemp(name)
  finish(start(["tests/common/worker.py", "begin", name, folder]))
  return folder


@pytest.fixture(scope="module")
def method(name):
  """On two devices."""
  assert parallel.device_count() == 2
  return runs.load(name)


def assert_same(found, expected, gradients=1e-3):
  """Whole numbers are equal, others near, as shares of the largest of them.

  Args:
    found, expected: arrays by name.
    gradients: the share for losses, and moments after one step.
  """
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    if name.endswith("provenance.embedder"):
      continue  # A digest of all that is compared beside it, to the last bit.
    if not np.issubdtype(array.dtype, np.floating):
      np.testing.assert_array_equal(found[name], array, err_msg=name)
      continue
    # Of a gradient, and of what Adam makes of one that is nothing but rounding.
    share = gradients if " moments." in name or " losses" in name else 1e-5
    near = share * np.abs(array[np.isfinite(array)]).max(initial=1e-3)
    np.testing.assert_allclose(
      found[name], array, rtol=0, atol=near, err_msg=name
    )
    if " losses" in name:
      np.testing.assert_allclose(
        found[name][0], array[0], rtol=1e-5, err_msg=name
      )


def test_numbers_do_not_depend_on_the_devices(method, folder):
  one = dict(np.load(folder / "numbers.npz"))
  for key, array in one.items():
    if key.startswith("rows."):
      assert len(array) == runs.EXPLAINED
      assert np.isfinite(array).all(), key
  two = runs.numbers(method, folder)
  # The moments of a toy are its gradients: plain descent has one moment.
  toy = method.config.method.startswith("toyshop.")
  found = {key: np.asarray(x) for key, x in two.items()}
  assert_same(found, one, 1e-6 if toy else 1e-3)
  fits = [s for s in method.stages() if isinstance(s, Fit)]
  assert sum(key.endswith(" losses") for key in one) == len(fits)


# Two of one device each take their time. One method stands for all that have
# one stream of labelled images, one toy for the rest.
@pytest.mark.parametrize(
  "name", ["protopnet", TOYS[0]], indirect=True, scope="module"
)
def test_two_processes_give_the_same_numbers(name, folder):
  arguments = "again", name, folder
  finish(start(["tests/common/worker.py", *arguments], processes=2))
  two = dict(np.load(folder / "again.npz"))
  share = 1e-6 if name in TOYS else 1e-3
  assert_same(two, dict(np.load(folder / "numbers.npz")), share)


def test_killed_and_resumed_it_ends_the_same(method, folder):
  stages = list(method.stages())
  whole = np.load(folder / f"state-{len(stages) + 1}.npz")
  resumed = np.load(folder / "resumed.npz")
  assert set(whole) == set(resumed)
  for key in whole:
    np.testing.assert_array_equal(resumed[key], whole[key], err_msg=key)


def test_explanations_are_written_and_the_same(method, folder, tmp_path):
  if method.capabilities.explains is None:
    pytest.skip("it explains nothing")
  runs.explain(method, folder, tmp_path)
  pages = sorted(tmp_path.rglob("*.html"))
  assert pages
  said = "".join(Page(page.read_text("utf-8")).text for page in pages)
  for meaning in methods.notes(method.config.method).values():
    assert meaning in said
  summary = json.loads((tmp_path / "summary.json").read_text())
  assert summary["images"] == runs.EXPLAINED
  _documents_are_as_the_schema_says(tmp_path / "explanations.jsonl")
  tables = sorted(tmp_path.rglob("*.csv"))
  assert tables
  for table in tables:
    expected = folder / "explanations" / table.relative_to(tmp_path)
    _same_tables(table, expected)


def _documents_are_as_the_schema_says(path):
  schema = json.loads(documents.SCHEMA_FILE.read_text("utf-8"))
  validator = jsonschema.Draft202012Validator(schema)
  lines = path.read_text("utf-8").splitlines()
  assert len(lines) >= runs.EXPLAINED
  for line, e in zip(lines, documents.read(path), strict=True):
    validator.validate(json.loads(line))
    assert documents.to_json(e) == json.loads(line)


def _same_tables(one, other):
  """Words are equal, numbers near."""
  with one.open(newline="") as a, other.open(newline="") as b:
    rows = list(zip(csv.reader(a), csv.reader(b), strict=True))
  assert len(rows) > 1
  for found, expected in rows:
    for x, y in zip(found, expected, strict=True):
      try:
        near = np.isclose(float(x), float(y), 1e-3, 1e-4, equal_nan=True)
      except ValueError:
        near = x == y
      assert near, f"{one.name}: {found} and {expected}"

"""FoPro's verdicts, their list, and what the config may say."""

import csv

import numpy as np
import pytest

from protojax import methods
from protojax.configs import fopro_folder
from protojax.engine.stage import Fit
from protojax.explain.request import Request
from protojax.methods.fopro import (
  cleaning_list,
  explanation,
  pages,
  starting,
  web,
)
from protojax.methods.fopro import verdicts as verdicts_lib
from protojax.methods.fopro.verdicts import Verdicts
from protojax.types import UserError


class _Source:
  """Five images of the classes a and b, the last a few-shot image."""

  class_names = ("a", "b")
  labels = np.array([0, 0, 1, 1, 1], np.int32)
  trusted = np.array([False] * 4 + [True])
  truth = np.array([0, 1, -1, 1, 1], np.int32)
  skipped = ()

  def __len__(self):
    return 5

  def __getitem__(self, i):
    return {"label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i):
    return f"web/{i}.jpg"


# The second got the right label, the third is thrown out.
_FOUND = Verdicts(
  label=np.array([0, 1, 1, 1, 1], np.int32),
  kept=np.array([True, True, False, True, True]),
  confidence=np.float32([0.9, 0.1, 0.3, 0.8, 1.0]),
  relation=np.float32([0.5, 0.2, 0.1, 0.9, 0.9]),
  surest=np.float32([0.9, 0.9, 0.6, 0.8, 1.0]),
  voted=np.array([0, 1, 0, 1, 1], np.int32),
  loss=np.float32([0.1, 2.0, 0.05, 0.2, 0.0]),
)


def test_verdicts_are_compared_with_the_truth_of_the_web():
  listed = cleaning_list.listed(_Source())
  found = verdicts_lib.metrics(_FOUND, listed, _Source.truth)
  assert found == {
    "dropped": 0.25,
    "relabelled": 0.25,
    "noise_auroc": 1.0,
    "noise_auroc_loss": 0.5,
    "noise_precision": 1.0,
    "noise_recall": 1.0,
    "relabel_accuracy": 1.0,
    "recovered": 1.0,
  }
  unknown = np.full(5, web.UNKNOWN, np.int32)
  known = verdicts_lib.metrics(_FOUND, listed, unknown)
  assert set(known) == {"dropped", "relabelled"}


def test_a_sweep_writes_into_arrays_of_their_own():
  empty = Verdicts.empty(3)
  for n, column in enumerate(empty):
    column[:] = n % 2
  assert [column[0] for column in empty] == [0, 1, 0, 1, 0, 1, 0]


def test_a_class_whose_web_images_are_all_dropped_is_named():
  listed = cleaning_list.listed(_Source())
  kept = np.array([True, True, False, False, True])
  found = _FOUND._replace(kept=kept)
  assert verdicts_lib.emptied(found, listed, ("a", "b")) == ["b"]
  assert verdicts_lib.emptied(_FOUND, listed, ("a", "b")) == []


def test_a_verdict_has_its_reason():
  listed = cleaning_list.listed(_Source())
  said = [explanation.reason(("a", "b"), listed, _FOUND, i) for i in (1, 2, 4)]
  assert said == [
    "Relabelled, given as a, now b: vote 0.10 and relation 0.20 for the given"
    " label; the largest vote is 0.90, for b.",
    "Dropped, given as b: vote 0.30 and relation 0.10 for the given label; the"
    " largest vote is 0.60, for a.",
    "Kept as b: it is a few-shot image.",
  ]


def test_the_page_counts_verdicts_by_class():
  listed = cleaning_list.listed(_Source())
  table = pages._by_class(("a", "b"), listed, _FOUND)
  assert table.columns[1:] == (
    *("web images", "kept", "relabelled", "dropped", "taken in"),
  )
  assert table.rows == (("a", 2, 1, 1, 0, 0), ("b", 2, 1, 0, 1, 1))


def test_the_overview_has_a_row_for_each_class():
  """A grey image has no hue, and does not count for it."""
  request = Request()
  names = request.preset.names
  gathered = explanation._Gathered(("a", "b"), request)
  hue = names.index("hue")
  for index, (loss, grey) in enumerate(((2.0, False), (4.0, True))):
    delta = np.full((len(names), 2), [0.1, 1.0]) * loss
    row = {"answer": 1, "grey": grey, "delta": delta, "cosines": [0.2, 0.3]}
    gathered.add(index, row)
  _, logit, cosine = gathered.overview().blocks
  assert logit.columns == ("class", "images", *names[1:])
  expected = [3.0] * len(names)
  for n in range(len(names)):
    if not request.preset.seen(True)[n]:
      expected[n] = 2.0
  assert expected[hue] == 2.0
  assert logit.rows == (
    ("a", 0, *[None] * len(names[1:])),
    ("b", 2, *expected[1:]),
  )
  np.testing.assert_allclose(cosine.rows[1][2:], np.array(expected[1:]) / 10)


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "cleaning.csv"
  listed = cleaning_list.listed(_Source())
  cleaning_list.write(path, _Source(), _FOUND, listed)
  return path


def test_the_list_is_written_and_read_back(path):
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["verdict"] for row in rows] == [
    "kept",
    "relabelled",
    "dropped",
    "kept",
    "kept",
  ]
  assert rows[1] == {
    "image": "web/1.jpg",
    "given_label": "a",
    "verdict": "relabelled",
    "label": "b",
    "confidence": "0.1",
    "relation": "0.2",
    "few_shot": "",
    "checked": "",
  }
  found = cleaning_list.listed(_Source(), str(path))
  np.testing.assert_array_equal(found.labels, [0, 1, 1, 1, 1])
  np.testing.assert_array_equal(found.rows, [0, 1, 3, 4])
  np.testing.assert_array_equal(found.trusted, _Source.trusted)


def _changed(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))
  return cleaning_list.listed(_Source(), str(path))


def test_what_a_person_has_corrected_counts(path):
  found = _changed(path, "dropped,b,0.3,0.1,,", "relabelled,a,0.3,0.1,,yes")
  np.testing.assert_array_equal(found.labels, [0, 1, 0, 1, 1])
  np.testing.assert_array_equal(found.rows, np.arange(5))
  np.testing.assert_array_equal(np.flatnonzero(found.trusted), [2, 4])


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    ("web/1.jpg", "web/9.jpg", "line 3: no training image is called 'web/9"),
    ("relabelled", "changed", "line 3: the verdict is 'changed'; expected"),
    ("relabelled,b", "relabelled,c", "line 3: there is no class 'c'"),
    ("0.9,yes,", "0.9,yes,maybe", "line 6: checked is 'maybe'; expected yes"),
    ("verdict", "verdicts", "has no column 'verdict'"),
  ],
)
def test_mistakes_in_a_list_are_named(path, old, new, message):
  with pytest.raises(UserError, match=message):
    _changed(path, old, new)


def test_large_classes_are_drawn_less_often():
  labels = np.array([0] * 4 + [1], np.int32)
  rows = np.arange(5, dtype=np.int32)
  found = web.rebalancing(labels, rows)
  np.testing.assert_allclose(found, [0.5] * 4 + [1.0])
  np.testing.assert_allclose(web.rebalancing(labels, rows[3:])[3:], [1, 1])


def test_first_prototypes_are_of_few_shots_or_of_the_web():
  labels = np.array([0, 0, 0, 1, 1, 1], np.int32)
  trusted = np.array([False, True, True, False, False, False])
  rows = np.arange(6, dtype=np.int32)
  found = starting.chosen(labels, trusted, rows, 2, seed=0)
  assert set(found[:2]) == {1, 2}
  assert len(found) == 4
  assert set(found[2:]) < {3, 4, 5}


def _load(**changes):
  config = fopro_folder.get_config("debug").unlock()
  config.update_from_flattened_dict(changes)
  return methods.load(config)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"baseline": "co"}, "baseline='co': choose from '', 'plain', 'loss'"),
    ({"cleaning.mode": 4}, "cleaning.mode is 4; it must be"),
    ({"queue.size": 8}, "queue.size=8 is smaller than a batch"),
    ({"stages.clean": 4}, "stages.plan=3 epochs, along which the rate falls"),
    ({"stages.relate": 0}, "asks the relation module"),
    ({"network.pooling": "max"}, "network.pooling='max': choose from"),
    ({"optimizer.name": "lion"}, "optimizer.name='lion': choose from"),
  ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    _load(**changes)


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({}, ["frozen", "prototypes", "relate", "clean"]),
    (
      {
        "stages.start": 2,
        "stages.contrast": 1,
        "stages.plan": 4,
        "optimizer.late": 3,
      },
      ["frozen", "start", "prototypes", "contrast", "relate", "clean late"],
    ),
    ({"baseline": "loss"}, ["plain"]),
    (
      {"stages.clean": 2, "optimizer.late": 2, "mixup.epochs": 1},
      ["frozen", "prototypes", "relate", "clean", "clean late"],
    ),
  ],
)
def test_the_stages_are_as_the_config_says(changes, expected):
  method = _load(**changes)
  stages = list(method.stages())
  mixed = ["mixup"] * bool(method.config.mixup.epochs)
  assert [s.name for s in stages] == [*expected, "verdicts", *mixed]
  late = [s for s in stages if isinstance(s, Fit) and s.optimizer_id == "last"]
  length = sum(s.length.count for s in late)
  assert length == (
    0 if "loss" in changes.values() else method.config.stages.clean
  )


def test_a_class_with_too_few_few_shot_images_is_named():
  with pytest.raises(UserError, match=r"shots=2: fewer .* in a \(0\), b \(1\)"):
    web.require_shots(_Source(), _Source.trusted, 2)
  web.require_shots(_Source(), _Source.trusted, 0)


def test_some_of_the_web_can_be_held_out():
  method = _load(**{"data.validation_fraction": 0.3, "data.shots": 3})
  train, held = (method.dataset.source(s) for s in ("train", "validation"))
  assert web.trusted(train).sum() == 30
  assert not web.trusted(held).any()
  assert 10 < len(held) < 30
  assert method.splits == ("train", "validation", "test")
  assert method.config.data.validation_fraction == 0.3

"""Edits: what is read, what is refused, and what is left of a model."""

import json

import numpy as np
from numpy.testing import assert_array_equal
import pytest

from protojax.interact import edits as edits_lib
from protojax.interact.edits import Edit, Model
from protojax.types import UserError

_NAMES = ("robin", "wren", "owl")
_CLASS_OF = np.array([0, 0, 0, 1, 1, 2, 2], np.int32)


def _model(**changes):
  fields = {
    "class_names": _NAMES,
    "class_of": _CLASS_OF,
    "alive": np.array([1, 1, 1, 1, 1, 1, 0], bool),
    "forbidden": np.zeros((3, 7), bool),
  }
  return Model(**{**fields, **changes})


def _remove(*prototypes, reason="wrong", **more):
  return {
    "edit": "remove",
    "prototypes": list(prototypes),
    "reason": reason,
    **more,
  }


def _merge(*prototypes):
  return {"edit": "merge", "prototypes": list(prototypes)}


def _forbid(of_class, *prototypes):
  return {"edit": "forbid", "prototypes": list(prototypes), "class": of_class}


def _applied(*content, **changes):
  return edits_lib.applied(edits_lib.parse(list(content)), _model(**changes))


def test_what_is_left_after_edits():
  before = _model()
  left = _applied(_remove(1), _merge(3, 4), _forbid("owl", 0, 3))
  assert_array_equal(left.alive, [1, 0, 1, 1, 0, 1, 0])
  assert_array_equal(np.argwhere(left.forbidden), [[2, 0], [2, 3]])
  # What they were applied to is as before.
  assert before.alive.sum() == 6
  assert not before.forbidden.any()


def test_edits_are_the_same_in_json():
  content = [
    _remove(2, reason="background", words="a twig, no bird"),
    _forbid("wren", 0),
    _merge(4, 3),
  ]
  edits = edits_lib.parse(content)
  assert edits[0] == Edit("remove", (2,), "background", "", "a twig, no bird")
  again = json.loads(json.dumps([edit.as_json() for edit in edits]))
  assert edits_lib.parse(again) == edits


@pytest.mark.parametrize(
  ("content", "told"),
  [
    ({}, r"edits is {}; it must be a list"),
    (["x"], r"edit 0 is 'x'; it must be an object"),
    ([{}], "edit 0: no 'edit'; it must be one of remove, forbid, merge"),
    ([{"edit": "drop"}], "edit 0: 'edit' is 'drop'; it must be one of"),
    ([_remove(1, reason="ugly")], "'reason' is 'ugly'.*wrong, backgr"),
    ([{**_merge(1, 2), "reason": "wrong"}], "'merge' has no 'reason'; 'rem"),
    ([{**_merge(1, 2), "word": ""}], "unknown key 'word' .did you mean 'w"),
    ([_remove()], "names 0 prototypes; 'remove' needs 1 or more"),
    ([_remove(0), _merge(1)], "edit 1 names 1 prototypes; 'merge' needs 2"),
    ([_remove(1, 1)], r"names a prototype twice: \[1, 1\]"),
    ([_remove("1")], "'1' is not the number of a prototype"),
    ([_remove(True)], "True is not the number of a prototype"),
    ([_remove(1.0)], "1.0 is not the number of a prototype"),
    ([_forbid(None, 1)], "class is None; it must be a text"),
    ([_remove(1, words=3)], "words is 3; it must be a text"),
    ([_remove(1, words="w" * 501)], "words has 501 characters; it may"),
    ([_remove(7)], "edit 0: no prototype 7; they have the numbers 0 to 6"),
    ([_remove(-1)], "edit 0: no prototype -1"),
    ([_remove(6)], "prototype 6 does not count any more"),
    ([_remove(1), _merge(0, 1)], "edit 1: prototype 1 does not count any more"),
    ([_merge(0, 3)], r"several classes \(robin, wren\); merge those of one cl"),
    ([_forbid("wrem", 1)], "no class 'wrem'.*there are"),
    ([_remove(3), _remove(4)], "edit 1 leaves the class 'wren' without a prot"),
    ([_remove(0, 1, 2)], "edit 0 leaves the class 'robin' without a prototype"),
    ([_forbid("owl", 5)], "edit 0 leaves the class 'owl' without a prototype"),
  ],
)
def test_what_cannot_be_is_told_in_one_line(content, told):
  def read():
    edits = edits_lib.parse(content, "file.json")
    edits_lib.applied(edits, _model(), "file.json")

  with pytest.raises(UserError, match=told) as error:
    read()
  assert "\n" not in str(error.value)
  assert str(error.value).startswith("file.json: edit")


def test_a_class_that_had_no_prototype_before_does_not_stop_an_edit():
  alive = np.array([1, 1, 1, 1, 1, 0, 0], bool)
  assert_array_equal(_applied(_remove(0), alive=alive).alive.sum(), 4)


def test_directions_are_not_merged_and_belong_to_no_class():
  with pytest.raises(UserError, match="none repeats another"):
    _applied(_merge(0, 1), merges=False)
  # All that speak most for a class can go, but not all of a model.
  left = _applied(_remove(3, 4, 5), owned=False)
  assert_array_equal(np.flatnonzero(left.alive), [0, 1, 2])
  with pytest.raises(UserError, match="throws out the last prototype"):
    _applied(_remove(0, 1, 2, 3, 4, 5), owned=False)

"""Which classes are taken for which."""

from protojax.report import confusion
from tests.report import report_fakes


def test_a_matrix_by_hand():
  answers = {("a", "a"): 3, ("a", "b"): 1, ("b", "b"): 2, ("c", "a"): 4}
  found = confusion.of(answers, [])
  assert found.names == ("a", "b", "c")
  assert found.classes == (
    confusion.Class("a", 3, 4, (3, 1, 0)),
    confusion.Class("b", 2, 2, (0, 2, 0)),
    confusion.Class("c", 0, 4, (4, 0, 0)),
  )
  assert not found.pairs


def test_of_many_classes_the_pairs_are_listed():
  answers = {(f"class {k:02}", f"class {k + 1:02}"): k + 1 for k in range(40)}
  answers["class 07", "class 07"] = 5
  found = confusion.of(answers, [])
  assert not found.names
  assert len(found.pairs) == 30
  assert found.pairs[0] == ("class 39", "class 40", 40)
  assert all(not c.taken_for for c in found.classes)
  seven = found.classes[7]
  assert (seven.right, seven.images) == (5, 13)


def test_numbers_lead_to_the_first_image_that_is_shown():
  _, images, _ = report_fakes.run()
  found = confusion.of({("class 0", "another"): 9}, images)
  assert found.shown["class 0", "another"] == ("test", 1)
  assert found.shown["class 0", "class 0"] == ("test", 0)
  assert confusion.of({}, images) is None

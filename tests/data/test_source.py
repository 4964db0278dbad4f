"""Subsets of a source: some of its images, and images under other labels."""

import numpy as np
from numpy.testing import assert_array_equal

from protojax.data import source as source_lib


def test_a_subset_has_the_labels_of_its_rows(array_source):
  whole = array_source(6)
  some = source_lib.subset(whole, [4, 1])
  assert len(some) == 2
  assert some.class_names == whole.class_names
  assert some.labels.tolist() == [1, 1]
  assert [some.name(i) for i in range(2)] == ["image 4", "image 1"]
  assert_array_equal(some[0]["image"], whole.images[4])
  assert some[0]["label"] == 1


def test_images_of_other_classes_have_no_label(array_source):
  whole = array_source(6)
  assert source_lib.of_classes(whole, whole.class_names) is whole
  other = source_lib.of_classes(whole, ("cat", "dog"))
  assert other.class_names == ("cat", "dog")
  assert_array_equal(other.labels, np.full(6, -1))
  assert other[5]["label"] == -1
  assert_array_equal(other[5]["image"], whole.images[5])

"""Prototypes of pixels at parts: worked out by hand."""

import numpy as np
from numpy.testing import assert_array_equal

from protojax.metrics import part_planes

_PLANE = np.array(
  [
    [1, 1, 1, 0, 2],
    [1, 1, 1, 0, 0],
    [1, 1, 1, 0, 2],
    [0, 0, 0, 0, 2],
    [3, 3, 0, 0, 2],
  ]
)


def test_each_area_of_a_part_has_a_centre():
  inside = np.ones((5, 5), bool)
  inside[4] = False  # Part 3, and the end of part 2, are of another object.
  found = part_planes.centres(_PLANE, inside)
  assert found.parts.tolist() == [1, 2, 2]
  assert list(zip(found.rows, found.columns, strict=True)) == [
    (1, 1),
    (0, 4),
    (2, 4),
  ]
  nothing = part_planes.centres(np.zeros((5, 5), int), inside)
  assert nothing.parts.size == nothing.rows.size == 0


def test_a_prototype_is_at_parts_among_a_fifth_of_the_objects_pixels():
  inside = np.ones((5, 5), bool)
  found = part_planes.centres(_PLANE, inside)
  maps = np.zeros((3, 5, 5))
  maps[0, :2, :2] = 2.0  # The centre of part 1, and no other.
  maps[0, 0, 0] = 3.0
  maps[0, 4, 3] = 1.0
  maps[1, 0, 4] = 5.0  # One of both areas of part 2 is enough.
  maps[1, 3:, :2] = np.arange(4).reshape(2, 2) + 1
  maps[2, 3, :] = 1.0  # Of no centre, but that of part 2 between its pixels.
  at = part_planes.present(maps, inside, found, np.array([1, 2, 3]))
  assert_array_equal(
    at, [[True, False, False], [False, True, True], [False, True, False]]
  )

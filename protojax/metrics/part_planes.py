"""Whether prototypes of pixels stand for parts that people have named.

Parts are connected areas of an object: a plane of numbers, 0 for none. In an
image a prototype is at a part if the centre of one of its areas is among the
places that the prototype is most similar to, of those of its class. From these
tables follow consistency and stability; see `parts`.

After Porta et al. (WACV 2025), whose code takes the background for an area, and
lacks the function that says which places are the most similar: here it is a
fifth of the object's own.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
import numpy as np
from scipy import ndimage

# Share of an object's pixels that are not among the most similar.
QUANTILE = 0.8


class Centres(NamedTuple):
  """Centres of the areas of parts.

  Attributes:
    parts: number of the part of each area.
    rows: of its centre.
    columns: of its centre.
  """

  parts: Int[np.ndarray, " a"]
  rows: Int[np.ndarray, " a"]
  columns: Int[np.ndarray, " a"]


def centres(
  plane: Int[np.ndarray, "H W"], inside: Bool[np.ndarray, "H W"]
) -> Centres:
  """The centre of each connected area of each part of an object.

  Args:
    plane: the part of each pixel; 0 is none.
    inside: pixels of the object.
  """
  numbers, places = [], []
  for part in np.unique(plane[inside]):
    if not part:
      continue
    areas, count = ndimage.label((plane == part) & inside, np.ones((3, 3)))
    found = ndimage.center_of_mass(areas > 0, areas, range(1, count + 1))
    numbers += [int(part)] * count
    places += [np.rint(place).astype(int) for place in found]
  rows, columns = np.array(places, int).reshape(-1, 2).T
  return Centres(np.array(numbers, int), rows, columns)


def present(
  similarity: Float[np.ndarray, "q H W"],
  inside: Bool[np.ndarray, "H W"],
  found: Centres,
  parts: Int[np.ndarray, " r"],
) -> Bool[np.ndarray, "q r"]:
  """Which prototypes are at which parts of an object.

  Args:
    similarity: of each pixel to each prototype.
    inside: pixels of the object, at least one.
    found: centres of its parts.
    parts: numbers of the parts that are asked for.
  """
  least = np.quantile(similarity[:, inside], QUANTILE, axis=1)[:, None]
  # A centre may lie beside its area, and beside the object.
  there = inside[found.rows, found.columns]
  at = (similarity[:, found.rows, found.columns] >= least) & there
  return np.stack(
    [np.any(at & (found.parts == part), axis=1) for part in parts], axis=1
  )

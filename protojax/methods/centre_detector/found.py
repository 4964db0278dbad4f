"""Answers of the network as objects in pixels and metres, on the host."""

from collections.abc import Mapping

from jaxtyping import Float
import numpy as np

from protojax.data import cuboids
from protojax.data.cuboids import Cuboids


def objects(
  row: Mapping[str, np.ndarray],
  camera: Float[np.ndarray, "3 4"] | None,
  kinds: tuple[str, ...],
  image_size: int,
  shape: tuple[int, int],
  least: float,
) -> Cuboids:
  """What was found in an image.

  Args:
    row: of `predict`, of one image.
    camera: projection matrix to pixels of the image; None: places in space are
      not known, and are what KITTI writes for that.
    kinds: index = class.
    image_size: pixels on a side that boxes are in.
    shape: height and width of the image.
    least: score of an answer.
  """
  height, width = shape
  sure = np.flatnonzero(row["scores"] >= least)
  top, left, bottom, right = row["boxes"][sure].T / image_size
  boxes = np.stack([left, top, right, bottom], axis=1)
  boxes = boxes * np.array([width, height, width, height])
  sizes = row["sizes"][sure].astype(float)
  names = [kinds[int(k)] for k in row["classes"][sure]]
  scores = row["scores"][sure].astype(float)
  if camera is None:
    n = len(sure)
    found = cuboids.made(
      names,
      boxes,
      np.full((n, 3), -1.0),
      np.full((n, 3), -1000.0),
      np.full(n, -10.0),
      scores,
    )
    return found._replace(alphas=row["angles"][sure].astype(float))
  places = cuboids.unprojected(
    row["middles"][sure, ::-1] * np.array([width, height], float),
    row["depths"][sure].astype(float),
    camera,
  )
  places[:, 1] += sizes[:, 0] / 2
  yaws = row["angles"][sure] + np.arctan2(places[:, 0], places[:, 2])
  return cuboids.made(names, boxes, sizes, places, cuboids.turned(yaws), scores)

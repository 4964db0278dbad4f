"""What an example of a driving data set holds: an image, its objects, a camera.

`kitti`, `nuscenes` and the embedded `driving_scenes` give examples of one form.
A batch has the boxes of the objects as the field "objects" (`fields.Boxes`),
and in the same order their cuboids as "cuboids": height, width, length, x, y,
z and yaw, `LENGTH` numbers for each of `MOST` objects. "camera" is the
projection matrix by rows, to shares of the image, so that it holds at any size.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
import numpy as np

from protojax.data.cuboids import Cuboids
from protojax.data.fields import Boxes, Field, Pixels, Vector
from protojax.datasets import kitti_labels
from protojax.types import UserError

# Objects of an image that a batch has room for; more are left out, far first.
MOST = 40
LENGTH = 7
FIELDS: Mapping[str, Field] = {
  "image": Pixels(),
  "objects": Boxes(MOST),
  "cuboids": Vector(MOST * LENGTH),
  "camera": Vector(12),
}


@runtime_checkable
class Driving(Protocol):
  """A source of images with objects in space."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """Kinds of objects that are learnt; index = class."""
    ...

  def objects(self, i: int) -> Cuboids:
    """All that is known of the objects of an image, "DontCare" too."""
    ...

  def camera(self, i: int) -> Float[np.ndarray, "3 4"]:
    """Projection matrix, from metres to pixels of the image."""
    ...

  def shape(self, i: int) -> tuple[int, int]:
    """Height and width of the image, in pixels."""
    ...

  def condition(self, i: int) -> str:
    """What the image is taken in, such as "fog"; '' where unknown."""
    ...


def example(
  image: UInt8[np.ndarray, "H W 3"],
  objects: Cuboids,
  camera: Float[np.ndarray, "3 4"],
  kinds: tuple[str, ...],
) -> dict:
  """The fields of an example.

  Objects of other kinds, and those whose box lies outside the image, are left
  out; boxes are cut at the edges of the image.
  """
  height, width, _ = image.shape
  seen = kitti_labels.seen(objects, height, width)
  seen = seen.chosen([kind in kinds for kind in seen.kinds])
  seen = seen.chosen(np.argsort(seen.places[:, 2], kind="stable")[:MOST])
  left, top, right, bottom = seen.boxes.T / np.array(
    [[width], [height], [width], [height]]
  )
  boxes = np.stack([top, left, bottom, right], axis=1)
  classes = np.array([kinds.index(kind) for kind in seen.kinds], np.int32)
  whole = np.zeros((MOST, LENGTH), np.float32)
  whole[: seen.number] = np.concatenate(
    [seen.sizes, seen.places, seen.yaws[:, None]], axis=1
  )
  shares = camera / np.array([[width], [height], [1]])
  return {
    "image": image,
    "objects": {"boxes": np.clip(boxes, 0, 1), "classes": classes},
    "cuboids": whole.reshape(-1),
    "camera": shares.reshape(-1).astype(np.float32),
  }


def require_kinds(kinds: tuple[str, ...]) -> None:
  """Refuses a config's kinds of objects, if there is none or one twice.

  Raises:
    UserError: says so.
  """
  if not kinds or len(set(kinds)) < len(kinds):
    raise UserError(
      f"--config.data.kinds={kinds}: name the kinds of objects to be found,"
      " each once, such as Car,Pedestrian,Cyclist"
    )

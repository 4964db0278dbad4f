"""Objects that were found, as KITTI's label files and in pictures.

An image DIR/image_2/000000.png has its camera in DIR/calib/000000.txt. Without
that file nothing is known of places in space, and they are written as KITTI
writes what is unknown.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
from pathlib import Path

from jaxtyping import Float, UInt8
import numpy as np
from PIL import Image, ImageDraw

from protojax import printing, writing
from protojax.data import cuboids, palette
from protojax.data.cuboids import Cuboids
from protojax.data.stream import Stream
from protojax.datasets import kitti_labels
from protojax.methods.base import Localises
from protojax.operations.segment_files import save
from protojax.types import UserError

# (stream, index of the image, row of the method's `predict`) -> nothing.
Write = Callable[[Stream, int, Mapping[str, np.ndarray]], None]

# Ends of the twelve edges of a cuboid.
_EDGES = (
  *((i, (i + 1) % 4) for i in range(4)),
  *((i + 4, (i + 1) % 4 + 4) for i in range(4)),
  *((i, i + 4) for i in range(4)),
)
# Pictures of small images are enlarged to as many pixels.
_WIDTH = 512


@contextlib.contextmanager
def writer(
  folder: str, given: Callable[[], Localises], least: float
) -> Iterator[Write | None]:
  """Function that writes the objects of an image to a folder; None for ''.

  Says on stderr of how many images the camera is not known.

  Args:
    folder: gets label_2/NAME.txt and pictures/NAME.png.
    given: gives the detector, once it is loaded.
    least: score of an object that is written.

  Raises:
    UserError: from the function, two images would have one name, or there is
      no room.
  """
  if not folder:
    yield None
    return
  blind: list[str] = []
  yield functools.partial(_write, Path(folder), given, least, set(), blind)
  if blind:
    printing.tell(
      f"without a camera, so that places in space are unknown: {len(blind)}"
      f" (no {blind[0]})"
    )


def _write(
  folder: Path,
  given: Callable[[], Localises],
  least: float,
  taken: set[str],
  blind: list[str],
  stream: Stream,
  index: int,
  row: Mapping[str, np.ndarray],
) -> None:
  source, detector = stream.source, given()
  path = Path(source.name(index))
  if path.stem in taken:
    raise UserError(f"two images would be written to {folder / path.stem}.txt")
  taken.add(path.stem)
  image = source[index]["image"]
  calibration = path.parent.parent / "calib" / f"{path.stem}.txt"
  camera = None
  if calibration.is_file():
    camera = kitti_labels.camera(calibration)
  else:
    blind.append(str(calibration))
  found = detector.objects(row, camera, image.shape[:2], least)
  with writing.replacing(folder / "label_2" / f"{path.stem}.txt") as file:
    file.write(kitti_labels.written(found))
  pictures = folder / "pictures"
  with writing.writing(pictures):
    pictures.mkdir(parents=True, exist_ok=True)
  drawn = picture(image, found, camera, detector.class_names)
  save(pictures / f"{path.stem}.png", Image.fromarray(drawn))


def picture(
  image: UInt8[np.ndarray, "H W 3"],
  found: Cuboids,
  camera: Float[np.ndarray, "3 4"] | None,
  kinds: tuple[str, ...],
) -> UInt8[np.ndarray, "h w 3"]:
  """The image with boxes, cuboids and scores, in a colour for each kind.

  Args:
    image: enlarged, if it is small.
    found: what is drawn.
    camera: from metres to pixels; None draws no cuboids.
    kinds: index = colour.
  """
  times = max(1, _WIDTH // image.shape[1])
  large = np.repeat(np.repeat(image, times, axis=0), times, axis=1)
  canvas = Image.fromarray(large)
  pen = ImageDraw.Draw(canvas)
  colours = palette.colours(len(kinds)).tolist()
  solid = None
  if camera is not None:
    points = cuboids.corners(found.sizes, found.places, found.yaws)
    solid = times * cuboids.projected(points, camera)
  for i, kind in enumerate(found.kinds):
    colour = tuple(colours[kinds.index(kind)])
    box = (times * found.boxes[i]).tolist()
    if box[2] >= box[0] and box[3] >= box[1]:
      pen.rectangle(box, outline=colour, width=2)
    if solid is not None:
      for a, b in _EDGES:
        pen.line([*solid[i, a].tolist(), *solid[i, b].tolist()], fill=colour)
    pen.text((box[0] + 2, box[1] + 1), f"{kind} {found.scores[i]:.2f}", colour)
  return np.asarray(canvas)

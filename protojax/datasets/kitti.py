"""KITTI's object benchmark, and folders of its layout (Geiger et al., 2012).

  root/training/image_2/000000.png   photographs, of any format that is read
  root/training/label_2/000000.txt   their objects; see `kitti_labels`
  root/training/calib/000000.txt     their cameras
  root/ImageSets/train.txt           names of a split, one a line

Without ImageSets the images are divided by a seed. Images of the same frames
can be added to the training images, as `generate` writes them: a folder of
image_2 and label_2, or a folder of such folders, each of a condition. Their
cameras are those of the frames by their names.
"""

from collections.abc import Mapping
import dataclasses
import functools
import io
import os
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float, Int32
import numpy as np
from PIL import Image

from protojax import text_files, writing
from protojax.data import images as images_lib
from protojax.data import splits as splits_lib
from protojax.data.cuboids import Cuboids
from protojax.data.fields import Field
from protojax.data.source import printable
from protojax.datasets import driving, files, image_check, kitti_labels, truths
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = driving.FIELDS
# The usual halves of the 7,481 labelled images (Chen et al., NeurIPS 2015).
PUBLISHED = {"classes": 3, "train": 3_712, "test": 3_769}

_IMAGES, _LABELS, _CAMERAS = "image_2", "label_2", "calib"


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  """A split of frames; see `source.Source` and `driving.Driving`.

  Attributes:
    places: (image, label, calibration, condition) of each; paths.
    class_names: kinds of objects that are learnt.
    skipped: (name, reason) of images that cannot be used.
  """

  places: tuple[tuple[str, str, str, str], ...]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...]
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return len(self.places)

  @functools.cached_property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self), -1, np.int32)

  def __getitem__(self, i: int) -> dict:
    path = self.places[i][0]
    try:
      image = images_lib.decode(path)
    except ValueError as error:
      raise UserError(
        f"{path} was readable when the data were opened and is not now: {error}"
      ) from error
    found = driving.example(
      image, self.objects(i), self.camera(i), self.class_names
    )
    return {**found, "name": self.name(i)}

  def objects(self, i: int) -> Cuboids:
    """What the label file says."""
    return kitti_labels.read(self.places[i][1])

  def camera(self, i: int) -> Float[np.ndarray, "3 4"]:
    """P2 of the calibration file."""
    return kitti_labels.camera(self.places[i][2])

  def shape(self, i: int) -> tuple[int, int]:
    """Height and width of the image, from its header."""
    return truths.size(self.places[i][0])

  def condition(self, i: int) -> str:
    """The name of the folder of added images; '' for the frames."""
    return self.places[i][3]

  def name(self, i: int) -> str:
    """Name of the frame, after that of a condition."""
    path, _, _, condition = self.places[i]
    stem = printable(os.path.splitext(os.path.basename(path))[0])
    return f"{condition}/{stem}" if condition else stem


def load(data: Any, split: str, seed: int) -> Frames:
  """Opens the training or test split that a config names.

  Args:
    data: `root`; `train` and `test`, names of ImageSets; `test_fraction`, the
      share to test on without ImageSets; `kinds` of objects; `added`, folders
      whose images are added to the training images, with commas between;
      in `root` or anywhere.
    split: "train" or "test".
    seed: divides the images, if no ImageSets do.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  kinds = tuple(data.kinds)
  driving.require_kinds(kinds)
  root = os.path.expanduser(data.root)
  base = os.path.join(root, "training")
  there = set(_stems(base, f"--config.data.root={data.root}").items())
  listed = _listed(root, data, split, seed, sorted(stem for stem, _ in there))
  frames = dict(there)
  if missing := [stem for stem in listed if stem not in frames]:
    raise UserError(
      f"{os.path.join(base, _IMAGES)} has no image {missing[0]}, which"
      f" ImageSets/{data[split]}.txt names"
    )
  places = [(frames[stem], *_beside(base, base, stem), "") for stem in listed]
  if split == "train":
    places += added(data.added, root, base, set(listed))
  # Added images may lie anywhere, so that all are told by their whole paths.
  whole = [os.path.abspath(place[0]) for place in places]
  bad = image_check.unreadable(os.path.abspath(root), whole)
  pairs = zip(places, whole, strict=True)
  kept = tuple(place for place, path in pairs if path not in bad)
  if not kept:
    raise UserError(f"{base} has no readable image")
  _require_texts(kept)
  return Frames(kept, kinds, tuple(bad.items()))


def _listed(
  root: str, data: Any, split: str, seed: int, stems: list[str]
) -> list[str]:
  """Names of the frames of a split."""
  folder = os.path.join(root, "ImageSets")
  if os.path.isdir(folder):
    text = text_files.read(os.path.join(folder, f"{data[split]}.txt"))
    return text.split()
  if len(stems) < 2:
    raise UserError(f"{root} has {len(stems)} images; two splits need two")
  held = set(splits_lib.held_out(stems, data.test_fraction, seed))
  return [s for i, s in enumerate(stems) if (i in held) == (split == "test")]


def _stems(base: str, given: str) -> dict[str, str]:
  """Name of each frame of a folder -> path of its image."""
  folder = os.path.join(base, _IMAGES)
  if not os.path.isdir(folder):
    raise UserError(
      f"{folder} is no folder: {given} takes a folder of KITTI's layout, with"
      f" training/{_IMAGES}, {_LABELS} and {_CAMERAS}"
    )
  paths, _ = files.below(folder)
  return {os.path.splitext(os.path.basename(p))[0]: p for p in paths}


def _beside(base: str, cameras: str, stem: str) -> tuple[str, str]:
  """Paths of the label and the calibration of a frame."""
  label = os.path.join(base, _LABELS, f"{stem}.txt")
  return label, os.path.join(cameras, _CAMERAS, f"{stem}.txt")


def added(
  folders: str, root: str, base: str, known: set[str]
) -> list[tuple[str, str, str, str]]:
  """Images of folders, or of the folders in them, of the frames of a split.

  Args:
    folders: with commas between; '' for none. Relative ones lie in `root`.
    root: of the data set.
    base: folder of the frames, with their calibration.
    known: names of the frames.

  Returns:
    See `Frames.places`.

  Raises:
    UserError: a folder is not there, or has no image of a frame.
  """
  each = (word.strip() for word in folders.split(","))
  places = (os.path.join(root, os.path.expanduser(w)) for w in each if w)
  return [found for place in places for found in _added(place, base, known)]


def _added(
  folder: str, base: str, known: set[str]
) -> list[tuple[str, str, str, str]]:
  if not os.path.isdir(folder):
    raise UserError(f"--config.data.added names {folder}, which is no folder")
  if os.path.isdir(os.path.join(folder, _IMAGES)):
    parts = [folder]
  else:
    parts = [
      os.path.join(folder, name)
      for name in files.folders(folder)
      if os.path.isdir(os.path.join(folder, name, _IMAGES))
    ]
  places = []
  for part in parts:
    condition = os.path.basename(os.path.normpath(part))
    for stem, path in sorted(_stems(part, "--config.data.added").items()):
      if stem in known:
        places.append((path, *_beside(part, base, stem), condition))
  if not places:
    raise UserError(
      f"--config.data.added={folder} has no image of a training frame: expected"
      f" {_IMAGES} and {_LABELS} with the names of the frames, or folders of"
      " them"
    )
  return places


def _require_texts(places: tuple[tuple[str, str, str, str], ...]) -> None:
  """Reads labels and cameras once, so that no training stops in the middle."""
  for _, label, camera, _ in places:
    for path, what in ((label, "labels"), (camera, "calibration")):
      if not os.path.isfile(path):
        raise UserError(f"{path} is not there: each image needs its {what}")
    kitti_labels.read(label)
    kitti_labels.camera(camera)


def write(
  folder: str,
  stem: str,
  image: np.ndarray,
  objects: Cuboids,
  camera: Float[np.ndarray, "3 4"] | None,
) -> None:
  """Writes a frame in this layout.

  Args:
    folder: that gets image_2, label_2 and calib.
    stem: name of the frame.
    image: its pixels.
    objects: its labels.
    camera: its projection matrix; None writes none.
  """
  picture = io.BytesIO()
  Image.fromarray(image).save(picture, "PNG")
  files_of = {
    (_IMAGES, "png"): picture.getvalue(),
    (_LABELS, "txt"): kitti_labels.written(objects).encode(),
  }
  if camera is not None:
    text = kitti_labels.written_camera(camera)
    files_of[_CAMERAS, "txt"] = text.encode()
  for (name, suffix), content in files_of.items():
    place = Path(folder) / name
    with writing.writing(place):
      place.mkdir(parents=True, exist_ok=True)
    with writing.replacing(place / f"{stem}.{suffix}", "wb") as file:
      file.write(content)

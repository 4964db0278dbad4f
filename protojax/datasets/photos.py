"""The embedded data set: crops of 13 photographs; each photograph is a class.

The photographs come with scikit-image and scikit-learn (the `demo` extra), so
nothing is downloaded. Training crops lie in the left 60 % of a photograph and
test crops in the right 40 %: no pixel is in both. The crops are written once as
a TFDS data set in the user's cache, and read like any other.
"""

from collections.abc import Iterator
import contextlib
import io
import os
from pathlib import Path
from typing import Any

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image

from protojax import parallel
from protojax.datasets import record_folder
from protojax.datasets import tfds as tfds_lib
from protojax.datasets.photographs import photograph
from protojax.types import UserError
from protojax.writing import temporary_folder

# To be changed with the crops: it names the folder in the cache.
VERSION = "1.1.0"
CROPS = {"train": 60, "test": 30}  # of each photograph
# Pixels. The network of the default config takes images of this size, so that
# crops are not resized.
_SIDE = 96
_TRAIN_SHARE = 0.6  # of the width
# Least standard deviation of a crop, in grey levels. Crops below it are flat
# (the black rim of the retina, the night sky behind the rocket).
_FLAT = 6.0

CLASS_NAMES = (
  *("astronaut", "brick", "chelsea", "china", "coffee", "flower", "grass"),
  *("gravel", "hubble_deep_field", "immunohistochemistry", "retina", "rocket"),
  "stereo_motorcycle",
)


def load(data: Any, split: str, seed: int) -> tfds_lib.Records:
  """Opens the training or test split that a config names."""
  del seed
  if data.root and not _folder(_place(data.root)).is_dir():
    raise UserError(
      f"--config.data.root={data.root} does not hold the embedded photographs:"
      " leave it out, or read images of your own with --config.data.name=folder"
    )
  return opened(data.root, data[split])


def opened(root: str, split: str) -> tfds_lib.Records:
  """Opens a split of the crops, and writes them first if they are not there.

  Args:
    root: folder of the prepared data set; '' is the user's cache.
    split: "train", "test" or a slice of them.

  Raises:
    UserError: scikit-image or scikit-learn is missing, or the folder cannot be
      written.
  """
  where = _place(root)
  folder = _folder(where)
  if not folder.is_dir():
    try:
      _prepare(where, folder)
    except OSError as e:
      raise UserError(
        f"cannot write the photos to {where} ({e.strerror or e}): free some"
        " space or set XDG_CACHE_HOME=DIR"
      ) from e
  return tfds_lib.open_split(record_folder.opened(folder), split)


def _place(root: str) -> Path:
  return Path(os.path.expanduser(root)) if root else parallel.cache_dir()


def _folder(where: Path) -> Path:
  return where / "protojax_photos" / VERSION


def boxes(
  name: str, image: UInt8[np.ndarray, "H W 3"], split: str
) -> Int[np.ndarray, "n 4"]:
  """Boxes of the crops of a photograph: x, y, width, height in pixels.

  They depend on the name and the split alone. A flat crop is drawn again.
  """
  height, width, _ = image.shape
  border = int(width * _TRAIN_SHARE)
  left, right = (0, border) if split == "train" else (border, width)
  seed = [CLASS_NAMES.index(name), list(CROPS).index(split)]
  generator = np.random.default_rng(seed)
  chosen = []
  while len(chosen) < CROPS[split]:
    x = int(generator.integers(left, right - _SIDE + 1))
    y = int(generator.integers(0, height - _SIDE + 1))
    crop, box = image[y : y + _SIDE, x : x + _SIDE], (x, y, _SIDE, _SIDE)
    if crop.std(axis=(0, 1)).mean() >= _FLAT and box not in chosen:
      chosen.append(box)
  return np.array(chosen)


def _crops(split: str) -> Iterator[tuple[str, dict]]:
  """(key, example) of every crop, the image as PNG bytes."""
  for name in CLASS_NAMES:
    image = photograph(name)
    for i, (x, y, w, h) in enumerate(boxes(name, image, split)):
      content = io.BytesIO()
      crop = Image.fromarray(image[y : y + h, x : x + w])
      # In less than half of the time, for 4 % of size.
      crop.save(content, "PNG", compress_level=1)
      key = f"{name}-{split}-{i:02d}"
      yield key, {"image": content.getvalue(), "label": name, "name": key}


def _prepare(where: Path, folder: Path) -> None:
  """Writes the data set to a temporary folder, then moves it to its place."""
  for name in CLASS_NAMES:  # a missing package is reported first
    photograph(name)
  folder.parent.mkdir(parents=True, exist_ok=True)
  with temporary_folder(folder.parent) as temporary:
    made = _builder(str(temporary))
    try:
      os.rename(made.data_dir, folder)
    except OSError:
      if not folder.is_dir():  # else another process wrote the same
        raise


def _builder(data_dir: str) -> Any:
  import tensorflow_datasets as tfds

  class Photos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Crops of the photographs in scikit-image and scikit-learn."""

    name = "protojax_photos"
    VERSION = tfds.core.Version(VERSION)

    def _info(self):
      features = tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(
            shape=(None, None, 3), encoding_format="png"
          ),
          "label": tfds.features.ClassLabel(names=CLASS_NAMES),
          "name": tfds.features.Text(),
        }
      )
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
      del dl_manager  # nothing is downloaded
      return {split: _crops(split) for split in CROPS}

    def _generate_examples(self):
      raise NotImplementedError("the splits bring their own generators")

  builder = Photos(data_dir=data_dir, file_format="array_record")
  # TFDS prints messages about downloads, but nothing is downloaded.
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare()
  return builder

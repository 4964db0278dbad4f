"""Makes slides of scikit-image's photograph of a stained colon, for CoMEL.

python benchmarks/stains.py slides --output=SLIDES
python -m protojax prepare slides --backbone=efficientnet_lite0 --image-size=64
  --source=SLIDES --output=DIR
python benchmarks/stains.py labels --output=DIR

A slide is a window of 6 x 6 tiles of 16 pixels, written as a pyramid TIFF. It
is called brown if it has a tile half of whose pixels have more than 0.1 of the
stain diaminobenzidine (`rgb2hed`). Windows for training are of the left half of
the photograph, those for testing of the right half; they overlap within it.
Nobody has marked this photograph: `labels` adds the stain's own truth to the
bags.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from skimage import data
from skimage.color import rgb2hed

_TILE, _SIDE, _EACH = 16, 6, 20  # pixels, tiles, slides of a split and class
_STAINED, _SHARE = 0.1, 0.5
# Microns a pixel: a tile of 256 pixels at 20x is then one of 16.
_MICRONS = 8.0
_SEED = 0


def _stained() -> np.ndarray:
  """Which tiles of the photograph are brown."""
  brown = rgb2hed(data.immunohistochemistry())[..., 2] > _STAINED
  count = len(brown) // _TILE
  tiles = brown.reshape(count, _TILE, count, _TILE)
  return tiles.mean(axis=(1, 3)) > _SHARE


def slides(output: Path) -> None:
  """Writes the slides, and bags.csv."""
  output.mkdir(parents=True, exist_ok=True)
  rng, stained = np.random.default_rng(_SEED), _stained()
  half = len(stained) // 2
  with (output / "bags.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(("bag", "task", "label", "split"))
    for split, first in (("train", 0), ("test", half)):
      places = [
        (y, first + x)
        for y in range(len(stained) - _SIDE + 1)
        for x in range(half - _SIDE + 1)
      ]
      left = {"normal": _EACH, "brown": _EACH}
      for y, x in rng.permutation(places):
        own = stained[y : y + _SIDE, x : x + _SIDE].any()
        label = "brown" if own else "normal"
        if left[label]:
          left[label] -= 1
          _write(output / f"{_name(y, x)}.tif", y, x)
          table.writerow((_name(y, x), "colon", label, split))


def _name(y: int, x: int) -> str:
  return f"row{y:02d}_column{x:02d}"


def _write(path: Path, y: int, x: int) -> None:
  import tifffile

  top, left, side = y * _TILE, x * _TILE, _SIDE * _TILE
  image = data.immunohistochemistry()[top : top + side, left : left + side]
  options = {
    "photometric": "rgb",
    "tile": (32, 32),
    "resolution": (1e4 / _MICRONS, 1e4 / _MICRONS),
    "resolutionunit": "CENTIMETER",
  }
  with tifffile.TiffWriter(path) as file:
    file.write(image, **options)
    file.write(image[::2, ::2], subfiletype=1, **options)


def labels(output: Path) -> None:
  """Adds "labels" to the bags of a folder."""
  stained = _stained()
  for path in sorted(output.glob("*.npz")):
    y, x = (int(part[-2:]) for part in path.stem.split("_"))
    with np.load(path) as file:
      arrays = dict(file)
    across, down = arrays["coords"].T // _TILE
    arrays["labels"] = stained[y + down, x + across].astype(int)
    np.savez(path, **arrays)


def main() -> None:
  """Writes what is asked for."""
  makers = {"slides": slides, "labels": labels}
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("what", choices=makers)
  parser.add_argument("--output", type=Path, required=True, metavar="DIR")
  args = parser.parse_args()
  makers[args.what](args.output)


if __name__ == "__main__":
  main()

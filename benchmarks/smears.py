"""Makes bags and many-labelled images of the blood smears of BCCD.

python benchmarks/smears.py bags --data=DIR --output=DIR/bccd_bags
python benchmarks/smears.py quarters --data=DIR --output=DIR/bccd_quarters

--data has `bccd`: images/ and boxes.csv (filename, cell_type, xmin, xmax, ymin,
ymax). Six tenths of the photographs are for training, by their number.

bags, for CoMEL: an instance is a cell, cut out by its true box, and its vector
the pooled map of EfficientNet-Lite0. The first task asks for a white cell in
half of a photograph, the second for a platelet in a whole one; no photograph is
in both.

quarters, for PatchCT: the photographs cut in four, with the kinds of the cells
whose centres lie in each as labels.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
import csv
from pathlib import Path
import sys
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from protojax import backbones, parallel
from protojax.backbones import pooled
from protojax.prototypes import start

_KINDS = {"RBC": "red", "WBC": "white", "Platelets": "platelet"}
_WIDTH, _HEIGHT = 640, 480
_BACKBONE, _SIDE = "efficientnet_lite0", 64
# Of ten photographs, the first ones are for training.
_TRAINING = 6


class Cell(NamedTuple):
  """One cell: its kind, and its box in pixels."""

  kind: str
  box: tuple[int, int, int, int]

  @property
  def middle(self) -> tuple[float, float]:
    """x and y of its centre."""
    left, top, right, bottom = self.box
    return (left + right) / 2, (top + bottom) / 2


def _photographs(root: Path) -> Mapping[str, list[Cell]]:
  """File -> its cells, by the files' names."""
  found: dict[str, list[Cell]] = defaultdict(list)
  with (root / "boxes.csv").open(newline="") as file:
    for row in csv.DictReader(file):
      place = [int(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
      left, top, right, bottom = place
      box = left, top, max(right, left + 1), max(bottom, top + 1)
      found[row["filename"]].append(Cell(_KINDS[row["cell_type"]], box))
  return dict(sorted(found.items()))


def _split(number: int) -> str:
  return "train" if number % 10 < _TRAINING else "test"


def _bags(
  photographs: Mapping[str, list[Cell]],
) -> Iterator[tuple[str, str, str, str, list[Cell]]]:
  """Name, task, split, file and cells of each bag."""
  for number, (file, cells) in enumerate(photographs.items()):
    name, split = Path(file).stem, _split(number // 2)
    if number % 2:
      yield name, "platelet", split, file, cells
      continue
    for half in range(2):
      own = [c for c in cells if (c.middle[0] >= _WIDTH / 2) == half]
      if own:
        yield f"{name}_{half}", "white", split, file, own


def bags(root: Path, output: Path) -> None:
  """Writes SPLIT/TASK/CLASS/BAG.npz with features, places, labels, tiles."""
  backbone = backbones.load(_BACKBONE)
  variables = start.variables(backbone, _BACKBONE, "")
  embed = jax.jit(lambda tiles: pooled.pooled(backbone, variables, tiles))
  for name, task, split, file, cells in _bags(_photographs(root)):
    with Image.open(root / "images" / file) as image:
      size = _SIDE, _SIDE
      tiles = np.stack(
        [
          np.asarray(image.convert("RGB").resize(size, box=c.box))
          for c in cells
        ]
      )
    # Padded: one shape is compiled.
    padded = np.zeros((64, *tiles.shape[1:]), np.uint8)
    padded[: len(tiles)] = tiles
    labels = np.array([c.kind == task for c in cells], int)
    folder = output / split / task / (task if labels.any() else "normal")
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
      folder / f"{name}.npz",
      features=np.asarray(embed(padded))[: len(tiles)],
      coords=np.array([c.middle for c in cells]),
      labels=labels,
      tiles=tiles,
    )


def quarters(root: Path, output: Path) -> None:
  """Writes images and labels.csv."""
  output.mkdir(parents=True, exist_ok=True)
  kinds = tuple(_KINDS.values())
  with (output / "labels.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(("image", *kinds, "split"))
    for number, (name, cells) in enumerate(_photographs(root).items()):
      with Image.open(root / "images" / name) as image:
        for row in range(2):
          for column in range(2):
            left, top = column * _WIDTH // 2, row * _HEIGHT // 2
            corner = left, top, left + _WIDTH // 2, top + _HEIGHT // 2
            there = {
              c.kind
              for c in cells
              if (c.middle[0] >= _WIDTH / 2, c.middle[1] >= _HEIGHT / 2)
              == (bool(column), bool(row))
            }
            part = f"{Path(name).stem}_{row}{column}.png"
            image.crop(corner).save(output / part)
            tags = [int(kind in there) for kind in kinds]
            table.writerow((part, *tags, _split(number)))


def main() -> None:
  """Writes what is asked for."""
  makers = {"bags": bags, "quarters": quarters}
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("what", choices=makers)
  parser.add_argument("--data", type=Path, required=True, metavar="DIR")
  parser.add_argument("--output", type=Path, required=True, metavar="DIR")
  args = parser.parse_args()
  parallel.setup()
  makers[args.what](args.data / "bccd", args.output)


if __name__ == "__main__":
  main()

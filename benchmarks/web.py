"""Makes a web with known noise of the photographs of Caltech-101.

python benchmarks/web.py --data=DIR --output=DIR/caltech101_web

--data has `caltech101_mini`, folders of twelve classes, and
`caltech101_mini_ood`, photographs of none of them. By the hash of its name, an
image of a class is one of 16 clean ones, one of 12 to test on, or of the web;
of these, 30 % go into the folder of another class, and the photographs of none
are spread over all. truth.csv says what each image of the web shows.
"""

import argparse
import hashlib
from pathlib import Path
import shutil
import sys

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from protojax import csv_files

_CLEAN, _TEST, _FLIPPED = 16, 12, 0.3


def _ranked(folder: Path) -> list[Path]:
  return sorted(
    folder.glob("*.jpg"),
    key=lambda path: hashlib.sha1(path.name.encode()).hexdigest(),
  )


def make(data: Path, output: Path) -> None:
  """Copies the images, and writes the truth."""
  rng = np.random.default_rng(0)
  folders = sorted(
    p for p in (data / "caltech101_mini").iterdir() if p.is_dir()
  )
  names = [folder.name for folder in folders]
  web: list[tuple[Path, str, str]] = []
  for k, folder in enumerate(folders):
    images = _ranked(folder)
    parts = {"clean": images[:_CLEAN], "test": images[_CLEAN : _CLEAN + _TEST]}
    for part, chosen in parts.items():
      for path in chosen:
        _copy(path, output / part / folder.name / path.name)
    rest = images[_CLEAN + _TEST :]
    wrong = set(rng.permutation(len(rest))[: round(_FLIPPED * len(rest))])
    for i, path in enumerate(rest):
      other = names[(k + int(rng.integers(1, len(names)))) % len(names)]
      web.append((path, other if i in wrong else folder.name, folder.name))
  for path in _ranked(data / "caltech101_mini_ood"):
    web.append((path, names[int(rng.integers(len(names)))], ""))
  with (output / "truth.csv").open("w", newline="") as file:
    writer = csv_files.Writer(file)
    writer.row(("image", "truth"))
    for number, (path, given, shown) in enumerate(web):
      name = f"web/{given}/{number:04d}.jpg"
      _copy(path, output / name)
      writer.row((name, shown))


def _copy(path: Path, to: Path) -> None:
  to.parent.mkdir(parents=True, exist_ok=True)
  shutil.copyfile(path, to)


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", type=Path, required=True)
  parser.add_argument("--output", type=Path, required=True)
  given = parser.parse_args()
  make(given.data, given.output)

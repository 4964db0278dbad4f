"""Large data: memory of a push and of an explanation, and a list of files.

python benchmarks/large.py [push] [explanation] [listing] [resume]
  [--images N] [--json FILE]

`push` streams N images of 32 pixels (64 random ones, again and again, each
decoded by nobody and kept by nobody) through the push of 200 prototypes of the
small ConvNet, and `explanation` a tenth of them through the global explanation
(every modification but texture). Told is the memory of the process when 1 %,
50 % and all of the images have been read. `listing` opens a folder of N small
JPEG files of 1,000 classes twice: the first time each file is checked. `resume`
starts that push's stream in the middle, and
tells the seconds to its first batch. N is 1,000,000 by default.
"""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, pictures, ratios
from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.datasets import folder
from protojax.modify import presets
from protojax.prototypes import push as push_lib
from protojax.types import Batch

_SIZE, _BATCH, _PIXELS = 32, 256, 64
_PROTOTYPES, _FOLDERS = 200, 1_000
_SHARES = 0.01, 0.5, 1.0
# Of the images: those that are explained.
_EXPLAINED = 0.1


@dataclasses.dataclass
class Watched:
  """A stream that notes the memory of the process as it is read.

  Attributes:
    stream: gives the batches.
    resident: bytes at each of `_SHARES`.
  """

  stream: stream_lib.Stream
  resident: list[int] = dataclasses.field(default_factory=list)

  def batches(self) -> Iterator[Batch]:
    """Those of the stream."""
    steps = self.stream.steps_per_epoch
    marks = [max(1, round(share * steps)) for share in _SHARES]
    for number, batch in enumerate(self.stream.batches(), 1):
      yield batch
      # The batch before has been worked on; this one is on its way.
      self.resident += [harness.resident() for x in marks if x == number]

  def examples(self, indices: Any) -> Batch:
    """Chosen ones."""
    return self.stream.examples(indices)


def _stream(images: int) -> stream_lib.Stream:
  """So many images, none of which is kept."""
  names = pictures.class_names()
  source = pictures.Tiled(pictures.random(_PIXELS, _SIZE), images, names)
  return stream_lib.ordered(source, _SIZE, _BATCH, cache_bytes=0)


def _row(
  name: str, images: int, work: Callable[[Watched], object]
) -> harness.Row:
  watched = Watched(_stream(images))
  began = time.perf_counter()
  work(watched)
  seconds = time.perf_counter() - began
  first, half, whole = (x / 1e6 for x in watched.resident)
  return {
    "row": f"{name}, {images:,} images",
    "seconds": round(seconds, 1),
    "images/s": round(images / seconds),
    "MB at 1 %": round(first),
    "MB at 50 %": round(half),
    "MB at 100 %": round(whole),
    "growth": round(whole / first, 3),
  }


def push(images: int) -> Iterator[harness.Row]:
  """Memory of a push."""
  yield _row("push", images, _pushed())


def _pushed() -> Callable[[Watched], object]:
  model, state = pictures.network("convnet", _PROTOTYPES, _SIZE)
  return lambda stream: push_lib.push(
    model.embedded_map, state, stream, model.similarity
  )


@dataclasses.dataclass(frozen=True)
class Growth:
  """What a push adds to the memory of its process, for `guard.py`.

  Attributes:
    images: that are streamed.
    better: as of a `ratios.Pair`.
  """

  images: int
  better: ratios.Better = "lower"

  @property
  def row(self) -> str:
    """What the row is called."""
    return f"memory of a push of {self.images:,} images, at 100 % / at 1 %"

  def measure(self, repeats: int) -> harness.Row:
    """The ratio; a push is made once."""
    del repeats
    found = _row("push", self.images, _pushed())
    return {
      "row": self.row,
      "ours ms": round(1e3 * found["seconds"] / self.images, 2),
      "other ms": "",
      "ratio": found["growth"],
      "target": 1.5,
      "better": self.better,
      "met": "yes" if found["growth"] <= 1.5 else "no",
      "first calls s": "",
    }


def streamed(quick: bool) -> Iterator[Growth]:
  """Memory of a push that is long enough to show what grows."""
  yield Growth(20_000 if quick else 1_000_000)


def opened(quick: bool) -> Iterator[ratios.Pair]:
  """A folder that was checked before, against a walk through it.

  The walk asks for the size of each file; what is known of the files is read,
  too, on our side.
  """
  images = 5_000 if quick else 100_000
  with tempfile.TemporaryDirectory() as root:
    top = _folder(root, images)
    folder.opened(top, "train")

    def walked() -> int:
      places = (
        os.path.join(place, file)
        for place, _, files in os.walk(top)
        for file in files
      )
      return sum(os.stat(place).st_size for place in places)

    yield ratios.Pair(
      f"folder of {images:,} files, opened again / walked through",
      lambda: folder.opened(top, "train"),
      walked,
      10.0,
      "lower",
      ours_units=images,
      other_units=images,
    )


def explanation(images: int) -> Iterator[harness.Row]:
  """Memory of a global explanation."""
  model, state = pictures.network("convnet", _PROTOTYPES, _SIZE)
  kept = [m for m in presets.REFERENCE.modifications if m.name != "texture"]
  preset = dataclasses.replace(presets.REFERENCE, modifications=tuple(kept))

  def work(stream: Watched) -> None:
    pictures.explained(model, state, stream.batches(), preset)

  yield _row("explanation", round(_EXPLAINED * images), work)


def listing(images: int) -> Iterator[harness.Row]:
  """Seconds in which a folder is opened, and opened again."""
  with tempfile.TemporaryDirectory() as root:
    top = _folder(root, images)
    for time_ in ("first", "second"):
      before, began = harness.resident(), time.perf_counter()
      used = time.process_time()
      source = folder.opened(top, "train")
      yield {
        "row": f"{len(source):,} files, opened for the {time_} time",
        "seconds": round(time.perf_counter() - began, 1),
        "of a processor": round(time.process_time() - used, 1),
        "MB": round((harness.resident() - before) / 1e6),
      }


def _folder(root: str, images: int) -> str:
  """A folder of so many images for training, and one of each class to test."""
  files = [f"{root}/{i}.jpg" for i in range(_PIXELS)]
  for file, pixels in zip(files, pictures.random(_PIXELS, _SIZE), strict=True):
    Image.fromarray(pixels).save(file)
  for i in range(images):
    # Names of a few files: what is measured is not the disk.
    _link(files[i % _PIXELS], f"{root}/all/train/class{i % _FOLDERS}", i)
  for k in range(_FOLDERS):
    _link(files[0], f"{root}/all/test/class{k}", k)
  return f"{root}/all"


def _link(file: str, place: str, number: int) -> None:
  os.makedirs(place, exist_ok=True)
  os.link(file, f"{place}/{number:07d}.jpg")


def resume(images: int) -> Iterator[harness.Row]:
  """Seconds to the first batch of a shuffled stream, in its middle."""
  names = pictures.class_names()
  source = pictures.Tiled(pictures.random(_PIXELS, _SIZE), images, names)
  began = time.perf_counter()
  stream = stream_lib.shuffled(source, _SIZE, _BATCH, 0, cache_bytes=0)
  middle = stream.steps_per_epoch // 2
  next(iter(stream.batches(middle, middle + 1)))
  yield {
    "row": f"first batch in the middle of {images:,} images",
    "seconds": round(time.perf_counter() - began, 2),
  }


_BENCHMARKS = {
  "push": push,
  "explanation": explanation,
  "listing": listing,
  "resume": resume,
}


def main() -> None:
  """Prints a table for each that was asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  names = ", ".join(_BENCHMARKS)
  parser.add_argument("only", nargs="*", metavar="NAME", help=names)
  parser.add_argument("--images", type=int, default=1_000_000)
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  if unknown := sorted(set(args.only) - set(_BENCHMARKS)):
    parser.error(f"{', '.join(unknown)}: there are {names}")
  parallel.setup()
  print(f"{harness.machine()}\n")
  for name in args.only or _BENCHMARKS:
    harness.tell(_BENCHMARKS[name](args.images), args.json)


if __name__ == "__main__":
  main()

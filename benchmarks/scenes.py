"""Whether a text-to-image model draws what captions of scenes say.

python benchmarks/scenes.py RUN [--number N] [--guidance W]

RUN is a run of configs/text_to_image_scenes.py. For one, two and three
things, all combinations and those held out of training, N captions are drawn
and judged (`protojax.evaluation.scene_scores`): share of the things that are
there, and of the images that show all of theirs. The same numbers are told for
the real scenes of these captions.
"""

import argparse
from pathlib import Path
import sys

from ml_collections import ConfigDict
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from protojax import loading, parallel, printing
from protojax.datasets import captioned_scenes
from protojax.evaluation import scene_scores
from protojax.methods.base import needed

_SPLITS = ("test", "unseen")
_THINGS = (1, 2, 3)


def scenes(split: str, things: int, number: int) -> captioned_scenes.Scenes:
  """Scenes to judge by, of another seed than those that a run is tested on."""
  data = {
    "test": f"{split}:{number}",
    "things": (things, things),
    "weather": False,
    "held_out": True,
  }
  return captioned_scenes.load(ConfigDict(data), "test", seed=10_000)


def main() -> None:
  """Draws and judges."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("run", type=Path)
  parser.add_argument("--number", type=int, default=100)
  parser.add_argument("--guidance", type=float)
  parser.add_argument("--grid", type=Path, help="PNG of the first images")
  args = parser.parse_args()
  parallel.setup()
  method, state, _ = loading.load(args.run)
  generates = needed(method, "generates")
  state = parallel.replicate(state)
  asked = {} if args.guidance is None else {"guidance": args.guidance}
  printing.say("| combinations | things | pairs | all of them | real scenes |")
  printing.say("|---|---|---|---|---|")
  rows = []
  for split in _SPLITS:
    for things in _THINGS:
      source = scenes(split, things, args.number)
      texts = list(source.captions)
      conditions = {**asked, "prompt": texts}
      images = generates.generate(
        state, conditions, parallel.key(0), args.number
      )
      rows.append(images[:16])
      real = np.stack([source[i]["image"] for i in range(args.number)])
      found, truth = (scene_scores.score(x, texts) for x in (images, real))
      name = "all" if split == "test" else "held out"
      printing.say(
        f"| {name} | {things} | {found.pairs.mean():.3f} |"
        f" {found.strict.mean():.3f} | {truth.strict.mean():.3f} |"
      )
  if args.grid:
    _write(args.grid, rows)


def _write(path: Path, rows: list) -> None:
  from PIL import Image

  grid = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
  large = np.repeat(np.repeat(grid, 3, axis=0), 3, axis=1)
  Image.fromarray(large).save(path)


if __name__ == "__main__":
  main()

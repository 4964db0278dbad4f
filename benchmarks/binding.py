"""What the experiments of VSC measure: things that are there as asked for.

For captions of two and of three things, of all combinations and of those held
out of training, images are drawn by the run and by its base, from the same
noise, and judged by `evaluation.scene_scores`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from benchmarks import scenes
from protojax import loading, parallel
from protojax.evaluation import scene_scores
from protojax.evaluation.scene_scores import Score
from protojax.methods.base import needed

SPLITS = {"all": "test", "held out": "unseen"}
THINGS = (2, 3)
FIGURES = {
  f"{what}, {count} things, {name}": f"{split}.{count}.{what}"
  for name, split in SPLITS.items()
  for count in THINGS
  for what in ("pairs", "strict")
}
BEST = {
  f"best of as many draws, {count} things, {name}": f"{split}.{count}.best"
  for name, split in SPLITS.items()
  for count in THINGS
}


def measured(
  workdir: Path, data: Path, images: int, best: bool = True
) -> Mapping[str, Any]:
  """Split -> number of things -> "pairs", "strict" and "best".

  "best" is "strict" of the base if it draws an image for each one that VSC
  draws of a caption, references included, and the judge itself takes the best:
  1 + n m of them. It is known of a run alone whose fusion was not trained,
  which draws as its base; else None.

  Args:
    workdir: of the run.
    data: ignored.
    images: drawn of each kind.
    best: whether it is measured at all.
  """
  del data
  method, state, config = loading.load(workdir)
  generates = needed(method, "generates")
  state = parallel.replicate(state)
  found: dict[str, dict[str, dict[str, float | None]]] = {}
  for split in SPLITS.values():
    for things in THINGS:
      texts = list(scenes.scenes(split, things, images).captions)

      def drawn(key: int, texts: list[str] = texts) -> UInt8[np.ndarray, "..."]:
        asked = {"prompt": texts}
        return generates.generate(state, asked, parallel.key(key), len(texts))

      first = scene_scores.score(drawn(0), texts)
      row = {"pairs": float(first.pairs.mean())}
      row["strict"] = float(first.strict.mean())
      row["best"] = None
      if best and not config.steps:
        more = range(1, 1 + things * config.references.count)
        scores = [scene_scores.score(drawn(key), texts) for key in more]
        row["best"] = best_of([first, *scores])
      found.setdefault(split, {})[str(things)] = row
  return found


def best_of(scores: list[Score]) -> float:
  """The share of captions of which one draw or another shows all things."""
  return float(np.any([score.strict for score in scores], axis=0).mean())

"""DriveGEN on embedded scenes: objects that stay, and conditions that come.

python benchmarks/drivegen.py RUN [--number N] [--steps T] [--arms NAME,NAME]
  [--conditions NAME,NAME] [--guidance W] [--grid FILE]

A comma in the name of an arm is typed as ";".

RUN is a run of configs/text_to_image_scenes.py:weather; its seed draws the
scenes. Clear ones of two things are drawn in snow, fog and night, and judged by
what knows nothing of the model: each box by the judge of scenes
(`evaluation.scene_scores`), when the condition is taken off by its formula;
what is outside of the boxes by a classifier that has learned the conditions
from real scenes. Both are asked of real scenes in these conditions, too.
`agreement` is that of the report of `generate`. benchmarks/experiments has the
same as an experiment, drivegen_weather.
"""

import argparse
from collections.abc import Mapping, Sequence
import dataclasses
import functools
from pathlib import Path
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from protojax import loading, parallel, printing
from protojax.datasets import captioned_scenes, scene_world
from protojax.datasets.scene_world import CONDITIONS, SIDE
from protojax.diffusion import pixels, regeneration, regions
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.diffusion.steering import Settings, Strength, Texts
from protojax.evaluation import held_objects, scene_scores
from protojax.methods.base import needed
from protojax.types import PyTree


class Arm(NamedTuple):
  """How scenes are held.

  Attributes:
    keys, boxes: weights of the losses.
    region: where keys count.
    share: of the guidance that is asked for; above 1: more of it.
  """

  keys: float = 0
  boxes: float = 0
  region: str = "both"
  share: float = 1


ARMS: Mapping[str, Arm] = {
  "none": Arm(),
  "none, half of the guidance": Arm(share=1 / 2),
  "none, twice the guidance": Arm(share=2),
  "none, four times the guidance": Arm(share=4),
  "keys 300": Arm(300),
  "keys 1000": Arm(1000),
  "keys 3000": Arm(3000),
  "boxes 16": Arm(0, 16),
  "boxes 64": Arm(0, 64),
  "boxes 256": Arm(0, 256),
  "both 300, 16": Arm(300, 16),
  "both 1000, 16": Arm(1000, 16),
  "both 1000, 64": Arm(1000, 64),
  "both 3000, 64": Arm(3000, 64),
  "both 1000, 64, twice the guidance": Arm(1000, 64, share=2),
  "both 1000, 64, four times the guidance": Arm(1000, 64, share=4),
  "keys 1000, cross": Arm(1000, 0, "cross"),
  "keys 1000, layout": Arm(1000, 0, "layout"),
  "keys 1000, inside": Arm(1000, 0, "inside"),
  "keys 1000, everywhere": Arm(1000, 0, "none"),
}
REAL = "real"
FIGURES = ("thing", "type", "agreement", "condition")
# Seeds of scenes that no run is trained or tested on: to draw, and to learn
# the conditions from.
_SEED, _OTHERS = 10_000, 20_000
_LEARNED = 300  # scenes that the classifier of conditions learns from
_GREY = 128


class World(NamedTuple):
  """Clear scenes, and what is asked of their models.

  Attributes:
    scenes: what they hold.
    images: [n S S 3].
    boxes: of each, in pixels.
    captions: of each.
  """

  scenes: list
  images: np.ndarray
  boxes: list
  captions: list


def world(number: int, seed: int) -> World:
  """Clear scenes of two things, of all combinations."""
  source = _source(number, seed)
  scenes = [source.scene(i) for i in range(number)]
  boxes = [
    np.concatenate([s.corners, s.corners + s.sides[:, None]], 1).astype(float)
    for s in scenes
  ]
  images = np.stack([source[i]["image"] for i in range(number)])
  return World(scenes, images, boxes, list(source.captions))


def _source(number, seed):
  data = {
    "test": f"test:{number}",
    "things": (2, 2),
    "weather": False,
    "held_out": True,
  }
  return captioned_scenes.load(ConfigDict(data), "test", seed)


def real(scenes: Sequence, condition: int) -> np.ndarray:
  """The same scenes in a condition, as they are drawn."""
  return np.stack(
    [
      scene_world.picture(s._replace(condition=condition), "test").image
      for s in scenes
    ]
  )


def cleared(image: np.ndarray, condition: int) -> np.ndarray:
  """An image with a condition taken off; flakes stay."""
  x, name = image / 255.0, CONDITIONS[condition]
  if name == "snow":
    x = (x - 0.2) / 0.8
  elif name == "fog":
    depth = np.linspace(0.65, 0.35, len(x))[:, None, None]
    x = (x - 0.85 * depth) / (1 - depth)
  elif name == "night":
    x = x / np.array([0.3, 0.32, 0.45])
  return np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)


def things(w: World, images: np.ndarray, condition: int) -> np.ndarray:
  """Whether each thing, and its type alone, is in its box: [things 2]."""
  found = []
  for i, image in enumerate(images):
    clear = cleared(image, condition)
    wanted = scene_scores.wanted(w.captions[i])
    for box, thing in zip(w.boxes[i].astype(int), wanted, strict=True):
      alone = np.full_like(clear, _GREY)
      place = np.s_[box[0] : box[2], box[1] : box[3]]
      alone[place] = clear[place]
      seen = scene_scores.seen(alone)
      found.append(
        (thing in seen, thing.type in {other.type for other in seen})
      )
  return np.array(found, float)


def _features(images: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
  """What tells a condition, outside of the boxes: levels, bands and flakes."""
  rows = []
  for image, of in zip(images, boxes, strict=True):
    x = image / 255.0
    outside = np.ones(x.shape[:2], bool)
    for top, left, bottom, right in of.astype(int):
      outside[top:bottom, left:right] = False
    bands = [x[k : k + 8][outside[k : k + 8]].mean() for k in range(0, SIDE, 8)]
    own = x[outside]
    light = (own.min(-1) > 0.9).mean()
    rows.append([*own.mean(0), *own.std(0), *bands, light])
  return np.array(rows)


@functools.cache
def classifier() -> Any:
  """Tells the condition of an image; learned from real scenes."""
  from sklearn.linear_model import LogisticRegression
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  w = world(_LEARNED, seed=_OTHERS)
  features, labels = [], []
  for condition in range(len(CONDITIONS)):
    features.append(_features(real(w.scenes, condition), w.boxes))
    labels += [condition] * _LEARNED
  found = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
  return found.fit(np.concatenate(features), labels)


def judged(w: World, images: np.ndarray, condition: int) -> dict[str, float]:
  """The figures of images that are said to be in a condition."""
  there = things(w, images, condition)
  agreement = np.concatenate(
    [
      held_objects.agreement(*pair, boxes)
      for *pair, boxes in zip(w.images, images, w.boxes, strict=True)
    ]
  )
  said = classifier().predict(_features(images, w.boxes))
  return {
    "thing": float(there[:, 0].mean()),
    "type": float(there[:, 1].mean()),
    "agreement": float(np.nanmean(agreement)),
    "condition": float(np.mean(said == condition)),
  }


class Steered:
  """A model that redraws scenes with any weights; noise is found once."""

  def __init__(
    self, model: GuidableDiffusion, weights: PyTree, w: World, s: Settings
  ) -> None:
    self._model, self._weights, self._w, self._settings = model, weights, w, s
    self._example = self._read(w.captions)
    self._path = jax.jit(
      lambda weights, images, text: regeneration.inverted(
        model, weights, images, text, s.steps
      )
    )(weights, pixels.signed(w.images), self._example)
    self._objects = self._boxes()
    self._programs: dict = {}

  @functools.cached_property
  def _basis(self):
    return jax.jit(
      lambda weights, noise, texts: regeneration.extracted(
        self._model, weights, noise, texts, self._settings
      )
    )(self._weights, self._path[0], self._texts(0))

  def draw(self, arm: Arm, condition: int) -> np.ndarray:
    """The scenes in a condition, uint8 [n S S 3]."""
    s = self._settings
    # One program for all weights of a region; without keys, a shorter one.
    settings = dataclasses.replace(
      s,
      region=arm.region,
      semantic=s.semantic if arm.keys else 0.0,
      guidance=s.guidance * arm.share,
    )
    if settings not in self._programs:
      self._programs[settings] = jax.jit(
        functools.partial(self._drawn, settings)
      )
    found = self._programs[settings](
      self._weights,
      self._path,
      self._texts(condition),
      self._objects,
      Strength(jnp.float32(arm.keys), jnp.float32(arm.boxes)),
      self._basis if arm.keys else None,
    )
    return np.asarray(pixels.as_bytes(found))

  def _drawn(self, settings, weights, path, texts, objects, strength, basis):
    found = regeneration.regenerated(
      self._model, weights, path, texts, objects, settings, strength, basis
    )
    return self._model.decoded(weights, found.x)

  def _read(self, texts):
    return self._model.read(self._weights, self._model.caption(texts))

  def _texts(self, condition):
    ending = f" in the {CONDITIONS[condition]}" if condition else ""
    wanted = [text + ending for text in self._w.captions]
    nothing = self._read([""] * len(wanted))
    return Texts(self._example, self._read(wanted), nothing)

  def _boxes(self):
    model, w, size = self._model, self._w, (SIDE, SIDE)
    grid = model.grid(SIDE, SIDE, model.steered)
    places = [regions.on_grid(b, size, grid) for b in w.boxes]
    cells = [
      regions.in_cells(b, 1, size, self._settings.enlarged) for b in w.boxes
    ]
    # A category a thing: its words in the caption.
    length = self._example.valid.shape[1]
    words = np.zeros((len(w.boxes), 2, length), bool)
    for i, text in enumerate(w.captions):
      for k, thing in enumerate(scene_scores.wanted(text)):
        words[i, k, list(model.places(text, thing.type))] = True
    category = [np.arange(2)] * len(w.boxes)
    return regions.padded(places, cells, category, words, 2)


def measured(
  run: Path,
  data: Path,
  number: int,
  steps: int,
  guidance: float,
  arms: Sequence[str] = tuple(ARMS),
  asked: Sequence[str] = CONDITIONS[1:],
  grid: Path | None = None,
) -> dict[str, dict[str, float]]:
  """Arm -> its figures, means over conditions; `REAL` is of real scenes.

  Args:
    run: of the base; its seed draws the scenes.
    data: not read.
    number: of scenes.
    steps, guidance: of the sampler.
    arms: names of `ARMS`.
    asked: conditions.
    grid: PNG to write, of the first scenes: a row an arm.
  """
  del data
  parallel.setup()
  method, state, config = loading.load(run)
  model = needed(method, "guidable")
  w = world(number, _SEED + config.seed)
  settings = Settings(steps=steps, guidance=guidance)
  steered = Steered(model, model.weights(state), w, settings)
  codes = [CONDITIONS.index(name) for name in asked]
  found = {REAL: _means([judged(w, real(w.scenes, c), c) for c in codes])}
  rows = [w.images, *(real(w.scenes, c) for c in codes)]
  for arm in arms:
    began = time.process_time()
    drawn = [steered.draw(ARMS[arm], c) for c in codes]
    of_each = [judged(w, x, c) for x, c in zip(drawn, codes, strict=True)]
    found[arm] = _means(of_each)
    spent = time.process_time() - began
    shown = ", ".join(f"{k} {x:.3f}" for k, x in found[arm].items())
    printing.tell(f"{arm}: {shown}; {spent:.1f} s of processor")
    rows += drawn
  if grid is not None:
    _write(grid, rows)
  return found


def _means(of_each):
  return {k: float(np.mean([x[k] for x in of_each])) for k in FIGURES}


def _write(path: Path, rows: Sequence[np.ndarray], most: int = 12) -> None:
  from PIL import Image

  lines = [np.concatenate(list(row[:most]), axis=1) for row in rows]
  large = np.repeat(np.repeat(np.concatenate(lines), 2, axis=0), 2, axis=1)
  Image.fromarray(large).save(path)


def main() -> None:
  """Draws, judges, and prints a row for each arm."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("run", type=Path)
  parser.add_argument("--number", type=int, default=16)
  parser.add_argument("--steps", type=int, default=20)
  parser.add_argument("--guidance", type=float, default=3.0)
  parser.add_argument("--arms", default=",".join(ARMS).replace(", ", "; "))
  parser.add_argument("--conditions", default=",".join(CONDITIONS[1:]))
  parser.add_argument("--grid", type=Path, help="PNG of the first images")
  args = parser.parse_args()
  arms = [name.strip().replace("; ", ", ") for name in args.arms.split(",")]
  found = measured(
    args.run,
    Path(),
    args.number,
    args.steps,
    args.guidance,
    arms,
    args.conditions.split(","),
    args.grid,
  )
  printing.say(f"| arm | {' | '.join(FIGURES)} |")
  printing.say("|---" * (len(FIGURES) + 1) + "|")
  for arm, figures in found.items():
    cells = " | ".join(f"{figures[name]:.3f}" for name in FIGURES)
    printing.say(f"| {arm} | {cells} |")


if __name__ == "__main__":
  main()

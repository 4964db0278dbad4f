"""Drawing labelled images anew in other conditions; see `commands.generate`.

What is drawn depends on the image, its labels, the condition and the settings
alone. One program does for a whole data set: images have one size in it, and
boxes are padded to one number.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from protojax import loading, parallel, printing
from protojax.console import Console
from protojax.diffusion import (
  conditions,
  object_prompts,
  pixels,
  regeneration,
  regions,
)
from protojax.diffusion.guidable import Caption, GuidableDiffusion
from protojax.diffusion.object_prompts import Prompts
from protojax.diffusion.regions import Objects
from protojax.diffusion.stable import base
from protojax.diffusion.steering import Settings, Texts
from protojax.engine import assets, log, workdir
from protojax.evaluation import labelled_scenes, regenerated_folder
from protojax.evaluation.labelled_scenes import Scene
from protojax.evaluation.regenerated_folder import Places
from protojax.methods.base import needed
from protojax.operations import regenerated_report
from protojax.shown import shown
from protojax.text.vocabulary import split
from protojax.types import Array, Batch, PyTree, UserError

# Steps of which the report has pictures.
_STEPS = 5
# Captions of training that are looked through, about.
_CAPTIONS = 2000


class Job(NamedTuple):
  """One image to draw: the number of its scene, and the condition."""

  scene: int
  condition: str


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """What is drawn.

  Attributes:
    model: that is steered.
    settings: of the sampler.
    prompts: of the texts.
    size: height and width at which images are drawn.
    scenes: the images.
    conditions: to draw them in.
  """

  model: GuidableDiffusion
  settings: Settings
  prompts: Prompts
  size: tuple[int, int]
  scenes: Sequence[Scene]
  conditions: Sequence[str]

  @functools.cached_property
  def names(self) -> tuple[str, ...]:
    """Those of all objects."""
    return tuple(sorted({n for scene in self.scenes for n in scene.names}))

  @functools.cached_property
  def most(self) -> int:
    """Boxes of an image, at most."""
    return max(len(scene.names) for scene in self.scenes)

  @property
  def cells(self) -> tuple[int, int]:
    """Height and width of a noisy image."""
    stride = self.model.stride
    return self.size[0] // stride, self.size[1] // stride

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the tokens that are steered."""
    model, blocks = self.model, self.settings.blocks
    return model.grid(*self.cells, blocks or model.steered)

  def batch(self, jobs: Sequence[Job], pad: int) -> Batch:
    """What a program reads of some jobs; the last one stands in for padding.

    Raises:
      UserError: an image is damaged.
    """
    rows = [*jobs, *[jobs[-1]] * pad]
    scenes = [self.scenes[job.scene] for job in rows]
    example = [self.prompts.of_example(sorted(set(s.names))) for s in scenes]
    wanted = [
      self.prompts.of_wanted(sorted(set(s.names)), job.condition)
      for s, job in zip(scenes, rows, strict=True)
    ]
    judged = [
      [self.prompts.of_wanted(sorted(set(s.names)), c) for s in scenes]
      for c in self.conditions
    ]
    negative = [self.prompts.negative] * len(rows)
    caption = self.model.caption
    return {
      "image": np.stack([self._image(scene) for scene in scenes]),
      "example": caption(example),
      "wanted": caption(wanted),
      "negative": caption(negative),
      "judged": _stacked([caption(texts) for texts in (*judged, example)]),
      "objects": self._objects(scenes, example)._asdict(),
      "index": np.array([job.scene for job in rows], np.int32),
      "valid": np.arange(len(rows)) < len(jobs),
    }

  def _image(self, scene):
    picture = Image.fromarray(regenerated_folder.image(scene.files[0]))
    size = self.size[::-1]
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))

  def _objects(self, scenes, texts) -> Objects:
    """Boxes and words of images, padded."""
    model, s = self.model, self.settings
    words = np.zeros((len(scenes), len(self.names), self._length), bool)
    places, cells, category = [], [], []
    for i, (scene, text) in enumerate(zip(scenes, texts, strict=True)):
      boxes = regions.rescaled(scene.boxes, scene.size, self.size)
      places.append(regions.on_grid(boxes, self.size, self.grid))
      cells.append(
        regions.in_cells(boxes, model.stride, self.cells, s.enlarged)
      )
      category.append(np.array([self.names.index(n) for n in scene.names]))
      for name in set(scene.names):
        at = model.places(text, object_prompts.words(name))
        words[i, self.names.index(name), list(at)] = True
    return regions.padded(places, cells, category, words, self.most)

  @functools.cached_property
  def _length(self):
    return np.shape(self.model.caption([self.prompts.negative])["tokens"])[1]


def drawn(task: Task, given: PyTree, batch: Batch) -> dict[str, Array]:
  """Rows of a batch of jobs; inside a program.

  Returns:
    "images" uint8 [b H W 3]; "errors" [b k], by condition, and at last that of
    the example's text; with a loss of keys also "steps" [b s], "region" [b s
    l], "example" and "drawn" [b s l 3] of some steps, and "loss" [b s] of all.
  """
  model, settings, weights = task.model, task.settings, given["weights"]
  texts = Texts(
    *(model.read(weights, batch[k]) for k in ("example", "wanted", "negative"))
  )
  objects = Objects(**batch["objects"])
  keys = parallel.example_keys(
    parallel.key_of(given["key"]), jnp.asarray(batch["index"])
  )
  clean = model.encoded(weights, pixels.signed(batch["image"]), keys)
  path = regeneration.inverted(
    model, weights, clean, texts.example, settings.steps
  )
  found = regeneration.regenerated(
    model, weights, path, texts, objects, settings
  )
  rows = {"images": pixels.as_bytes(model.decoded(weights, found.x))}
  judged = (
    jnp.asarray(batch["judged"]["tokens"]),
    jnp.asarray(batch["judged"]["valid"]),
  )
  read = [
    model.read(weights, {"tokens": judged[0][:, k], "valid": judged[1][:, k]})
    for k in range(judged[0].shape[1])
  ]
  there = regions.inside(objects.cells, task.cells)
  there = there & jnp.asarray(objects.valid)[..., None, None]
  rows["errors"] = conditions.errors(
    model,
    weights,
    found.x,
    read,
    ~jnp.any(there, axis=1),
    jnp.asarray(batch["index"]),
  )
  if found.trace is not None:
    at = np.unique(np.linspace(0, settings.first - 1, _STEPS).round())
    at = at.astype(np.int32)
    t = found.trace
    some = {"region": t.region, "example": t.example, "drawn": t.drawn}
    rows |= {k: jnp.moveaxis(x[at], 0, 1) for k, x in some.items()}
    rows["loss"] = t.loss.T
    rows["steps"] = jnp.broadcast_to(at[None], (len(clean), len(at)))
  return rows


def run(args: argparse.Namespace) -> int:
  """Writes the images that do not stand yet, and the report.

  Raises:
    UserError: there is no run that can be steered, or what it is to draw
      cannot be drawn: an image without labels, a box outside of its image, a
      condition that the model does not know.
  """
  parallel.setup()
  model, weights, side = _opened(args)
  calibration = Path(args.calibration) if args.calibration else None
  scenes, skipped = labelled_scenes.read(
    Path(args.images), Path(args.labels), calibration, args.objects
  )
  for name, reason in skipped:
    printing.tell(f"skipped {name}: {reason}")
  task = Task(
    model,
    _settings(args),
    object_prompts.fitting(model),
    args.size or (side, side),
    scenes,
    args.condition,
  )
  _require(task)
  output = Path(args.output)
  if parallel.is_primary():
    regenerated_folder.claim(output, _recipe(args, task, weights))
  count = len(scenes) * len(args.condition)
  jobs = [Job(i, c) for c in args.condition for i in range(len(scenes))]
  standing = [_places(task, output, job).image.exists() for job in jobs]
  if any(standing):
    printing.tell(f"note: {sum(standing)} of {count} images stand already")
  with log.bar(Console(stderr=True)) as bar:
    done = bar.add_task(
      "generate", total=count, completed=sum(standing), note=""
    )
    for job, row in _rows(task, weights, args, jobs, standing):
      if parallel.is_primary():
        _write(task, output, job, row, job.scene < args.shown)
      bar.advance(done)
  if parallel.is_primary():
    regenerated_report.write(task, output, args.shown)
  parallel.say(
    f"{output}: {count} images in {len(args.condition)} conditions, with their"
    f" labels; skipped: {len(skipped)}"
  )
  return 0


def _opened(args: argparse.Namespace) -> tuple[GuidableDiffusion, PyTree, int]:
  """The model, its weights, and the side of images that it was trained on.

  Raises:
    UserError: there is no such run or folder, or the run cannot be steered.
  """
  if args.model:
    if args.workdir:
      raise UserError("--model and --workdir are two models: give one")
    # In whole precision; the autoencoder is in it anyway.
    stable, weights = base.load(args.model)
    return stable, weights, stable.side
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(folder)
  model = needed(method, "guidable")
  _require_learned(method, args.condition)
  return model, model.weights(state), loading.image_size(config)


def _require_learned(method: Any, asked: Sequence[str]) -> None:
  """Refuses conditions of which the model has learned nothing.

  Its word may be known, and never have stood in a caption. What a run has
  learned from is asked if it is still there.

  Raises:
    UserError: says which.
  """
  try:
    source = method.dataset.source("train")
    some = range(0, len(source), max(1, len(source) // _CAPTIONS))
    texts = [f" {' '.join(split(source.caption(i)))} " for i in some]
  except UserError:
    return
  for condition in asked:
    if not any(f" {object_prompts.words(condition)} " in t for t in texts):
      raise UserError(
        f"the model never saw the condition {shown(condition)}: none of"
        f" {len(texts)} captions that it has learned from has it"
      )


def _rows(
  task: Task,
  weights: PyTree,
  args: argparse.Namespace,
  jobs: Sequence[Job],
  standing: Sequence[bool],
) -> Iterator[tuple[Job, dict[str, np.ndarray]]]:
  """Jobs that do not stand, and what was drawn.

  Batches always have the same images, as a sum over others may round in another
  way.
  """
  size = parallel.whole_batch(min(args.batch_size, len(jobs)))
  starts = [
    i for i in range(0, len(jobs), size) if not all(standing[i : i + size])
  ]

  def batches() -> Iterator[Batch]:
    for start in starts:
      some = jobs[start : start + size]
      yield task.batch(some, size - len(some))

  given = {
    "weights": weights,
    "key": np.asarray(jax.random.key_data(parallel.key(args.seed))),
  }
  step = functools.partial(drawn, task)
  found = parallel.each(step, given, batches())
  for start, (_, rows) in zip(starts, found, strict=True):
    for i, job in enumerate(jobs[start : start + size]):
      if not standing[start + i]:
        yield job, {name: x[i] for name, x in rows.items()}


def _write(
  task: Task, output: Path, job: Job, row: Mapping[str, Any], traced: bool
) -> None:
  scene = task.scenes[job.scene]
  picture = Image.fromarray(row["images"])
  picture = picture.resize(scene.size[::-1], Image.Resampling.LANCZOS)
  kept = {"errors": row["errors"]}
  if traced:
    kept = {name: x for name, x in row.items() if name != "images"}
  places = _places(task, output, job)
  regenerated_folder.write(places, np.asarray(picture), kept)


def _places(task: Task, output: Path, job: Job) -> Places:
  return Places(output, job.condition, task.scenes[job.scene])


def _settings(args: argparse.Namespace) -> Settings:
  return Settings(
    steps=args.steps,
    guidance=args.guidance,
    semantic=args.semantic,
    shallow=args.shallow,
    components=args.components,
    region=args.region,
    threshold=args.threshold,
  )


def _require(task: Task) -> None:
  """Refuses what could not be drawn before anything is.

  Raises:
    UserError: sizes do not divide, or a word is not known.
  """
  stride = task.model.stride
  if task.size[0] % stride or task.size[1] % stride:
    raise UserError(
      f"--size={task.size[0]}x{task.size[1]}: give multiples of {stride}"
    )
  _ = task.grid
  object_prompts.require(task.model, task.prompts, task.names, task.conditions)


def _recipe(
  args: argparse.Namespace, task: Task, weights: PyTree
) -> regenerated_folder.Recipe:
  settings: dict[str, Any] = dataclasses.asdict(task.settings)
  return {
    "checkpoint": assets.digest(parallel.to_host(weights)),
    "images": str(Path(args.images).resolve()),
    "labels": str(Path(args.labels).resolve()),
    "size": list(task.size),
    "settings": {**settings, "blocks": list(task.settings.blocks)},
    "prompts": dataclasses.asdict(task.prompts),
    "objects": list(task.names),
  }


def _stacked(captions: Sequence[Caption]) -> dict[str, np.ndarray]:
  """Captions of k texts an image, [b k w]."""
  return {
    name: np.stack([np.asarray(c[name]) for c in captions], axis=1)
    for name in ("tokens", "valid")
  }

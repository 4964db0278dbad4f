"""The report on images that were drawn anew: what was held, and how well.

It is made from the files that stand, so that it is whole after an interrupted
command, too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from protojax import parallel
from protojax.console import Console
from protojax.evaluation import held_objects, regenerated_folder
from protojax.evaluation.regenerated_folder import Places
from protojax.explain import blocks
from protojax.explain.blocks import Explanation, Frame, Gallery, Picture
from protojax.report.block_report import Report
from protojax.types import Box

# Small images are enlarged to this height for their boxes to be seen.
_SIDE = 128
_OVER = 12  # of the words of a caption, for names of files


def write(task: Any, output: Path, shown: int) -> None:
  """Writes pages and tables, and prints the figures.

  Args:
    task: `regenerating.Task`.
    output: folder of the images.
    shown: images of each condition that are shown.
  """
  folder = output / regenerated_folder.REPORT
  with Report(folder, output, formats=("html", "csv")) as report:
    found = {}
    for condition in task.conditions:
      found[condition] = [
        _measured(task, output, i, condition) for i in range(len(task.scenes))
      ]
      report.seen(condition, len(task.scenes))
    report.add(_overview(task, found))
    for condition in task.conditions:
      for i in range(min(shown, len(task.scenes))):
        report.add(_of_image(task, output, i, condition, found[condition][i]))
    report.finish()
  if parallel.is_primary():
    report.show(Console())


def _measured(
  task: Any, output: Path, number: int, condition: str
) -> dict[str, Any]:
  """Agreement of each object, and the likeliest condition, of an image."""
  scene = task.scenes[number]
  places = Places(output, condition, scene)
  kept = regenerated_folder.measures(places)
  names = (*task.conditions, "the image as it was")
  return {
    "agreement": held_objects.agreement(
      regenerated_folder.image(scene.files[0]),
      regenerated_folder.image(places.image),
      scene.boxes,
    ),
    "likeliest": names[int(np.argmin(kept["errors"]))],
    "kept": kept,
  }


def _overview(task: Any, found: Mapping[str, Any]) -> Explanation:
  rows = []
  for condition, images in found.items():
    agreement = np.concatenate([one["agreement"] for one in images])
    right = [one["likeliest"] == condition for one in images]
    known = agreement[~np.isnan(agreement)]
    mean = float(known.mean()) if len(known) else None
    rows.append((condition, len(images), len(agreement), mean, np.mean(right)))
  columns = "condition", "images", "objects", "agreement", "condition success"
  table = blocks.Table(
    columns,
    tuple((*row[:4], float(row[4])) for row in rows),
    "Objects that are still there, and the condition around them",
  )
  s = task.settings
  return Explanation(
    "overview",
    "Objects and condition",
    "overview",
    blocks=(
      blocks.Sentence(
        "Agreement is the correlation of grey levels in a box before and after:"
        " 1 if all is where it was. Condition success is the share of images"
        " of which the model itself finds the condition likelier, outside of"
        " the boxes, than the others and than the text of the image as it was."
      ),
      table,
      blocks.Note(
        f"Weights: keys {s.semantic:g}, boxes {s.shallow:g}, text"
        f" {s.guidance:g}; {s.steps} steps; region: {s.region}. One figure"
        " without the other says little: what is held most shows its condition"
        " least."
      ),
    ),
  )


def _of_image(
  task: Any, output: Path, number: int, condition: str, found: Mapping[str, Any]
) -> Explanation:
  scene = task.scenes[number]
  places = Places(output, condition, scene)
  boxes = [Box(*(round(float(x)) for x in box)) for box in scene.boxes]
  frames = tuple(
    Frame(box, name) for box, name in zip(boxes, scene.names, strict=True)
  )
  source = regenerated_folder.image(scene.files[0])
  pictures = [
    _enlarged(source, frames, "as it was"),
    _enlarged(regenerated_folder.image(places.image), frames, condition),
  ]
  rows = tuple(
    (name, None if np.isnan(a) else float(a))
    for name, a in zip(scene.names, found["agreement"], strict=True)
  )
  content: list[blocks.Block] = [
    Gallery(tuple(pictures), "The image and the one that was drawn"),
    blocks.Table(("object", "agreement"), rows, "Objects"),
    blocks.Sentence(
      f"Outside of the boxes the model takes it for: {found['likeliest']}."
    ),
    *_steps(task, source, found["kept"]),
  ]
  key = f"{condition.replace(' ', '_')}-{number:06d}"
  return Explanation(
    key,
    f"{scene.name} in {condition}",
    "local",
    condition,
    scene.name,
    condition,
    tuple(content),
  )


def _steps(
  task: Any, source: np.ndarray, kept: Mapping[str, np.ndarray]
) -> Iterator[blocks.Block]:
  """What was steered at some steps, and by what; nothing, if nothing was."""
  if "steps" not in kept:
    return
  grid = task.grid
  masks, projections = [], []
  for k, step in enumerate(kept["steps"]):
    region = kept["region"][k].reshape(grid)
    masks.append(_enlarged(_shaded(source, region), (), f"step {step + 1}"))
    for name in ("example", "drawn"):
      colours = np.rint(255 * np.clip(kept[name][k], 0, 1)).astype(np.uint8)
      picture = _resized(colours.reshape(*grid, 3), source.shape[:2])
      projections.append(_enlarged(picture, (), f"{name}, step {step + 1}"))
  yield Gallery(tuple(masks), "Where keys were compared: what is not darkened")
  yield Gallery(
    tuple(projections),
    "Keys along the first three self-prototypes of the step, as red, green and"
    " blue: of the image as it was, and of the one that is drawn",
  )
  loss = np.asarray(kept["loss"], float)
  steps = np.arange(1, len(loss) + 1, dtype=float)
  yield blocks.Curve(
    (blocks.Series("keys", steps, loss),),
    blocks.Axis("step"),
    blocks.Axis("squared difference"),
    "Difference of the keys along self-prototypes, in the region",
  )


def _shaded(source: np.ndarray, region: np.ndarray) -> np.ndarray:
  """An image, dark where a region is not."""
  light = _resized(region.astype(np.uint8) * 255, source.shape[:2]) / 255
  shown = source * (0.25 + 0.75 * light[..., None])
  return np.rint(shown).astype(np.uint8)


def _resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  picture = Image.fromarray(x).resize(size[::-1], Image.Resampling.NEAREST)
  return np.asarray(picture)


def _enlarged(
  image: np.ndarray, frames: tuple[Frame, ...], caption: str
) -> Picture:
  """A picture that is not too small to be seen."""
  by = max(1, _SIDE // image.shape[0])
  large = np.repeat(np.repeat(image, by, 0), by, 1)
  scaled = tuple(
    Frame(Box(*(by * x for x in frame.box)), frame.label) for frame in frames
  )
  return Picture(large, caption, scaled)

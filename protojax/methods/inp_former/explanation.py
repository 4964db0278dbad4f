"""Explains anomaly maps: where an image is anomalous, and because of what.

One sweep over a stream gives for each image its map, its score, the regions of
its prototypes, and the importance of every characteristic for its worst cell.
The host makes an `Inspection` of them, which the report writes.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np
from scipy import ndimage

from protojax import parallel
from protojax.datasets import truths
from protojax.explain import reference_mode
from protojax.explain.importance import of_batch
from protojax.explain.inspection import (
  Inspection,
  Intrinsic,
  Original,
  Threshold,
)
from protojax.explain.request import Request
from protojax.modify.presets import Preset
from protojax.types import ArrayLike, Batch, Box, PyTree, State, UserError

# Patches of an image that are shown for each of its prototypes.
_PATCHES = 3


@runtime_checkable
class Inspectable(Protocol):
  """A network that scores how anomalous each cell of an image is; hashable."""

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    ...

  @property
  def count(self) -> int:
    """Number of prototypes of an image."""
    ...

  def inspect(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Mapping[str, jax.Array]:
    """Rows "map", "score", "distance" and "assignment" of images."""
    ...

  def values(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[jax.Array, "b n"]:
    """How anomalous each cell is, row-major."""
    ...


@dataclasses.dataclass(frozen=True)
class Inspector:
  """The `inspects` and `explains` of INP-Former.

  Attributes:
    method: gives the network, an `Inspectable`.
    scopes: see `base.Explains`.
  """

  method: Any

  scopes: tuple[str, ...] = ("local",)
  report: ClassVar[str] = "defect_report"

  @property
  def network(self) -> None:
    """None: the prototypes of an image are compared with no other."""

  def threshold(self, state: State) -> Threshold:
    """The score above which an image is called defective.

    Raises:
      UserError: the run has not chosen it yet.
    """
    if not state.buffers["normal_images"]:
      raise UserError(
        "this run has not chosen its threshold yet, which is its last stage;"
        " let it finish with the same command that began it."
      )
    names = "threshold", "false_positive_rate", "normal_images"
    value, rate, images = (state.buffers[name] for name in names)
    return Threshold(float(value), float(rate), int(images))

  def stale(self, state: State) -> bool:
    """Never: the prototypes are those of the image that is explained."""
    del state
    return False

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[Inspection]:
    """What is anomalous in each image: see `explain` of this module."""
    threshold = self.threshold(state)
    return explain(self.method.network, state, data, threshold, request)


def explain(
  model: Inspectable,
  state: State,
  stream: Any,
  threshold: Threshold,
  request: Request,
) -> Iterator[Inspection]:
  """Inspects the images of a stream, in its order.

  Args:
    model: see `Inspectable`.
    state: its state.
    stream: of the images. If its source knows "categories" and the "truth" of
      defects, they are added.
    threshold: the score above which an image is defective.
    request: "split", "preset", "limit" and "progress" have an effect. The scope
      is always "local", all scores and pictures are given, and no prototype
      stands for more than one image.
  """
  preset = request.preset
  step = functools.partial(_step, model, preset)
  batches = reference_mode.attach(
    stream.spread(request.limit),
    stream.source,
    preset,
    stream.image_size,
    stream.resizing,
  )
  for batch, rows in parallel.each(step, state, batches):
    taken = np.flatnonzero(batch["valid"])
    images = stream.examples(batch["index"][taken])["image"]
    for i, image in zip(taken, images, strict=True):
      row = {name: value[i] for name, value in rows.items()}
      index = int(batch["index"][i])
      worst = _worst_box(row, model)
      yield Inspection(
        image=stream.source.name(index),
        index=index,
        split=request.split,
        score=float(row["score"]),
        threshold=threshold,
        because=dict(zip(preset.names, row["delta"].tolist(), strict=True)),
        worst_value=float(row["worst"]),
        size=model.image_size,
        worst=worst,
        prototypes=_intrinsic(row, model),
        picture=image,
        anomaly_map=row["map"],
        assignment=row["assignment"].reshape(model.grid) + 1,
        **_known(stream, index, worst),
      )
    request.progress(len(taken))


def _step(
  model: Inspectable, preset: Preset, state: State, batch: Batch
) -> PyTree:
  """The rows of a batch that inspections are made of, by name."""
  values = functools.partial(model.values, state)
  local, _ = of_batch(_worst_cell, _at, batch, preset, values)
  found = model.inspect(state, batch["image"])
  return {
    **{name: found[name] for name in ("map", "score")},
    **{name: found[name] for name in ("distance", "assignment")},
    "worst": local.similarity[:, 0],
    "cell": local.place[:, 0],
    "delta": local.delta[:, :, 0],
  }


def _worst_cell(
  values: Float[ArrayLike, "b n"],
) -> tuple[Float[jax.Array, "b 1"], Int[jax.Array, "b 1"]]:
  """Value and number of the worst cell, shaped as of one prototype (p = 1)."""
  values = jnp.asarray(values)
  cell = jnp.argmax(values, axis=1).astype(jnp.int32)
  return jnp.max(values, axis=1)[:, None], cell[:, None]


def _at(
  values: Float[ArrayLike, "b n"], cells: Int[ArrayLike, "b 1"]
) -> Float[jax.Array, "b 1"]:
  return jnp.take_along_axis(jnp.asarray(values), cells, axis=1)


def _worst_box(row: PyTree, model: Inspectable) -> Box | None:
  """The box around the connected region of the map that has the worst cell.

  In the region the map is above the middle of its median and its value at the
  worst cell. None if there is no such region.
  """
  anomaly, size = row["map"], model.image_size
  cell = _cell_box(int(row["cell"]), model)
  scale = size / len(anomaly)
  y = int((cell.top + cell.bottom) / 2 / scale)
  x = int((cell.left + cell.right) / 2 / scale)
  level = (np.median(anomaly) + anomaly[y, x]) / 2
  if not anomaly[y, x] > level:
    return None
  regions, _ = ndimage.label(anomaly > level)
  rows, columns = ndimage.find_objects(regions)[regions[y, x] - 1]
  ends = rows.start, columns.start, rows.stop, columns.stop
  return Box(*(round(end * scale) for end in ends))


def _intrinsic(row: PyTree, model: Inspectable) -> tuple[Intrinsic, ...]:
  """Regions and nearest patches of the prototypes of one image."""
  found = []
  for m in range(model.count):
    cells = np.flatnonzero(row["assignment"] == m)
    if not len(cells):
      found.append(Intrinsic(m + 1, 0.0))
      continue
    distance = row["distance"][cells]
    nearest = cells[np.argsort(distance, kind="stable")[:_PATCHES]]
    found.append(
      Intrinsic(
        m + 1,
        len(cells) / len(row["assignment"]),
        float(distance.mean()),
        tuple(_cell_box(int(cell), model) for cell in nearest),
      )
    )
  return tuple(found)


def _cell_box(cell: int, model: Inspectable) -> Box:
  """The box of a cell: its place in the grid, not its receptive field."""
  rows, columns = model.grid
  row, column = divmod(cell, columns)
  height, width = model.image_size / rows, model.image_size / columns
  ends = row * height, column * width, (row + 1) * height, (column + 1) * width
  return Box(*(round(end) for end in ends))


def _known(stream: Any, index: int, worst: Box | None) -> dict[str, Any]:
  """Category, kind and truth of an image, as far as its source knows them.

  And the places in the image at its own size.
  """
  source = stream.source
  shape = source[index]["image"].shape[:2]
  frame = stream.resizing.frame(shape, stream.image_size)
  original = Original(
    shape,
    frame.original(Box(0, 0, frame.size, frame.size), shape),
    None if worst is None else frame.original(worst, shape),
  )
  if not hasattr(source, "categories"):
    return {"category": "", "kind": None, "original": original}
  names, label = source.category_names, int(source.labels[index])
  known = {
    "category": names[source.categories[index]] if len(names) > 1 else "",
    "kind": source.class_names[label],
  }
  if source.has_truth:
    truth = source.truth(index)
    known["truth"] = truths.seen(truth, frame)
    hidden = truths.hidden(truth, frame)
    original = dataclasses.replace(original, hidden=hidden)
  return {**known, "original": original}

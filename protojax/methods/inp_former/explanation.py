"""Explains images whose answer is an anomaly map: where, and because of what.

One sweep over a stream gives map, score, the regions of the image's own
prototypes, and `importance` of every characteristic for its worst cell. The
host makes plain data of it, which `inspection_output` writes.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np
from scipy import ndimage

from protojax import parallel
from protojax.datasets import truths
from protojax.explain import reference_mode
from protojax.explain.importance import of_batch
from protojax.explain.inspection import Inspection, Intrinsic, Threshold
from protojax.modify import presets
from protojax.modify.presets import Preset
from protojax.types import ArrayLike, Batch, Box, PyTree, State

# Patches of an image that are shown for each of its prototypes.
_PATCHES = 3


@runtime_checkable
class Inspectable(Protocol):
  """A model that says how odd each cell of an image is; hashable."""

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
    """Prototypes of an image."""
    ...

  def inspect(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Mapping[str, jax.Array]:
    """Rows "map", "score", "distance" and "assignment" of images."""
    ...

  def values(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[jax.Array, "b n"]:
    """How odd each cell is, row-major."""
    ...


def explain(
  model: Inspectable,
  state: State,
  stream: Any,
  threshold: Threshold,
  *,
  split: str = "test",
  preset: Preset = presets.REFERENCE,
  limit: int | None = None,
  progress: Callable[[int], None] = lambda images: None,
) -> Iterator[Inspection]:
  """Inspects the images of a stream, in its order.

  Args:
    model: see `Inspectable`.
    state: its state.
    stream: of the images. If its source knows "categories" and the "truth" of
      defects, they are told, too.
    threshold: from which score on an image is defective.
    split: what to call the images.
    preset: what to modify, and how to score it.
    limit: take that many images only, evenly over the stream.
    progress: called with the number of images of each batch that is done.
  """
  step = functools.partial(_step, model, preset)
  batches = reference_mode.attach(
    stream.spread(limit), stream.source, preset, model.image_size
  )
  for batch, rows in parallel.each(step, state, batches):
    taken = np.flatnonzero(batch["valid"])
    images = stream.examples(batch["index"][taken])["image"]
    for i, image in zip(taken, images, strict=True):
      row = {name: value[i] for name, value in rows.items()}
      index = int(batch["index"][i])
      yield Inspection(
        image=stream.source.name(index),
        index=index,
        split=split,
        score=float(row["score"]),
        threshold=threshold,
        because=dict(zip(preset.names, row["delta"].tolist(), strict=True)),
        worst_value=float(row["worst"]),
        size=model.image_size,
        worst=_worst_box(row, model),
        prototypes=_intrinsic(row, model),
        picture=image,
        anomaly_map=row["map"],
        assignment=row["assignment"].reshape(model.grid) + 1,
        **_known(stream.source, index, model.image_size),
      )
    progress(len(taken))


def _step(
  model: Inspectable, preset: Preset, state: State, batch: Batch
) -> PyTree:
  """What is said of each image of a batch, by name."""
  values = functools.partial(model.values, state)
  local, _ = of_batch(_worst_cell, _at, batch, preset, values)
  found = model.inspect(state, batch["image"])
  return {
    **{name: found[name] for name in ("map", "score")},
    **{name: found[name] for name in ("distance", "assignment")},
    "worst": local.similarity[:, 0],
    "cell": local.cell[:, 0],
    "delta": local.delta[:, :, 0],
  }


def _worst_cell(
  values: Float[ArrayLike, "b n"],
) -> tuple[Float[jax.Array, "b 1"], Int[jax.Array, "b 1"]]:
  """Of an image's one anomaly, as it were one prototype: value and cell."""
  values = jnp.asarray(values)
  cell = jnp.argmax(values, axis=1).astype(jnp.int32)
  return jnp.max(values, axis=1)[:, None], cell[:, None]


def _at(
  values: Float[ArrayLike, "b n"], cells: Int[ArrayLike, "b 1"]
) -> Float[jax.Array, "b 1"]:
  return jnp.take_along_axis(jnp.asarray(values), cells, axis=1)


def _worst_box(row: PyTree, model: Inspectable) -> Box | None:
  """Around the connected place of the map that the worst cell lies in.

  It reaches down to half of the way from the map's median to its value there.
  None where the map does not rise.
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
  """The square of a cell: its share of the image, not all that it can see."""
  rows, columns = model.grid
  row, column = divmod(cell, columns)
  height, width = model.image_size / rows, model.image_size / columns
  ends = row * height, column * width, (row + 1) * height, (column + 1) * width
  return Box(*(round(end) for end in ends))


def _known(source: Any, index: int, size: int) -> dict[str, Any]:
  """Category, kind and truth of an image, as far as its source knows them."""
  if not hasattr(source, "categories"):
    return {"category": "", "kind": None}
  names, label = source.category_names, int(source.labels[index])
  known = {
    "category": names[source.categories[index]] if len(names) > 1 else "",
    "kind": source.class_names[label],
  }
  if source.has_truth:
    known["truth"] = truths.resized(source.truth(index), size)
  return known

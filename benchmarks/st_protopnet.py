"""ST-ProtoPNet against ProtoPNet, each branch alone, and its ablation.

python benchmarks/st_protopnet.py claims --root=DIR

trains on a folder of classes: do two kinds of prototypes tell more than one,
and do support prototypes stand closer to other classes? It prints a Markdown
table; --json=FILE writes the same rows. The experiment st_protopnet_objects
(benchmarks/results.py) asks if either kind keeps to the objects.
"""

import argparse
from collections.abc import Iterator, Mapping
import dataclasses
import functools
from pathlib import Path
import sys
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
from ml_collections import ConfigDict
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import protopnet_folder, st_protopnet_folder
from protojax import methods, parallel
from protojax.data import objects
from protojax.data.stream import Stream
from protojax.engine import stage
from protojax.engine.cached import Cached
from protojax.heat import similarity_map
from protojax.methods.st_protopnet import boundary
from protojax.metrics import localisation
from protojax.metrics.means import mean
from protojax.prototypes import start
from protojax.prototypes.bank import bank_of
from protojax.prototypes.network import Network
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Ten prototypes of a class, 128 channels, and as many epochs for all.
_ALONE = {"prototypes.per_class": 10, "prototypes.channels": 128}
_MODELS = {
  "ProtoPNet": (protopnet_folder, {"prune.nearest": 0}),
  "trivial alone": (st_protopnet_folder, {"branches": "trivial", **_ALONE}),
  "support alone": (st_protopnet_folder, {"branches": "support", **_ALONE}),
  "both": (st_protopnet_folder, {}),
  "both in turn": (st_protopnet_folder, {"alternate": True}),
  "without Close and Discr": (
    st_protopnet_folder,
    {"support.closeness": 0.0, "trivial.discrimination": 0.0},
  ),
  "the paper's weights": (
    st_protopnet_folder,
    {"support.cluster": 0.8, "support.closeness": 1.0},
  ),
}
_STAGES = {
  "warm": "before push",
  "push": "after push",
  "last layer": "after last layer",
}


def claims(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Accuracy of each model, and where the prototypes of each branch stand."""
  rows = list(harness.over_seeds(args.seeds, functools.partial(_models, args)))
  columns = list(dict.fromkeys(name for row in rows for name in row))
  for row in rows:
    yield {name: row.get(name, "") for name in columns}


def _models(args: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
  found, rows = {}, _Features()
  for name, (module, changes) in _MODELS.items():
    accuracy: dict[str, float] = {}
    shape: dict[str, Any] = {}

    def after(
      done: str,
      method: Any,
      state: State,
      accuracy: dict = accuracy,
      shape: dict = shape,
    ) -> None:
      if done in _STAGES:
        measured = method.evaluate(state, "test")
        accuracy[_STAGES[done]] = measured["accuracy"]
      if done == "warm" and hasattr(method, "kinds"):
        shape |= method.geometry(state)

    if args.root:
      changes = {"data.root": args.root, **changes}
    config = harness.changed(module, args.variants, seed, changes)
    method, state = harness.train(config, after, rows.method)
    if module is protopnet_folder:
      found[name] = accuracy
      continue
    places = _places(method, state, shape)
    for kind, place in places.items():
      row = f"{name}, {kind}" if len(places) > 1 else name
      found[row] = accuracy | place
    if len(places) > 1:
      first, second = (places[k]["boundary distance"] for k in method.kinds)
      found[f"{name}, support"]["nearer, of seeds"] = float(second < first)
  return found


@dataclasses.dataclass(frozen=True)
class _Behind(Network):
  """A network that gets features in place of images."""

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Array, PyTree]:
    """What is there already."""
    del params, train
    return jnp.asarray(images), statistics


class _Rows:
  """A stream with features in place of images."""

  augment = ""

  def __init__(
    self, stream: Stream, rows: Float[np.ndarray, "n h w c"]
  ) -> None:
    self._stream, self._rows = stream, rows

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def __len__(self) -> int:
    return len(self._stream)

  def batches(self, *span: int, read_images: bool = False) -> Iterator[Batch]:
    """Those of the stream."""
    del read_images
    for batch in self._stream.batches(*span, read_images=False):
      yield {**batch, "image": self._rows[batch["index"]]}


class _Features:
  """Methods behind a frozen backbone, whose features all of a seed share."""

  def __init__(self) -> None:
    self._rows: dict[str, Any] = {}

  def method(self, config: ConfigDict) -> Any:
    """The method of a config; its stages train nothing of the backbone."""
    method = methods.load(config)
    ordered, shuffled, stages = (
      method.stream,
      method.dataset.shuffled,
      method.stages,
    )
    for split in method.splits:
      if split not in self._rows:
        self._rows[split] = _features(method, ordered(split))
    network = method.network
    behind = _Behind(
      *(getattr(network, f.name) for f in dataclasses.fields(network))
    )
    vars(method)["network"] = behind
    method.stream = lambda split: _Rows(ordered(split), self._rows[split])
    method.dataset.shuffled = lambda augment="", copies=1: _Rows(
      shuffled(), self._rows["train"]
    )
    # What comes before the first trained parameter is there already.
    method.stages = lambda: (
      dataclasses.replace(s, cached=None) if isinstance(s, stage.Fit) else s
      for s in stages()
    )
    return method


def _features(method: Any, stream: Stream) -> Float[np.ndarray, "n h w c"]:
  """Of all images, by the backbone as its weights come."""
  backbone = method.config.backbone
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  state = start.pretrained(
    state, method.network.backbone, backbone.name, backbone.weights
  )
  rows = Cached(method.network.backbone_rows).rows(state, stream)
  assert rows is not None
  return rows["features"]


def _places(
  method: Any, state: State, before: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
  """By branch: similarity to other classes' prototypes, and the boundary."""
  at_patch = _at_patches(method, state)
  return {
    kind: {
      "least similarity before push": before[kind]["least_similarity"],
      "greatest before": before[kind]["greatest_similarity"],
      "least after": after["least_similarity"],
      "greatest after": after["greatest_similarity"],
      "boundary distance": after["boundary_distance"],
      "margin at the patch": float(
        jnp.mean(at_patch.margin[method.branch_losses.alive(state, b)])
      ),
    }
    for b, (kind, after) in enumerate(method.geometry(state).items())
  }


def _at_patches(method: Any, state: State) -> boundary.Boundary:
  """Of the cells that prototypes were taken from, as both branches see them."""
  source, network = bank_of(state).provenance, method.network
  maps = [
    found[batch["valid"]]
    for batch, found in parallel.each(
      network.embedded_map, state, method.stream("train").batches()
    )
  ]
  images = np.concatenate(maps)[source.image]
  cells = images.reshape(len(images), -1, images.shape[-1])
  return boundary.boundary(
    cells[np.arange(len(cells)), source.cell],
    bank_of(state).class_of,
    bank_of(state).vectors,
    network.weights(state),
    network.similarity,
  )


def on_objects(
  method: Any, state: State, chosen: Bool[Array, " p"]
) -> dict[str, float]:
  """Of the prototypes chosen: their own patches, and their heat in the test."""
  found: dict[str, list[np.ndarray]] = {}
  heat = jax.jit(functools.partial(_heat, method))
  test = method.stream("test")
  for batch in test.batches():
    known = objects.masks(test, batch["index"])
    assert known is not None
    judged = {
      "CH": localisation.content,
      "OIRR": localisation.outside_inside,
      "IoU": localisation.overlap,
    }
    maps = heat(state, chosen, batch["image"], batch["label"])[:, None]
    for name, metric in judged.items():
      values = np.asarray(metric(maps, known))[batch["valid"], 0]
      found.setdefault(name, []).append(values)
    share = np.asarray(localisation.coverage(known))[batch["valid"]]
    found.setdefault("the object's share", []).append(share)
  means = {k: float(mean(np.concatenate(v)).value) for k, v in found.items()}
  return {"patches on it": _taken_from(method, state, chosen), **means}


def _heat(
  method: Any,
  state: State,
  chosen: Bool[Array, " p"],
  images: Array,
  labels: Array,
) -> Float[Array, "b H W"]:
  """Mean map of the true class's prototypes, at the pixels of the image."""
  network = method.network
  maps = network.similarity.activation(
    network.similarity.distance(
      network.embed(state, images), bank_of(state).vectors
    )
  )
  own = (labels[:, None] == bank_of(state).class_of[None]) & chosen[None]
  total = jnp.sum(jnp.where(own[:, None, None], maps, 0.0), axis=-1)
  count = jnp.maximum(jnp.sum(own, axis=1), 1)[:, None, None]
  return similarity_map.upsample(total / count, *images.shape[1:3])


def _taken_from(method: Any, state: State, chosen: Bool[Array, " p"]) -> float:
  """Share of the prototypes whose cell's middle lies on an object.

  Of classes that have objects: an image without any has no place for one.
  """
  source, train = bank_of(state).provenance, method.stream("train")
  images = source.image[np.asarray(chosen)]
  cells = source.cell[np.asarray(chosen)]
  rows, columns = method.network.grid
  known = objects.masks(train, images)
  assert known is not None
  row, column = np.divmod(cells, columns)
  y = ((row + 0.5) / rows * train.image_size).astype(int)
  x = ((column + 0.5) / columns * train.image_size).astype(int)
  hits = known[np.arange(len(known)), y, x]
  return float(np.mean(hits[known.any(axis=(1, 2))]))


if __name__ == "__main__":
  harness.main(__doc__ or "", {"claims": claims}, "folder of a class each")

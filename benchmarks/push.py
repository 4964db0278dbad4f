"""Push and prune: a sweep beside the bare backbone, and beside CaBRNet's loop.

python benchmarks/push.py [push] [prune] [--quick] [--json FILE]

`push` is the whole sweep, from images in memory to provenance, divided by the
plain forward passes of the backbone over the same images; 2000 prototypes of
128 channels, ten of each of 200 classes. `prune` finds the six nearest images
of each prototype among ready features, and drops by them; CaBRNet's own code
does the same with the same arrays.
"""

from collections.abc import Iterator
import dataclasses
from pathlib import Path
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import ratios
from protojax import backbones, parallel
from protojax.data import stream as stream_lib
from protojax.data.source import Source, Subset
from protojax.datasets import photos
from protojax.methods.protopnet import prune
from protojax.prototypes import push, similarity, start
from protojax.prototypes.layer import AddOn, PrototypeLayer
from protojax.prototypes.network import Network
from protojax.types import Batch, State

_CLASSES, _CHANNELS, _GRID = 200, 128, 7
_PROTOTYPES = 10 * _CLASSES
_CLASS_NAMES = tuple(f"class {k}" for k in range(_CLASSES))
_CLASS_OF = np.repeat(np.arange(_CLASSES, dtype=np.int32), 10)
_BATCH = 16


def sweeps(quick: bool) -> Iterator[ratios.Pair]:
  """A push against the forward passes that it cannot do without."""
  count = 2 * _BATCH if quick else 8 * _BATCH
  for name in ("efficientnet_lite0", "resnet18"):
    yield _sweep(name, count)


def _sweep(name: str, count: int) -> ratios.Pair:
  network = Network(
    backbones.load(name, "float32", False),
    AddOn(_CHANNELS, final="none"),
    PrototypeLayer(_PROTOTYPES, _CHANNELS, similarity.load("cosine")),
    224,
    _CLASS_NAMES,
  )
  state = parallel.to_host(network.init(parallel.init_key(0), _CLASS_OF))
  if network.backbone.pretrained is not None:
    state = start.pretrained(state, network.backbone, name)
  stream = stream_lib.ordered(_photographs(count), 224, _BATCH)
  batches = [jnp.asarray(batch["image"]) for batch in stream.batches()]
  forward = jax.jit(network.features)
  variables = jax.device_put((state.params, state.statistics))

  def other() -> None:
    jax.block_until_ready([forward(*variables, images) for images in batches])

  return ratios.Pair(
    f"push of {_PROTOTYPES} prototypes / plain forward, {name}, 224 px",
    lambda: push.push(network.embedded_map, state, stream, network.similarity),
    other,
    1.10,
    "lower",
    count,
    count,
  )


def _photographs(count: int) -> Source:
  """Photographs under labels of many classes."""
  whole = photos.opened("", "train")
  rows = np.linspace(0, len(whole) - 1, count).astype(np.int32)
  labels = np.arange(count, dtype=np.int32) % _CLASSES
  return Subset(whole, rows, labels, _CLASS_NAMES)


@dataclasses.dataclass(frozen=True)
class _Features:
  """A stream of ready features, in batches."""

  features: np.ndarray
  labels: np.ndarray

  def batches(self) -> Iterator[dict[str, np.ndarray]]:
    """In order; the number of images divides."""
    for first in range(0, len(self.labels), _BATCH):
      index = np.arange(first, first + _BATCH, dtype=np.int32)
      yield {
        "image": self.features[index],
        "label": self.labels[index],
        "index": index,
        "valid": np.ones(_BATCH, bool),
      }


def pruning(quick: bool, device: str = "cpu") -> Iterator[ratios.Pair]:
  """Nearest images and the rule, against CaBRNet's loop over ready features."""
  count = 3 * _BATCH if quick else 25 * _BATCH
  rng = np.random.default_rng(0)
  shape = (count, _GRID, _GRID, _CHANNELS)
  features = rng.uniform(size=shape).astype(np.float32)
  labels = rng.integers(0, _CLASSES, count).astype(np.int32)
  bank = rng.uniform(size=(_PROTOTYPES, 1, 1, _CHANNELS)).astype(np.float32)
  alive = np.ones(_PROTOTYPES, bool)
  state = State(
    params={"prototypes": {"prototypes": bank}},
    statistics={},
    buffers={"class_of": _CLASS_OF, "alive": alive},
  )
  stream = _Features(features, labels)

  def ours() -> Any:
    near = prune.nearest_images(_ready, state, stream, similarity.load("log"))
    images = np.bincount(labels, minlength=_CLASSES)
    return prune.prune(near.labels, _CLASS_OF, alive, images)

  yield ratios.Pair(
    f"prune and 6 nearest, {count} images x {_PROTOTYPES} prototypes / CaBRNet",
    ours,
    _cabrnet(stream, bank, device),
    20,
    "higher",
    count,
    count,
  )


def _ready(state: State, batch: Batch) -> jax.Array:
  del state
  return batch["image"]


def _cabrnet(stream: _Features, bank: np.ndarray, device: str) -> Any:
  """Its `prune` on the same features, prototypes and labels."""
  from cabrnet.archs.protopnet import decision, model
  from loguru import logger
  import torch

  logger.disable("cabrnet")
  classifier = decision.ProtoPNetClassifier(
    {"name": "ProtoPNetSimilarity"}, _CLASSES, _CHANNELS, 10
  )
  classifier.prototypes.data = torch.tensor(bank.transpose(0, 3, 1, 2))
  net = model.ProtoPNet(torch.nn.Identity(), classifier).to(device)
  batches = [
    (torch.tensor(b["image"].transpose(0, 3, 1, 2)), torch.tensor(b["label"]))
    for b in stream.batches()
  ]
  # No prototype has less than 0 votes: the model stays as it is for the next
  # turn.
  return lambda: net.prune(
    batches, 0, 6, disable_pruned_prototypes=True, device=device
  )


if __name__ == "__main__":
  ratios.main(__doc__, {"push": sweeps, "prune": pruning})

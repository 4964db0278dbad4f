"""The joint step of ProtoPNet beside PyTorch and CaBRNet, and its input.

python benchmarks/train.py [torch] [cabrnet] [input] [--quick] [--json FILE]

A step is forward, gradient and Adam of all but the head: ResNet-18, 40
prototypes of 128 channels, 16 images, BatchNorm by the batch. `torch` sets it
beside the same in plain PyTorch (`torch_training.py`), and the forward pass
too; `cabrnet` sets it beside CaBRNet's own loop; from the same weights, on the
same images. `input` divides the step on images that are decoded ahead of it by
the step on a batch that is there already.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import importlib
import itertools
from pathlib import Path
import sys
import tempfile
from typing import Any

import jax
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, ratios
from configs import protopnet_folder
from protojax import methods, parallel
from protojax.data import stream
from protojax.datasets import folder, photos
from protojax.engine import descent, stage
from protojax.methods.protopnet import foreign, foreign_state
from protojax.types import Batch, State
from protojax.weights import pytorch

_PER_CLASS, _CHANNELS = 10, 128
_BATCH = 16
_STEPS = 1_000_000  # more than are taken
# What the files hold, and their side in pixels.
_PHOTOGRAPHS = ("astronaut", "china", "coffee", "flower")
_FILES, _SIDE = 4 * _BATCH, 400


def against_torch(quick: bool) -> Iterator[ratios.Pair]:
  """Step and forward pass against plain PyTorch."""
  for size in _sizes(quick):
    theirs, model, (method, state, batch), images = _sides(size)
    ours = _step(method, state, _Ready(batch))
    other = theirs.step(model, images, batch["label"])
    yield from _same(f"joint step, {size} px / PyTorch", ours, other)
    forward = _forward(method, state, batch)
    other = theirs.forward(model, images)
    yield _pair(f"forward, {size} px / PyTorch", forward, other)


def against_cabrnet(quick: bool) -> Iterator[ratios.Pair]:
  """The step against that of CaBRNet's loop."""
  for size in _sizes(quick):
    theirs, model, (method, state, batch), images = _sides(size)
    ours = _step(method, state, _Ready(batch))
    other = theirs.cabrnet_step(model, images, batch["label"])
    yield from _same(f"joint step, {size} px / CaBRNet", ours, other)


def _sides(size: int) -> tuple[Any, Any, tuple[Any, State, Batch], np.ndarray]:
  """Their module and model; ours of the same weights; their form of images."""
  # Not installed with protojax, and not needed for `input`.
  theirs = importlib.import_module("benchmarks.torch_training")
  model = theirs.ProtoPNet(len(_PHOTOGRAPHS), _PER_CLASS, _CHANNELS)
  method, state = _method(size, model.tensors())
  batch = _batch(size)
  images = np.asarray(method.network.backbone.normalise(batch["image"]))
  return theirs, model, (method, state, batch), images


def fed(quick: bool) -> Iterator[ratios.Pair]:
  """The step on decoded images against the step on a batch that is there."""
  with tempfile.TemporaryDirectory() as root:
    _write(Path(root))
    source = folder.opened(root, "train")
    for size in _sizes(quick):
      method, state = _method(size)
      for name, limit in (("memory", 1 << 30), ("files", 0)):
        data = stream.shuffled(source, size, _BATCH, 0, cache_bytes=limit)
        if limit:
          data.images.read(np.arange(len(source)))
        yield _pair(
          f"joint step, {size} px, images from {name} / ready",
          _step(method, state, data),
          _step(method, state, _Ready(_batch(size))),
          target=1.05,
          better="lower",
        )


@dataclasses.dataclass(frozen=True)
class _Ready:
  """A stream whose one batch is there already.

  Attributes:
    batch: as a `stream.Stream` gives it.
  """

  batch: Batch
  augment: str = ""
  steps_per_epoch: int = 1
  batch_size: int = _BATCH

  def batches(
    self, start: int, stop: int, read_images: bool
  ) -> Iterator[Batch]:
    """The batch, again and again."""
    del read_images
    return itertools.repeat(self.batch, stop - start)


def _method(
  size: int, tensors: Mapping[str, np.ndarray] | None = None
) -> tuple[Any, State]:
  """The paper's ProtoPNet on ResNet-18, with random or given weights."""
  changes = {
    "data.name": "photos",
    "data.augment": "",
    "data.image_size": size,
    "batch_size": _BATCH,
    "backbone.name": "resnet18",
    "backbone.pretrained": False,
    "prototypes.per_class": _PER_CLASS,
    "prototypes.channels": _CHANNELS,
  }
  config = harness.changed(protopnet_folder, "paper", 0, changes)
  method = methods.load(config, _PHOTOGRAPHS)
  key = parallel.init_key(0)
  if tensors is None:
    return method, parallel.to_host(jax.jit(method.init)(key))
  found = foreign.read(pytorch.Module({}, dict(tensors), {}), size)
  template = jax.eval_shape(method.init, key)
  return method, foreign_state.state(found, template, method.network.backbone)


def _step(method: Any, state: State, data: Any) -> Callable[[], float]:
  """A function that does one step of the joint stage and returns its loss."""
  joint = next(x for x in method.stages() if x.name == "joint")
  joint = dataclasses.replace(joint, data=data, length=stage.steps(_STEPS))
  begun = joint.optimizer.init(state.params)
  updates = descent.fit(joint, state, begun, parallel.key(0))

  def run() -> float:
    update = jax.block_until_ready(next(updates))
    return float(update.metrics["loss"])

  return run


def _forward(method: Any, state: State, batch: Batch) -> Callable[[], Any]:
  """A function that gives the backbone's features of the batch."""
  features = jax.jit(method.network.backbone_map)
  inputs = jax.device_put((state, batch))
  return lambda: jax.block_until_ready(features(*inputs))


def _batch(size: int) -> Batch:
  rng = np.random.default_rng(0)
  return {
    "image": rng.integers(0, 256, (_BATCH, size, size, 3), np.uint8),
    "label": np.arange(_BATCH, dtype=np.int32) % len(_PHOTOGRAPHS),
    "index": np.arange(_BATCH, dtype=np.int32),
    "valid": np.ones(_BATCH, bool),
  }


def _write(root: Path) -> None:
  """Square pieces of photographs as JPEG files, a folder a photograph."""
  rng = np.random.default_rng(0)
  for name in _PHOTOGRAPHS:
    image = photos.photograph(name)
    for split in ("train", "test"):
      (root / split / name).mkdir(parents=True)
    for i in range(_FILES // len(_PHOTOGRAPHS)):
      y, x = (rng.integers(0, n - _SIDE + 1) for n in image.shape[:2])
      piece = Image.fromarray(image[y : y + _SIDE, x : x + _SIDE])
      piece.save(root / "train" / name / f"{i}.jpg", quality=90)
      if i == 0:
        piece.save(root / "test" / name / f"{i}.jpg")


def _sizes(quick: bool) -> tuple[int, ...]:
  return (64,) if quick else (64, 224)


def _same(
  row: str, ours: Callable[[], float], other: Callable[[], float]
) -> Iterator[ratios.Pair]:
  """Two steps; from the same weights both must begin with the same loss."""
  losses: list[float] = []
  others: list[float] = []
  yield _pair(
    row, lambda: losses.append(ours()), lambda: others.append(other())
  )
  np.testing.assert_allclose(losses[0], others[0], rtol=1e-3)


def _pair(
  row: str,
  ours: Callable[[], Any],
  other: Callable[[], Any],
  target: float = 1.0,
  better: ratios.Better = "higher",
) -> ratios.Pair:
  return ratios.Pair(row, ours, other, target, better, _BATCH, _BATCH)


if __name__ == "__main__":
  ratios.main(
    __doc__, {"torch": against_torch, "cabrnet": against_cabrnet, "input": fed}
  )

"""Training steps on a device: ProtoPNet's beside PyTorch's; all methods'."""

from collections.abc import Callable, Iterator
import dataclasses
import importlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import (
  comel,
  diffusion,
  harness,
  patchct,
  pictures,
  planned,
  promoe,
  ratios,
)
from configs import protopnet_folder
from protojax import methods, parallel
from protojax.engine import assets as assets_lib
from protojax.engine import cost, descent
from protojax.engine.stage import Fit
from protojax.types import PyTree

# Config of each method at the size of its paper; batches as they stand there.
_FULL = {
  "comel": "comel_camelyon16",
  "csr": "csr_folder",
  "epic": "epic_folder",
  "gapl": "gapl_folder",
  "inp_former": "inp_former_folder",
  "neurogaze_distill": "neurogaze_distill_ferplus",
  "patchct": "patchct_coco",
  "promoe": "promoe_imagenet",
  "protopnet": "protopnet_cub200",
  "scaleprotoseg": "scaleprotoseg_cityscapes",
  "st_protopnet": "st_protopnet_folder",
}
_QUICK = ("patchct_folder:debug",)
_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows that something else has measured, in the place of a pair.

  Attributes:
    make: a row.
  """

  make: Callable[[], harness.Row]

  def measure(self, repeats: int) -> harness.Row:
    """The row."""
    del repeats
    return self.make()


def torch_device() -> str:
  """PyTorch's name of the device."""
  import torch

  return "cuda" if torch.cuda.is_available() else "cpu"


def joint(quick: bool) -> Iterator[ratios.Pair]:
  """ResNet-50 in bfloat16 beside PyTorch's bfloat16 and torch.compile."""
  backbone, size, batch = (
    ("resnet18", 64, 4) if quick else ("resnet50", 224, 64)
  )
  yield Rows(lambda: _alone(backbone, size, batch))
  # The row above stands without PyTorch.
  torch_training = importlib.import_module("benchmarks.torch_training")
  labels = np.arange(batch, dtype=np.int32) % 200
  theirs = torch_training.ProtoPNet(200, 10, pictures.CHANNELS, backbone)
  images = np.float32(pictures.random(batch, size)) / 255 - 0.5
  other = torch_training.compiled_step(theirs, images, labels, torch_device())
  yield ratios.Pair(
    f"joint step, {backbone}, bf16, {size} px / PyTorch, bf16 and compiled",
    _joint(backbone, size, batch),
    other,
    1.3,
    "higher",
    batch,
    batch,
  )


def _alone(backbone: str, size: int, batch: int) -> harness.Row:
  run = _joint(backbone, size, batch)
  first, *seconds = (_seconds(run) for _ in range(1 + _STEPS))
  median = float(np.median(seconds))
  return {
    "row": f"joint step, {backbone}, bf16, {size} px, {batch} images",
    "ours ms": round(1e3 * median, 2),
    "images/s": round(batch / median, 1),
    "first calls s": f"{first:.1f}",
  }


def _joint(backbone: str, size: int, batch: int) -> Callable[[], float]:
  """A function that does one step of the joint stage and returns its loss."""
  changes = {
    "data.augment": "",
    "data.image_size": size,
    "batch_size": batch,
    "backbone.name": backbone,
    "backbone.dtype": "bfloat16",
    "backbone.pretrained": False,
    "prototypes.per_class": 10,
    "prototypes.channels": pictures.CHANNELS,
  }
  config = harness.changed(protopnet_folder, "paper", 0, changes)
  names = pictures.class_names()
  method = methods.load(config, names)
  images = pictures.random(batch, size)
  method.dataset.sources["train"] = pictures.Tiled(images, batch, names)
  fit = next(x for x in method.stages() if x.name == "joint")
  return _stepper(method, fit, next(iter(method.stream("train").batches())))


def of_methods(quick: bool) -> Iterator[Rows]:
  """A step of each method's largest stage, of the size of its paper."""
  names = _QUICK if quick else tuple(_FULL.values())
  for name in names:
    yield Rows(lambda name=name: _of_config(name))


def _of_config(name: str) -> harness.Row:
  """Milliseconds, work and memory of a step of a config.

  Its data need not be there: batches have their shapes, of random numbers.
  """
  module, _, variants = name.partition(":")
  config = importlib.import_module(f"configs.{module}").get_config(variants)
  method = planned.load(planned.untrained(config))
  fit, work = planned.largest(method)
  batch = jax.tree.map(_random, planned.layout(fit))
  run = _stepper(method, fit, batch)
  first, *seconds = (_seconds(run) for _ in range(1 + _STEPS))
  median = float(np.median(seconds))
  memory = jax.devices()[0].memory_stats() or {}
  return {
    "row": f"step of {name}, stage {fit.name}, {fit.batch_size} examples",
    "ours ms": round(1e3 * median, 2),
    "GFLOP": round(work.flops / 1e9, 1),
    "TFLOP/s": round(work.flops / median / 1e12, 2),
    "peak GB": round(memory.get("peak_bytes_in_use", 0) / 1e9, 2),
    "first calls s": f"{first:.1f}",
  }


def _random(x: jax.ShapeDtypeStruct) -> np.ndarray:
  """Numbers that any field may have: 0 and 1, or between them."""
  rng = np.random.default_rng(0)
  if np.issubdtype(x.dtype, np.floating):
    return rng.random(x.shape).astype(x.dtype)
  return rng.integers(0, 2, x.shape).astype(x.dtype)


def _stepper(method: Any, fit: Fit, batch: PyTree) -> Callable[[], float]:
  """A function that does one step on a batch and returns its loss."""
  state = jax.jit(method.init)(parallel.init_key(0))
  frozen = jax.tree.map(_random, assets_lib.shapes(method.assets))
  state = state.replace(assets=parallel.replicate(frozen))
  moments = jax.jit(fit.optimizer.init)(state.params)
  step = descent.mapped(fit, state, moments, parallel.key(0))
  given = list(
    parallel.distribute((state.replace(assets={}), moments), fit.sharding)
  )
  sharded, number = parallel.shard(batch), 0

  def run() -> float:
    nonlocal number
    update = step(*given, sharded, np.int32(number))
    given[:] = update[:2]
    number += 1
    return float(parallel.to_host(update.metrics["loss"]))

  return run


def transport(quick: bool) -> Iterator[ratios.Pair]:
  """Conditional transport beside Sinkhorn's iterations; see `patchct.py`."""
  given = patchct.sets(*((2, 49, 20) if quick else (64, 784, 80)))
  ours = jax.jit(jax.value_and_grad(patchct.transported))
  other = jax.jit(jax.value_and_grad(patchct.sinkhorn))
  yield ratios.Pair(
    "transport and gradient / Sinkhorn",
    lambda: jax.block_until_ready(ours(*given)),
    lambda: jax.block_until_ready(other(*given)),
    1.0,
    "higher",
  )


def bags(quick: bool) -> Iterator[Rows]:
  """CoMEL's attention; see `comel.py`."""
  for count in (1_000,) if quick else (10_000, 100_000):
    yield Rows(
      lambda count=count: {"row": "CoMEL's attention", **comel.row(count)}
    )


def experts(quick: bool) -> Iterator[Rows]:
  """A mixture of experts beside a dense MLP; see `promoe.py`."""
  if quick:
    return
  for row in promoe.layer():
    yield Rows(lambda row=row: {"row": f"ProMoE, {row.pop('')}", **row})


def diffusion_step(quick: bool) -> Iterator[Rows]:
  """A training step of DiT-S on latents, in bfloat16; see `diffusion.py`."""
  if not quick:
    yield Rows(_transformer)


def _transformer() -> harness.Row:
  train, shapes = diffusion.training(
    diffusion.transformer.size("S", dtype=jnp.bfloat16)
  )
  *arrays, key = shapes
  del key
  given = [jax.tree.map(_random, x) for x in arrays]
  given = [jax.tree.map(jnp.asarray, x) for x in given]
  step = jax.jit(train)

  def run() -> None:
    jax.block_until_ready(step(*given, parallel.key(0)))

  _, *seconds = (_seconds(run) for _ in range(1 + _STEPS))
  flops, median = cost.of(train, *shapes).flops, float(np.median(seconds))
  return {
    "row": "step of DiT-S, 32 latents of 32 x 32, bf16",
    "ours ms": round(1e3 * median, 2),
    "TFLOP/s": round(flops / median / 1e12, 2),
  }


def _seconds(run: Callable[[], Any]) -> float:
  began = time.perf_counter()
  run()
  return time.perf_counter() - began

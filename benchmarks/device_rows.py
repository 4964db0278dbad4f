"""The rows of an accelerator's column, the most important first.

What is wanted of one H100 or H200 stands in each row; sizes are those of
benchmarks/README.md unless the row says otherwise. The other side of a row,
such as PyTorch, is imported where it is needed.
"""

from collections.abc import Callable, Iterator
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import device_steps, pictures, prototypes, ratios
from protojax.modify import nlm, presets
from protojax.prototypes import push
from protojax.prototypes.network import Network
from protojax.types import Batch, State

_PROTOTYPES = 2000
_STRENGTH = 4.0
# Copies of an image that are passed forward, and the image itself.
_WITH_TEXTURE = len(presets.REFERENCE.modifications)


@dataclasses.dataclass(frozen=True)
class _Size:
  """Of the rows: in full, and where `--quick` shows that they work.

  Attributes:
    backbone: its name.
    pixels: on a side.
    batch, batches: images of a batch, and how many of them.
    prototypes: P.
  """

  backbone: str = "resnet50"
  pixels: int = 224
  batch: int = 128
  batches: int = 8
  prototypes: int = _PROTOTYPES

  @property
  def images(self) -> int:
    """Of all batches."""
    return self.batch * self.batches

  @property
  def words(self) -> str:
    """What a row says of it."""
    return f"{self.backbone}, bf16, {self.pixels} px"


def _size(quick: bool) -> _Size:
  return _Size("resnet18", 64, 8, 2, 200) if quick else _Size()


def _network(size: _Size, metric: str = "log") -> tuple[Network, State]:
  return pictures.network(
    size.backbone, size.prototypes, size.pixels, "bfloat16", metric
  )


def _batches(size: _Size) -> list[Batch]:
  stream = pictures.stream(size.images, size.pixels, size.batch)
  return list(stream.batches())


def _forward(
  model: Network, state: State, batches: list[Batch]
) -> Callable[[], Any]:
  """Passes of the backbone over images that come from the host."""
  run, state = jax.jit(model.backbone_map), jax.device_put(state)
  return lambda: jax.block_until_ready(
    [run(state, {"image": batch["image"]}) for batch in batches]
  )


def explanation(quick: bool) -> Iterator[ratios.Pair]:
  """Without texture, beside the forward passes that it cannot do without."""
  size = _size(quick)
  (model, state), batches = _network(size), _batches(size)
  kept = [m for m in presets.REFERENCE.modifications if m.name != "texture"]
  preset = dataclasses.replace(presets.REFERENCE, modifications=tuple(kept))
  yield ratios.Pair(
    f"global explanation / {len(kept)} forwards, {size.words}",
    lambda: pictures.explained(model, state, batches, preset),
    _forward(model, state, batches),
    1.10,
    "lower",
    ours_units=size.images,
    other_units=size.images / len(kept),
  )


def texture(quick: bool) -> Iterator[ratios.Pair]:
  """Non-local means beside all forward passes of an explanation."""
  size = _size(quick)
  (model, state), batches = _network(size), _batches(size)
  pixels = jnp.asarray(batches[0]["image"])
  smooth = jax.jit(nlm.smooth, static_argnums=1)
  yield ratios.Pair(
    f"texture / {_WITH_TEXTURE} forwards, {size.words}",
    lambda: jax.block_until_ready(smooth(pixels, _STRENGTH)),
    _forward(model, state, [{"image": pixels}]),
    0.10,
    "lower",
    ours_units=size.batch,
    other_units=size.batch / _WITH_TEXTURE,
  )


def whole(quick: bool) -> Iterator[ratios.Pair]:
  """All of it beside plain PyTorch on the same device."""
  from benchmarks import torch_reference

  size = _size(quick)
  model, state = pictures.network(size.backbone, size.prototypes, size.pixels)
  pixels = pictures.random(size.batch // 4, size.pixels)
  body = model.backbone
  foreign, tensors = torch_reference.resnet(size.backbone, body, pixels)
  given = body.convert(tensors)
  params = {**state.params, "backbone": given["params"]}
  statistics = {"batch_stats": given["batch_stats"]}
  state = state.replace(
    params=params, statistics={**state.statistics, "backbone": statistics}
  )
  script = torch_reference.Reference(
    foreign, body, state, size.pixels, device_steps.torch_device()
  )
  stream = pictures.stream(len(pixels), size.pixels, len(pixels))
  batches = list(stream.batches())
  for dtype in ("float32", "bfloat16"):
    ours, _ = pictures.network(
      size.backbone, size.prototypes, size.pixels, dtype
    )
    yield ratios.Pair(
      f"whole explanation against PyTorch, {size.backbone}, ours {dtype}",
      lambda ours=ours: pictures.explained(
        ours, state, batches, presets.REFERENCE
      ),
      lambda: script.explain(pixels),
      20,
      "higher",
      ours_units=len(pixels),
      other_units=len(pixels),
    )


def pushes(quick: bool) -> Iterator[ratios.Pair]:
  """A push beside the forward passes that it cannot do without."""
  size = _size(quick)
  (model, state), batches = _network(size, "cosine"), _batches(size)
  stream = pictures.stream(size.images, size.pixels, size.batch)
  forward = _forward(
    model, state, [{"image": jnp.asarray(x["image"])} for x in batches]
  )
  yield ratios.Pair(
    f"push of {size.prototypes} prototypes / plain forward, {size.words}",
    lambda: push.push(model.embedded_map, state, stream, model.similarity),
    forward,
    1.10,
    "lower",
    ours_units=size.images,
    other_units=size.images,
  )


def scores(quick: bool) -> Iterator[ratios.Pair]:
  """Scores beside the matmul of that size, by XLA and by the fused kernel."""
  counts = (2_000,) if quick else (20_000, 100_000, 1_000_000)
  for count in counts:
    yield prototypes.beside_matmul(count, "xla")
    yield prototypes.beside_matmul(count, "pallas")
    yield prototypes.kernels(count)


def million(quick: bool) -> Iterator[prototypes.Memory]:
  """A step at P = 1,000,000, either head."""
  per_class, classes, batch = (10, 100, 4) if quick else (1_000, 1_000, 32)
  for kind in ("class_block", "dense"):
    yield prototypes.Memory(kind, per_class, classes, batch, 80e9)


def pruned(quick: bool) -> Iterator[ratios.Pair]:
  """The six nearest images of each prototype beside CaBRNet's loop."""
  from benchmarks import push as pushing

  for pair in pushing.pruning(quick, device_steps.torch_device()):
    yield dataclasses.replace(pair, target=100)


def heats(quick: bool) -> Iterator[ratios.Pair]:
  """Ten maps of an image beside CaBRNet's."""
  from benchmarks import peers

  for pair in peers.maps(quick, device_steps.torch_device()):
    yield dataclasses.replace(pair, target=20)


# Name -> the rows, and the most seconds that they may take.
ROWS: dict[str, tuple[Callable[[bool], Iterator[Any]], float]] = {
  "explanation-row": (explanation, 90),
  "joint": (device_steps.joint, 150),
  "scores": (scores, 90),
  "million": (million, 90),
  "push-row": (pushes, 90),
  "texture": (texture, 60),
  "whole": (whole, 120),
  "methods": (device_steps.of_methods, 150),
  "transport": (device_steps.transport, 60),
  "bags": (device_steps.bags, 60),
  "experts": (device_steps.experts, 60),
  "diffusion": (device_steps.diffusion_step, 60),
  "prune": (pruned, 60),
  "heat-maps": (heats, 90),
}

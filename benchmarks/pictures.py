"""Random images and networks in memory, for what needs no photographs."""

from collections.abc import Iterable
import dataclasses
from typing import Any

import jax
from jaxtyping import Int32, UInt8
import numpy as np
from PIL import Image

from protojax import backbones, parallel
from protojax.data import stream as stream_lib
from protojax.explain import sweep
from protojax.modify.presets import Preset
from protojax.prototypes import similarity
from protojax.prototypes.bank import bank_of
from protojax.prototypes.layer import AddOn, PrototypeLayer
from protojax.prototypes.network import Network
from protojax.types import Batch, State

CHANNELS, _CLASSES = 128, 200
# Patches of the coarse colours, and of the fine ones on top.
_COARSE, _GRAIN = 6, 24.0


def random(count: int, size: int) -> UInt8[np.ndarray, "n H W 3"]:
  """Smooth coloured areas with grain, `size` pixels on a side."""
  rng = np.random.default_rng(0)
  found = []
  for _ in range(count):
    coarse = rng.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((size, size), Image.BICUBIC)
    grain = rng.normal(0, _GRAIN, (size, size, 1))
    found.append(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))
  return np.stack(found)


@dataclasses.dataclass(frozen=True, eq=False)
class Tiled:
  """A source of any length that takes the memory of a few images.

  Attributes:
    pixels: the images that come again and again.
    count: of all.
    class_names: the classes of the images, in turn.
  """

  pixels: UInt8[np.ndarray, "n H W 3"]
  count: int
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """In turn."""
    return np.arange(self.count, dtype=np.int32) % len(self.class_names)

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    label = i % len(self.class_names)
    image = self.pixels[i % len(self.pixels)]
    return {"image": image, "label": label, "name": self.name(i)}

  def name(self, i: int) -> str:
    """Its number."""
    return f"image {i}"


def class_names() -> tuple[str, ...]:
  """Of the networks and sources here."""
  return tuple(f"class {k}" for k in range(_CLASSES))


def stream(count: int, size: int, batch: int) -> stream_lib.Stream:
  """Random images in order, kept in memory."""
  source = Tiled(random(count, size), count, class_names())
  return stream_lib.ordered(source, size, batch)


def network(
  backbone: str,
  prototypes: int,
  size: int,
  dtype: str = "float32",
  metric: str = "log",
) -> tuple[Network, State]:
  """A ProtoPNet with random weights, its state on the host."""
  model = Network(
    backbones.load(backbone, dtype, False),
    AddOn(CHANNELS),
    PrototypeLayer(prototypes, CHANNELS, similarity.load(metric)),
    size,
    class_names(),
  )
  class_of = np.arange(prototypes) * _CLASSES // prototypes
  state = jax.jit(model.init)(parallel.init_key(0), class_of)
  return model, parallel.to_host(state)


def explained(
  model: Network, state: State, batches: Iterable[Batch], preset: Preset
) -> Any:
  """Totals of the global explanation of batches."""
  provenance = np.full(len(bank_of(state).alive), -1, np.int32)
  *_, totals = sweep.sweep(model, state, batches, preset, provenance=provenance)
  return totals

"""ScaleProtoSeg's whole evaluation beside its backbone's forward pass.

python benchmarks/segmenters.py [--backbone NAME] [--pixels N] [--repeats N]

One image, DeepLabV2's ResNet-101, 19 classes, 228 prototypes and 57 groups, by
default at 513 pixels; weights are random. Processor time, the least of some
repeats, in turns. ASPP is the last layer of DeepLabV2, so that the backbone is
told with and without it.
"""

import argparse
from collections.abc import Mapping
import functools
from pathlib import Path
import sys
import time
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import scaleprotoseg_folder
from protojax import methods, parallel
from protojax.methods.scaleprotoseg import judging
from protojax.types import State

_CLASSES = 19


def _network(name: str, pixels: int) -> Any:
  config = scaleprotoseg_folder.get_config("deeplab").unlock()
  config.backbone.name, config.data.image_size = name, pixels
  names = tuple(f"class {k}" for k in range(_CLASSES))
  return methods.load(config, names).network


def _state(network: Any) -> State:
  """A random state: kernels add up to about one, variances are one."""
  rng = np.random.default_rng(0)

  def drawn(path: Any, x: Any) -> np.ndarray:
    name = path[-1].key if hasattr(path[-1], "key") else ""
    if name == "var" or x.dtype == bool:
      return np.ones(x.shape, x.dtype)
    if not np.issubdtype(x.dtype, np.floating):
      return np.zeros(x.shape, x.dtype)
    deviation = max(np.prod(x.shape[:-1]), 1) ** -0.5
    return rng.normal(0, deviation, x.shape).astype(x.dtype)

  shapes = jax.eval_shape(network.init, jax.random.key(0))
  state = jax.tree_util.tree_map_with_path(drawn, shapes)
  s, k, m = network.shape
  class_of = np.tile(np.repeat(np.arange(k), m), s).astype(np.int32)
  return state.replace(buffers={**state.buffers, "class_of": class_of})


def _seconds(function: Any, *given: Any) -> float:
  began = time.process_time()
  jax.block_until_ready(function(*given))
  return time.process_time() - began


def main() -> None:
  """Prints a table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--backbone", default="resnet101_deeplab", metavar="NAME")
  parser.add_argument("--pixels", type=int, default=513, metavar="N")
  parser.add_argument("--repeats", type=int, default=3, metavar="N")
  args = parser.parse_args()
  parallel.setup()
  network = _network(args.backbone, args.pixels)
  state = _state(network)
  rng = np.random.default_rng(1)
  shape = 1, args.pixels, args.pixels
  batch = {
    "image": rng.integers(0, 256, (*shape, 3), np.uint8),
    "mask": rng.integers(0, _CLASSES, shape, np.int32),
  }

  def maps(state: State, batch: Mapping[str, Any]) -> Any:
    return network.maps(state.params, state.statistics, batch["image"])[0]

  def features(state: State, batch: Mapping[str, Any]) -> Any:
    return network.embed(state, batch["image"])

  ways = {
    "backbone": jax.jit(maps),
    "backbone and ASPP": jax.jit(features),
    "answers": jax.jit(network.answers),
    "whole evaluation": jax.jit(functools.partial(judging._step, network)),
  }
  for way in ways.values():
    jax.block_until_ready(way(state, batch))
  found: dict[str, list[float]] = {name: [] for name in ways}
  for _ in range(args.repeats):
    for name, way in ways.items():
      found[name].append(_seconds(way, state, batch))
  least = {name: min(values) for name, values in found.items()}
  harness.tell(
    {
      "of an image": name,
      "processor, s": f"{seconds:.2f}",
      "beside the backbone": f"{seconds / least['backbone']:.3f}",
      "beside it with ASPP": f"{seconds / least['backbone and ASPP']:.3f}",
    }
    for name, seconds in least.items()
  )


if __name__ == "__main__":
  print(harness.machine())
  main()

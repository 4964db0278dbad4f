"""INP-Former against its ablations, a memory bank, and the clock.

python benchmarks/inp_former.py ablations
python benchmarks/inp_former.py bank --root=DIR
python benchmarks/inp_former.py speed

Each prints a Markdown table; --json=FILE writes the same rows.
"""

import argparse
from collections.abc import Callable, Iterator
import importlib.metadata
import json
from pathlib import Path
import platform
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs import inp_former_magtile, inp_former_textures
from protojax import methods, parallel
from protojax.data import anomaly, pipeline
from protojax.metrics import anomaly as metrics
from protojax.prototypes import anomaly_map, distance
from protojax.train import stage
from protojax.types import Array, State

# What each ablation takes away (2503.02424, section 4).
_ABLATIONS = {
  "full": {},
  "self-attention decoder": {
    "decoder.attention": "self",
    "decoder.residual": True,
  },
  "residual kept": {"decoder.residual": True},
  "softmax for ReLU": {"decoder.attention": "softmax"},
  "static prototypes": {"prototypes.static": True},
}
# Another light: gain and offset in grey levels.
_LIGHT = 0.7, 30.0
_SHOWN = ("image_auroc", "pixel_auroc", "aupro")
_REPEATS = 5


def train(config: ConfigDict) -> tuple[Any, State]:
  """A method through all its stages, without files."""
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(config.seed)))
  for number, step in enumerate(method.stages(), 1):
    if isinstance(step, stage.Pass):
      state, _ = step.sweep(state, step.data)
      continue
    key = jax.random.fold_in(parallel.key(config.seed), number)
    for update in stage.fit(
      step, state, step.optimizer.init(state.params), key
    ):
      last = update
    state = parallel.to_host(last.state)
  return method, state


def ablations(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Each ablation over the seeds, also on the test images in another light."""
  for name, changes in _ABLATIONS.items():
    found: dict[str, list[float]] = {}
    for seed in range(args.seeds):
      method, state = train(_config(args, seed, changes))
      test = method.stream("test")
      shifted = anomaly.shifted(test.source, *_LIGHT)
      dark = pipeline.ordered(shifted, test.image_size, test.batch_size)
      for prefix, stream in (("", test), ("shifted ", dark)):
        measured = method.evaluate(state, stream)
        for metric in _SHOWN:
          found.setdefault(prefix + metric, []).append(measured[metric])
    yield {"row": name, **{k: _mean(values) for k, values in found.items()}}


def bank(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """The method beside a memory of normal tokens, on the same features."""
  rows: dict[str, dict[str, list[float]]] = {}
  for seed in range(args.seeds):
    method, state = train(_config(args, seed, {}))
    test = method.stream("test")
    found = {
      "INP-Former": method.evaluate(state, test),
      "memory bank": _bank_metrics(method, state, test),
    }
    for name, measured in found.items():
      row = rows.setdefault(name, {})
      for metric in _SHOWN:
        row.setdefault(metric, []).append(measured[metric])
  for name, row in rows.items():
    yield {"row": name, **{k: _mean(values) for k, values in row.items()}}


def _bank_metrics(method: Any, state: State, test: Any) -> dict[str, float]:
  """PatchCore (Roth et al., 2022) without its coreset: all normal tokens.

  A cell's anomaly is its cosine distance to the nearest normal token of its
  category; maps and scores are made of it as the method makes them.
  """
  train_source, detector = method.stream("train").source, method.detector
  means = []
  for category in range(len(test.source.category_names)):
    own = np.flatnonzero(train_source.categories == category)
    memory = jnp.concatenate(
      [
        jnp.asarray(tokens[mask]).reshape(-1, tokens.shape[-1])
        for tokens, mask in _tokens(method, state, method.stream("train"), own)
      ]
    )
    memory = distance.direction(memory)

    @jax.jit
    def nearest(tokens: Array, memory: Array = memory) -> Array:
      cosines = jax.lax.map(
        lambda x: jnp.max(distance.direction(x) @ memory.T, axis=1), tokens
      )
      maps = (1 - cosines).reshape(1, len(tokens), *detector.grid)
      return anomaly_map.at_pixels(maps, detector.image_size, detector.map_size)

    chosen = np.flatnonzero(test.source.categories == category)
    maps = np.concatenate(
      [
        np.asarray(nearest(tokens))[mask]
        for tokens, mask in _tokens(method, state, test, chosen)
      ]
    )
    scores = np.asarray(anomaly_map.image_score(maps, detector.share))
    labels = test.source.labels[chosen] > 0
    truths = np.stack([method.truth(test.source, int(i)) for i in chosen])
    weights = np.stack([metrics.region_weights(truth) for truth in truths])
    counts = metrics.count(
      metrics.Counts.empty(), maps, weights, np.ones(len(maps), bool)
    )
    means.append(
      metrics.image_metrics(labels, scores) | metrics.pixel_metrics(counts)
    )
  return {m: float(np.nanmean([row[m] for row in means])) for m in _SHOWN}


def _tokens(
  method: Any, state: State, stream: Any, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Tokens [b n d], the mean of both groups, and the mask of each batch."""
  rows = parallel.each(method.detector.encoder_rows, state, stream.some(chosen))
  for batch, found in rows:
    yield found["encoded"].mean(axis=1), batch["mask"]


def speed(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """An epoch with cached tokens and without; inference with maps and without.

  The two of a pair are measured in turns; medians, compilation left out.
  """
  method, state = train(_config(args, 0, {"epochs": 1}))
  fit = next(s for s in method.stages() if isinstance(s, stage.Fit))
  epoch = {
    f"training, {'cached' if cached else 'uncached'}": _epochs(
      fit, state, cached
    )
    for cached in (True, False)
  }
  yield from _in_turns(epoch, fit.total_steps * fit.data.batch_size)
  batch = next(iter(method.stream("test").batches()))
  detector, images = method.detector, jnp.asarray(batch["image"])
  infer = {
    f"inference, {name}": _calls(jax.jit(function), state, images)
    for name, function in (
      ("cells alone", detector.values),
      ("maps and scores", detector.inspect),
    )
  }
  yield from _in_turns(infer, len(images))


def _epochs(fit: stage.Fit, state: State, cached: bool) -> Iterator[float]:
  """Seconds of an epoch, again and again; the cache is made before."""
  moments = fit.optimizer.init(state.params)
  length = stage.epochs(_REPEATS + 1)
  long = stage.Fit(**{**vars(fit), "length": length})
  updates = stage.fit(long, state, moments, parallel.key(0), 0, cached)
  for _ in range(_REPEATS + 1):
    began = time.perf_counter()
    for _ in range(fit.total_steps):
      jax.block_until_ready(next(updates).metrics)
    yield time.perf_counter() - began


def _calls(function: Callable, state: State, images: Array) -> Iterator[float]:
  while True:
    began = time.perf_counter()
    jax.block_until_ready(function(state, images))
    yield time.perf_counter() - began


def _in_turns(
  runs: dict[str, Iterator[float]], images: int
) -> Iterator[dict[str, Any]]:
  for run in runs.values():
    next(run)  # Compiles.
  taken = {name: [] for name in runs}
  for _ in range(_REPEATS):
    for name, run in runs.items():
      taken[name].append(next(run))
  first = statistics.median(next(iter(taken.values())))
  for name, seconds in taken.items():
    median = statistics.median(seconds)
    yield {
      "row": name,
      "images/s": round(images / median, 1),
      "ratio": round(median / first, 2),
    }


def _config(
  args: argparse.Namespace, seed: int, changes: dict[str, Any]
) -> ConfigDict:
  module = inp_former_magtile if args.root else inp_former_textures
  config = module.get_config(args.variants).unlock()
  config.seed = seed
  config.data.root = args.root
  config.update_from_flattened_dict(changes)
  return config.lock()


def _mean(values: list[float]) -> str:
  """Mean and, of several, the standard deviation."""
  if len(values) == 1:
    return f"{values[0]:.3f}"
  return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
  """Runs one benchmark and prints its table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("which", choices=["ablations", "bank", "speed"])
  parser.add_argument(
    "--root", default="", help="magnetic tiles; textures if not given"
  )
  parser.add_argument(
    "--variants", default="", help="of the config, such as debug"
  )
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  parallel.setup()
  rows = []
  for row in globals()[args.which](args):
    if not rows:
      print("| " + " | ".join(row) + " |")
      print("|" + " --- |" * len(row))
    rows.append(row)
    print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
  if args.json:
    versions = {n: importlib.metadata.version(n) for n in ("jax", "protojax")}
    machine = f"{platform.machine()}, {parallel.describe()}"
    content = {"rows": rows, "machine": machine, "versions": versions}
    Path(args.json).write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
  main()

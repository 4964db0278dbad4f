"""INP-Former beside a memory bank, and the clock.

python benchmarks/inp_former.py speed

prints a Markdown table; --json=FILE writes the same rows. The experiments
inp_former_textures and inp_former_magtile (benchmarks/results.py) have its
ablations, and the memory bank.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import inp_former_magtile, inp_former_textures
from protojax import parallel
from protojax.engine import descent, stage
from protojax.methods.inp_former import anomaly_map
from protojax.metrics import anomaly as metrics
from protojax.prototypes import distance
from protojax.types import Array, State

SHOWN = ("image_auroc", "pixel_auroc", "aupro")


def memory_bank(method: Any, state: State, test: Any) -> dict[str, float]:
  """PatchCore (Roth et al., 2022) without its coreset: all normal tokens.

  A cell's anomaly is its cosine distance to the nearest normal token of its
  category; maps and scores are made of it as the method makes them.
  """
  train_source, network = method.stream("train").source, method.network
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
      maps = (1 - cosines).reshape(1, len(tokens), *network.grid)
      return anomaly_map.at_pixels(maps, network.image_size, network.map_size)

    chosen = np.flatnonzero(test.source.categories == category)
    maps = np.concatenate(
      [
        np.asarray(nearest(tokens))[mask]
        for tokens, mask in _tokens(method, state, test, chosen)
      ]
    )
    scores = np.asarray(anomaly_map.image_score(maps, network.share))
    labels = test.source.labels[chosen] > 0
    truths = np.stack([method.truth(test.source, int(i)) for i in chosen])
    weights = np.stack([metrics.region_weights(truth) for truth in truths])
    counts = metrics.count(
      metrics.Counts.empty(), maps, weights, np.ones(len(maps), bool)
    )
    means.append(
      metrics.image_metrics(labels, scores) | metrics.pixel_metrics(counts)
    )
  return {m: float(np.nanmean([row[m] for row in means])) for m in SHOWN}


def _tokens(
  method: Any, state: State, stream: Any, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Tokens [b n d], the mean of both groups, and the mask of each batch."""
  rows = parallel.each(method.network.encoder_rows, state, stream.some(chosen))
  for batch, found in rows:
    yield found["encoded"].mean(axis=1), batch["valid"]


def speed(args: argparse.Namespace) -> Iterator[harness.Row]:
  """An epoch with cached tokens and without; inference with maps and without.

  The two of a pair are measured in turns; medians, compilation left out.
  """
  module = inp_former_magtile if args.root else inp_former_textures
  changes = {"data.root": args.root, "epochs": 1}
  method, state = harness.train(
    harness.changed(module, args.variants, 0, changes)
  )
  fit = next(s for s in method.stages() if isinstance(s, stage.Fit))
  epoch = {
    f"training, {'cached' if cached else 'uncached'}": _epochs(
      fit, state, cached
    )
    for cached in (True, False)
  }
  yield from harness.in_turns(epoch, fit.total_steps * fit.data.batch_size)
  batch = next(iter(method.stream("test").batches()))
  network, images = method.network, jnp.asarray(batch["image"])
  infer = {
    f"inference, {name}": harness.calls(jax.jit(function), state, images)
    for name, function in (
      ("cells alone", network.values),
      ("maps and scores", network.inspect),
    )
  }
  yield from harness.in_turns(infer, len(images))


def _epochs(fit: stage.Fit, state: State, cached: bool) -> Iterator[float]:
  """Seconds of an epoch, again and again; the cache is made before."""
  moments = fit.optimizer.init(state.params)
  length = stage.epochs(harness.REPEATS + 1)
  long = stage.Fit(**{**vars(fit), "length": length})
  updates = descent.fit(long, state, moments, parallel.key(0), 0, cached)
  for _ in range(harness.REPEATS + 1):
    began = time.perf_counter()
    for _ in range(fit.total_steps):
      jax.block_until_ready(next(updates).metrics)
    yield time.perf_counter() - began


if __name__ == "__main__":
  harness.main(
    __doc__, {"speed": speed}, root="magnetic tiles; textures if not given"
  )

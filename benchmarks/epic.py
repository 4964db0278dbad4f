"""EPIC against other bases of the same channels.

python benchmarks/epic.py --root=DIR [--more=DIR] [--variants=imagenet]

DIR holds <class>/*; the photographs of --more are one class beside them. Every
seed draws other training and test images. It prints a Markdown table;
--json=FILE writes the same rows.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
import statistics
import sys
import tempfile
from typing import Any
import warnings

import jax
from ml_collections import ConfigDict
import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import epic_folder
from protojax import methods, parallel
from protojax.datasets import dataset
from protojax.engine import descent, stage
from protojax.engine.cached import Cached
from protojax.methods.epic import channels, folding, losses
from protojax.types import State

# Channels whose cells are taken from an image, as the paper shows them.
_TOP = 4
_CELLS = 6_000  # that PCA and ICA see
_ICA_STEPS = 15


def train(config: ConfigDict) -> tuple[Any, State]:
  """A method through all its stages, without files."""
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(config.seed)))
  moments = {}
  for number, step in enumerate(method.stages(), 1):
    if isinstance(step, stage.Pass):
      state, _ = step.sweep(state, step.data)
    else:
      name = step.optimizer_id or step.name
      if name not in moments:
        moments[name] = step.optimizer.init(state.params)
      key = jax.random.fold_in(parallel.key(config.seed), number)
      *_, last = descent.fit(step, state, moments[name], key)
      state, moments[name], _ = parallel.to_host(last)
  return method, state


class Measured:
  """One classifier, seen through any basis of its channels."""

  def __init__(self, method: Any, state: State) -> None:
    self.method, self.state = method, state
    network = method.network
    self.kept = Cached(network.map_rows, network.frozen)
    self.streams = {s: method.stream(s) for s in ("train", "test")}
    # The folder's own classes, also where the head has others.
    config = method.config
    self.labels = {
      s: dataset.open_split(config.data, s, config.seed).labels
      for s in self.streams
    }

  def batches(self, split: str) -> Iterator[Any]:
    """Of a split, with its maps."""
    return self.kept.batches(self.state, self.streams[split])

  def figures(self, basis: np.ndarray) -> dict[str, float]:
    """Purity of the strongest images of each channel, and what they share."""
    inverse = np.linalg.pinv(np.asarray(basis, np.float64))
    state = folding.folded(self.state, basis, inverse)
    found = {}
    for split in self.streams:
      near = channels.strongest(
        self.method.network, state, self.batches(split), 5
      )
      purity = channels.purities(near)
      found[f"{split} purity"] = float(purity.mean())
      if split == "test":
        found["5 %"], found["95 %"] = np.percentile(purity, (5, 95)).tolist()
      labels = self.labels[split][near.images]
      found[f"{split} entropy"] = float(np.mean([_entropy(r) for r in labels]))
    drop, cells = self.deletion(state)
    return {**found, "drop": drop, "cells": cells}

  def favoured(self, basis: np.ndarray) -> np.ndarray:
    """The basis with each row's sign in its favour on the training images."""
    network, signed = self.method.network, []
    for sign in (1, -1):
      state = folding.folded(self.state, sign * basis, sign * basis)
      near = channels.strongest(network, state, self.batches("train"), 5)
      signed.append(channels.purities(near))
    return np.where(signed[0] >= signed[1], 1, -1)[:, None] * basis

  def deletion(self, state: State) -> tuple[float, float]:
    """How far the predicted logit falls without the cells of four channels.

    Those with most points, as the paper shows them. A cell's square becomes
    the image's mean colour.

    Returns:
      The fall, and how many cells the four have: means over the test images.
    """
    network, stream = self.method.network, self.streams["test"]
    rows, columns = network.grid
    side = network.image_size // rows
    own = jax.jit(lambda s, x: network.own_logits(s, network.embed(s, x)))
    answers = jax.jit(network.answers)
    drops, counts = [], []
    for batch in stream.batches():
      found = jax.device_get(answers(state, {"image": batch["image"]}))
      images = batch["image"].copy()
      for i, image in enumerate(images):
        top = np.argsort(-found["points"][i])[:_TOP]
        cells = np.unique(found["cells"][i, top])
        colour = image.reshape(-1, 3).mean(axis=0).astype(np.uint8)
        for y, x in zip(*np.divmod(cells, columns), strict=True):
          area = (
            slice(y * side, y * side + side),
            slice(x * side, x * side + side),
          )
          image[area] = colour
        counts.append(len(cells))
      after = np.asarray(own(state, images))
      answer = found["logits"].argmax(axis=1)
      place = np.arange(len(answer)), answer
      drops += (found["logits"][place] - after[place])[batch["valid"]].tolist()
    return float(np.mean(drops)), float(np.mean(counts[: len(drops)]))

  def cells(self, seed: int) -> np.ndarray:
    """Patches of the training images, at most so many."""
    found = [b["features"][b["valid"]] for b in self.batches("train")]
    cells = np.concatenate(found).reshape(-1, found[0].shape[-1])
    chosen = np.random.default_rng(seed).permutation(len(cells))[:_CELLS]
    return cells[chosen]


def _entropy(labels: np.ndarray) -> float:
  """Of the classes of a channel's images, in nats."""
  _, counts = np.unique(labels, return_counts=True)
  shares = counts / counts.sum()
  return float(-np.sum(shares * np.log(shares)))


def bases(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Channels as they are, at random, by PCA and ICA, and EPIC's."""
  rows: dict[str, dict[str, list[float]]] = {}
  for seed in range(args.seeds):
    method, state = train(_config(args, seed, {}))
    test = method.evaluate(state, "test")
    print(
      f"seed {seed}: logits off by {test['logit_difference']:.1e} of the"
      f" largest, {test['changed']:.0f} answers changed, dropped points"
      f" {test['dropped']:.3f}",
      file=sys.stderr,
    )
    measured = Measured(method, state)
    for name, basis in _bases(measured, seed):
      row = rows.setdefault(name, {})
      for metric, value in measured.figures(basis).items():
        row.setdefault(metric, []).append(value)
      print(name, {k: round(x[-1], 3) for k, x in row.items()}, file=sys.stderr)
  for name, row in rows.items():
    yield {"row": name, **{k: _mean(values) for k, values in row.items()}}


def _bases(measured: Measured, seed: int) -> Iterator[tuple[str, np.ndarray]]:
  count = measured.method.network.backbone.channels
  yield "channels as they are", np.eye(count)
  rng = np.random.default_rng(seed)
  turned = losses.polar(rng.normal(size=(count, count)))
  yield "random rotation", measured.favoured(turned)
  cells = measured.cells(seed)
  _, _, axes = np.linalg.svd(cells - cells.mean(axis=0)[None])
  yield "PCA", measured.favoured(axes)
  ica = FastICA(whiten="unit-variance", max_iter=_ICA_STEPS, random_state=seed)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    yield "ICA", measured.favoured(ica.fit(cells).components_)
  yield "EPIC", np.asarray(folding.basis(measured.state))


def _config(
  args: argparse.Namespace, seed: int, changes: dict[str, Any]
) -> ConfigDict:
  config = epic_folder.get_config(args.variants).unlock()
  config.seed = seed
  config.data.root = args.pool
  config.data.image_size = args.image_size or config.data.image_size
  config.update_from_flattened_dict(changes)
  return config.lock()


def _pool(root: str, more: str, folder: Path) -> str:
  """One folder of classes: those of the root, and the photographs of `more`."""
  if not more:
    return root
  for place in sorted(Path(root).iterdir()):
    if place.is_dir():
      (folder / place.name).symlink_to(place.resolve())
  (folder / "photographs").mkdir()
  for photograph in sorted(Path(more).glob("imagenet_*.jpg")):
    (folder / "photographs" / photograph.name).symlink_to(photograph.resolve())
  return str(folder)


def _mean(values: list[float]) -> str:
  """Mean and, of several, the standard deviation."""
  if len(values) == 1:
    return f"{values[0]:.3g}"
  return f"{statistics.mean(values):.3g} ± {statistics.stdev(values):.2g}"


def main() -> None:
  """Measures all bases and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--root", default="", help="a folder of classes")
  parser.add_argument(
    "--more", default="", help="the data of foolbox: imagenet_*.jpg"
  )
  parser.add_argument(
    "--variants", default="", help="of the config, such as imagenet or debug"
  )
  parser.add_argument(
    "--image-size", type=int, default=0, help="where not the config's"
  )
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  parallel.setup()
  with tempfile.TemporaryDirectory() as folder:
    args.pool = _pool(args.root, args.more, Path(folder))
    harness.tell(bases(args), args.json)


if __name__ == "__main__":
  main()

"""How far a classifier's answers bear corruptions: JPEG, blur, resizing, noise.

Images are corrupted at the size of the network's input, after they were resized
and cropped.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import loading, parallel
from protojax.data import images as images_lib
from protojax.data.stream import Stream
from protojax.methods.base import needed
from protojax.metrics import multi_label
from protojax.modify import corruptions
from protojax.types import Array, Batch, State

# Strengths, from weak to strong: quality; sigma in pixels; share of the side;
# sigma in grey levels.
STRENGTHS: Mapping[str, tuple[float, ...]] = {
  "jpeg": (90.0, 70.0, 50.0, 30.0),
  "blur": (0.5, 1.0, 2.0, 3.0),
  "resize": (0.9, 0.75, 0.5, 0.25),
  "noise": (2.0, 5.0, 10.0, 20.0),
}
CLEAN = "clean"


def measure(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
  """Corruption -> strength -> "accuracy" and, of two classes, "ap".

  The first entry is `CLEAN`, without a strength. AP is that of the second
  class.

  Args:
    folder: of a finished run of a method that classifies.

  Raises:
    UserError: there is no such run, or its method does not classify.
  """
  method, state, config = loading.load(folder)
  needed(method, "classifies")
  with loading.described_by(folder, config):
    stream = method.stream("test")
  found = {CLEAN: {"": _judged(method, state, stream, CLEAN, 0.0)}}
  for name, strengths in STRENGTHS.items():
    found[name] = {
      f"{strength:g}": _judged(method, state, stream, name, strength)
      for strength in strengths
    }
  return found


def _judged(
  method: Any, state: State, stream: Stream, name: str, strength: float
) -> dict[str, float]:
  """Figures of a corrupted stream."""
  predict = functools.partial(_predict, method, name, strength)
  shares, labels = [], []
  batches = _saved(stream, int(strength) if name == "jpeg" else None)
  for batch, rows in parallel.each(predict, state, batches):
    own = batch["valid"] & (batch["label"] >= 0)
    shares.append(rows["probabilities"][own])
    labels.append(batch["label"][own])
  probabilities, truth = np.concatenate(shares), np.concatenate(labels)
  right = probabilities.argmax(axis=1) == truth
  found = {"accuracy": float(right.mean())}
  if probabilities.shape[1] == 2:
    ap = multi_label.average_precision(probabilities[:, 1], truth == 1)
    found["ap"] = ap
  return found


def _saved(stream: Stream, quality: int | None) -> Iterator[Batch]:
  """Batches whose images went through JPEG, if there is a quality."""
  for batch in stream.batches():
    if quality is None:
      yield batch
    else:
      images = [images_lib.through_jpeg(x, quality) for x in batch["image"]]
      yield {**batch, "image": np.stack(images)}


def _predict(
  method: Any, name: str, strength: float, state: State, batch: Batch
) -> Mapping[str, Array]:
  """Probabilities of corrupted images."""
  if name in _ON_DEVICE:
    x = jnp.asarray(batch["image"], jnp.float32)
    x = _ON_DEVICE[name](x, strength, jnp.asarray(batch["index"]))
    image = jnp.rint(jnp.clip(x, 0, 255)).astype(jnp.uint8)
    batch = {**batch, "image": image}
  return {"probabilities": method.predict(state, batch)["probabilities"]}


def _blur(x: Array, sigma: float, index: Array) -> Array:
  del index
  return corruptions.blurred(x, sigma, math.ceil(4 * sigma))


def _resize(x: Array, share: float, index: Array) -> Array:
  del index
  return corruptions.resized(x, share)


def _noise(x: Array, sigma: float, index: Array) -> Array:
  keys = parallel.example_keys(jax.random.key(0), index)
  return corruptions.noised(x, keys, sigma)


_ON_DEVICE: Mapping[str, Callable[[Array, float, Array], Array]] = {
  "blur": _blur,
  "resize": _resize,
  "noise": _noise,
}

"""How far a classifier's answers bear corruptions: JPEG, blur, resizing, noise.

Images are corrupted at the size of the network's input, after they were resized
and cropped.
"""

from collections.abc import Iterator, Mapping
import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int, UInt8
import numpy as np

from protojax import loading, parallel
from protojax.data import images as images_lib
from protojax.data.stream import Stream
from protojax.methods.base import needed
from protojax.metrics import multi_label
from protojax.modify import corruptions
from protojax.types import Array, ArrayLike, Batch, State

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
  shares, labels = [], []
  batches = _corrupted(stream, name, strength)
  for batch, rows in parallel.each(method.predict, state, batches):
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


def _corrupted(stream: Stream, name: str, strength: float) -> Iterator[Batch]:
  """Batches with corrupted images.

  They are corrupted by a program of their own, so that the network's is
  compiled once for all corruptions.
  """
  for batch in stream.batches():
    image = batch["image"]
    if name == "jpeg":
      quality = int(strength)
      saved = [images_lib.through_jpeg(x, quality) for x in image]
      image = np.stack(saved)
    elif name != CLEAN:
      image = np.asarray(_on_device(image, batch["index"], name, strength))
    yield {**batch, "image": image}


@functools.partial(jax.jit, static_argnames=("name", "strength"))
def _on_device(
  images: UInt8[ArrayLike, "b H W 3"],
  index: Int[ArrayLike, " b"],
  name: str,
  strength: float,
) -> UInt8[Array, "b H W 3"]:
  """Corrupted images; noise depends on the position of an image alone."""
  x = jnp.asarray(images, jnp.float32)
  if name == "blur":
    x = corruptions.blurred(x, strength, math.ceil(4 * strength))
  elif name == "resize":
    x = corruptions.resized(x, strength)
  else:
    keys = parallel.example_keys(jax.random.key(0), index)
    x = corruptions.noised(x, keys, strength)
  return jnp.rint(jnp.clip(x, 0, 255)).astype(jnp.uint8)

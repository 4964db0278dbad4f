"""Whether an accelerator gives what the CPU gives, to stated tolerances.

Products of float32 are computed at full precision here. Rounding still differs:
of two patches that are equally near another one may be chosen, and a ReLU
switches. So of each array some numbers may be off, and how many is told.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness, pictures
from protojax.heat import maps
from protojax.modify import presets
from protojax.prototypes import pooling, push, similarity
from tests.common import runs

Arrays = dict[str, np.ndarray]

# By what is told of a stage: how far a number may be from its twin, as a share
# of the largest of its array; one of two whole numbers is off if they differ.
_TOLERANCES = {
  "first loss": 1e-4,
  "losses": 2e-2,
  "moments": 1e-2,
  "metrics": 1e-1,
  "": 1e-3,
}
# Of the numbers of an array, those that may be off; a loss may not.
_OFF = 0.05
_BF16 = 5e-2
_METRIC = similarity.load("log")


def compared(
  name: str, found: Mapping[str, Any], expected: Arrays
) -> Iterator[harness.Row]:
  """A row for each kind of number: the worst array, and whether it holds."""
  kinds: dict[str, list[tuple[float, float, str]]] = {}
  if found.keys() != expected.keys():
    raise ValueError(f"{name}: other arrays than on CPU")
  for key, array in expected.items():
    if key.endswith("provenance.embedder"):
      continue  # A digest, of all bits.
    array, other = np.asarray(array), np.asarray(found[key])
    kind = _kind(key)
    if kind == "losses":
      kinds.setdefault("first loss", []).append(
        (*_apart(other[:1], array[:1], _TOLERANCES["first loss"]), key)
      )
    kinds.setdefault(kind, []).append(
      (*_apart(other, array, _TOLERANCES[kind]), key)
    )
  for kind, arrays in sorted(kinds.items()):
    off, _, key = max(arrays)
    yield {
      "row": f"{name}, {kind or 'states and answers'}",
      "arrays": len(arrays),
      "worst": key,
      "off": round(off, 4),
      "largest difference": f"{max(x for _, x, _ in arrays):.1e}",
      "tolerance": _TOLERANCES[kind],
      "met": "yes" if off <= _OFF else "no",
    }


def _kind(key: str) -> str:
  if key.endswith(" losses"):
    return "losses"
  if " moments." in key:
    return "moments"
  return "metrics" if key.startswith("metrics.") else ""


def _apart(
  found: np.ndarray, expected: np.ndarray, tolerance: float
) -> tuple[float, float]:
  """Share of numbers that are off, and the largest difference."""
  if found.shape != expected.shape or not expected.size:
    return float(found.shape != expected.shape), 0.0
  if not np.issubdtype(expected.dtype, np.floating):
    off = found != expected
    return float(np.mean(off)), 0.0
  both = np.isfinite(expected)
  size = np.abs(expected[both]).max(initial=1e-3)
  difference = np.abs(found.astype(float) - expected) / size
  off = np.where(both, ~(difference <= tolerance), np.isfinite(found))
  return float(np.mean(off)), float(difference[both].max(initial=0))


def stages(name: str, folder: Path, begin: bool) -> Arrays:
  """What every stage of a method makes of the same state; see `runs.numbers`.

  Args:
    name: of the method; its smallest config, on embedded data.
    folder: where the states lie.
    begin: leave the states there.
  """
  found = runs.numbers(runs.load(name), folder, begin)
  return {key: np.asarray(array) for key, array in found.items()}


def told(name: str, found: Mapping[str, Any]) -> Iterator[harness.Row]:
  """The rows of a check that needs no CPU beside the device."""
  for what, (value, tolerance) in found.items():
    yield {
      "row": f"{name}, {what}",
      "found": float(f"{value:.3g}"),
      "tolerance": tolerance,
      "met": "yes" if value <= tolerance else "no",
    }


def kernel(quick: bool) -> dict[str, tuple[float, float]]:
  """The fused kernel beside XLA: cells, distances and gradients."""
  rng = np.random.default_rng(0)
  count = 500 if quick else 5000
  features = rng.random((3, 14, 14, 128), np.float32)
  prototypes = rng.random((count, 1, 1, 128), np.float32)

  def total(features: Any, prototypes: Any, kernel: str) -> tuple:
    near = pooling.nearest(features, prototypes, _METRIC, kernel=kernel)
    return jnp.sum(near.distances), near

  both = jax.jit(jax.grad(total, (0, 1), has_aux=True), static_argnums=2)
  slopes, near = both(features, prototypes, "xla")
  others, found = both(features, prototypes, "pallas")
  gradients = [_off(b, a) for a, b in zip(slopes, others, strict=True)]
  return {
    "cells that differ": (float(jnp.mean(found.cells != near.cells)), 1e-3),
    "distances": (_off(found.distances, near.distances), 1e-5),
    "gradients": (max(gradients), 1e-3),
  }


def _off(found: Any, expected: Any) -> float:
  """Norm of the difference by the norm."""
  found, expected = (np.asarray(x, np.float64) for x in (found, expected))
  return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def bf16(quick: bool) -> dict[str, tuple[float, float]]:
  """The backbone in bfloat16 beside float32, and scores that stay float32."""
  backbone = "resnet18" if quick else "resnet50"
  size = 64 if quick else 224
  images = pictures.random(8, size)
  exact, state = pictures.network(backbone, 200, size)
  half, _ = pictures.network(backbone, 200, size, "bfloat16")
  features = jax.jit(exact.embed)(state, images)
  rounded = jax.jit(half.embed)(state, images)
  expected, _ = jax.jit(exact.nearest)(state, features)
  found, _ = jax.jit(half.nearest)(state, rounded)
  return {
    "features": (_off(rounded, features), _BF16),
    "similarities": (_off(found, expected), _BF16),
    "similarities that are not float32": (
      float(found.dtype != jnp.float32),
      0.0,
    ),
  }


def pushed(quick: bool) -> Arrays:
  """Prototypes and the patches that they are taken from."""
  network, state, stream = _small(quick)
  vectors, provenance, _ = push.push(
    network.embedded_map, state, stream, network.similarity
  )
  return {
    "vectors": vectors,
    "image": provenance.image,
    "cell": provenance.cell,
  }


def explained(quick: bool) -> Arrays:
  """Global scores of all images, texture among them, and heat maps of one."""
  network, state, stream = _small(quick)
  preset = presets.load("contrast=0.45", "fast", "none")
  totals = pictures.explained(
    network,
    state,
    list(stream.batches()),
    preset if quick else presets.REFERENCE,
  )
  found = {
    name: getattr(totals.all, name)
    for name in ("importance", "relative", "distance", "similarity")
  }
  for heat in ("upsampling",) if quick else ("upsampling", "prp"):
    made = maps.HeatMaps(network, state, heat)
    image = stream.source[0]["image"]
    pixels = [picture for _, picture in made(image, [0, 1, 2])]
    # Bytes of colour: a step of the scale is no fault.
    found[heat] = np.asarray(pixels, np.float32)
  return found


def _small(quick: bool) -> tuple[Any, Any, Any]:
  size = 64 if quick else 128
  network, state = pictures.network("resnet18", 200, size)
  return network, state, pictures.stream(32 if quick else 128, size, 16)


# Name -> the check, and whether the CPU does the same.
CHECKS: dict[str, tuple[Callable[[bool], Any], bool]] = {
  "kernel": (kernel, False),
  "bf16": (bf16, False),
  "push": (pushed, True),
  "explanation": (explained, True),
}

"""What the method is judged by: pixels, confidence, pseudo-labels, latents."""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.diffusion import processes
from protojax.layers.sampling import nearest
from protojax.methods.noisy_pseudo_label_diffusion import trust
from protojax.methods.noisy_pseudo_label_diffusion.network import (
  PROCESS,
  Network,
)
from protojax.metrics import segmentation
from protojax.metrics import surfaces as surface_metrics
from protojax.metrics.surfaces import Agreement
from protojax.types import Array, Batch, Metrics, PyTree, State

_BINS = 15
# Times that latents are looked at, in thousandths.
TIMES = (100, 300, 500, 700, 900)


class Counts(NamedTuple):
  """Sums over a set.

  Attributes:
    pixels: by class and answer.
    gaps: right less confident, by bin of the confidence.
    disagreement: of the seeds, and the number of cells.
  """

  pixels: segmentation.Counts
  gaps: Float[np.ndarray, " n"]
  disagreement: Float[np.ndarray, "2"]


def counts(network: Network, state: State, data: Any) -> Counts:
  """The sums of a whole set."""
  total = segmentation.nothing(network.classes)
  gaps, apart = np.zeros(_BINS), np.zeros(2)
  step = functools.partial(_step, network)
  for batch, rows in parallel.each(step, state, data.batches()):
    valid = batch["valid"]
    some = segmentation.Counts(
      *(rows[name][valid] for name in segmentation.Counts._fields)
    )
    total = segmentation.added(total, some)
    gaps += rows["gaps"][valid].sum(axis=0, dtype=np.float64)
    apart += rows["disagreement"][valid].sum(axis=0, dtype=np.float64)
  return Counts(total, gaps, apart)


def _step(network: Network, state: State, batch: Batch) -> dict[str, Array]:
  """Counts of each image."""
  logits = network.seen(state, batch["image"]).logits
  p = network.pixels(logits, batch["mask"].shape[1:])
  answers, masks = jnp.argmax(p, axis=-1), jnp.asarray(batch["mask"])
  found = segmentation.count(answers, masks, network.classes)._asdict()
  apart = trust.disagreement(jax.nn.softmax(logits))
  each = jnp.sum(apart, axis=(1, 2))
  cells = jnp.full_like(each, apart.shape[1] * apart.shape[2])
  known = masks < network.classes
  confident = jnp.max(p, axis=-1)
  gap = jnp.where(known, (answers == masks) - confident, 0.0)
  place = jnp.clip(jnp.ceil(confident * _BINS).astype(jnp.int32) - 1, 0)
  bins = jax.nn.one_hot(place, _BINS)
  return {
    **found,
    "gaps": jnp.einsum("bhw,bhwn->bn", gap, bins),
    "disagreement": jnp.stack([each, cells], axis=1),
  }


def scores(found: Counts) -> Metrics:
  """Metrics of a set: those of pixels, "dice", "ece" and "disagreement"."""
  pairs = np.asarray(found.pixels.pairs)
  total, apart = pairs.sum(), found.disagreement
  return {
    **segmentation.scores(found.pixels),
    "dice": float(np.nanmean(dice(pairs))),
    "ece": float(np.abs(found.gaps).sum() / max(total, 1)),
    "disagreement": float(apart[0] / max(apart[1], 1)),
  }


def dice(pairs: Int[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
  """Dice of each class over all pixels; nan where it is in no pixel."""
  iou = segmentation.iou(pairs)
  return 2 * iou / (1 + iou)


def of_classes(
  names: tuple[str, ...], found: Counts
) -> list[dict[str, PyTree]]:
  """Name, IoU, Dice and pixels of each class, for a summary."""
  pairs = np.asarray(found.pixels.pairs)
  iou = segmentation.iou(pairs)
  return [
    {
      "class": name,
      "iou": _number(iou[k]),
      "dice": _number(dice(pairs)[k]),
      "pixels": int(pairs[k].sum()),
    }
    for k, name in enumerate(names)
  ]


def _number(value: float) -> float | None:
  return None if np.isnan(value) else float(value)


def surfaces(
  network: Network, state: State, data: Any
) -> Mapping[str, float | None]:
  """How far edges lie from where they should be, in pixels of the network.

  Returns:
    "surface_pixels" and "hd95_pixels", means over the classes of each image
    that are said and there, see `metrics.surfaces`; "missed", the share of the
    classes of images that are only one of the two.
  """
  found = []
  for batch, said in parallel.each(
    functools.partial(_classes, network), state, data.batches()
  ):
    for i in np.flatnonzero(batch["valid"]):
      found += distances(said[i], batch["mask"][i], network.classes)
  both = [x for x in found if not x.missed]
  return {
    "surface_pixels": _mean([x.surface for x in both]),
    "hd95_pixels": _mean([x.hd95 for x in both]),
    "missed": _mean([float(x.missed) for x in found]),
  }


def distances(
  said: Int[np.ndarray, "H W"], truth: Int[np.ndarray, "H W"], classes: int
) -> list[Agreement]:
  """The agreement about each class of an image that is said or there.

  Args:
    said: the answer.
    truth: k and above is not known, and counts for neither.
    classes: k.
  """
  said = np.where(truth < classes, said, truth)
  return [
    surface_metrics.agreement(
      (said == k)[..., None], (truth == k)[..., None], (1.0, 1.0, 1.0)
    )
    for k in range(classes)
    if (said == k).any() or (truth == k).any()
  ]


def _classes(network: Network, state: State, batch: Batch) -> Array:
  return network.answers(state, batch)["classes"]


def _mean(values: list[float]) -> float | None:
  return float(np.mean(values)) if values else None


def pseudo(
  network: Network, rule: trust.Rule, state: State, data: Any, rows: Any
) -> Mapping[str, float | None]:
  """How good pseudo-labels of the unlabelled images would be.

  Their masks are read here, to measure, and nowhere in training.

  Args:
    network: of the state.
    rule: of trust.
    state: of the method.
    data: the training images in order.
    rows: positions of the unlabelled ones.

  Returns:
    "accuracy" of all cells, "coverage" (share with any trust), and
    "trusted_accuracy" of those; None where no cell counts.
  """
  total = np.zeros(4)
  step = functools.partial(_believed, network, rule)
  for batch, found in parallel.each(step, state, data.some(rows)):
    total += found[batch["valid"]].sum(axis=0, dtype=np.float64)
  cells, right, trusted, both = total
  return {
    "accuracy": float(right / cells) if cells else None,
    "coverage": float(trusted / cells) if cells else None,
    "trusted_accuracy": float(both / trusted) if trusted else None,
  }


def _believed(
  network: Network, rule: trust.Rule, state: State, batch: Batch
) -> Float[Array, "b 4"]:
  """Of each image: cells of a known class, right, trusted, and both."""
  found = network.seen(state, batch["image"])
  p = jax.nn.softmax(found.logits)
  said = jnp.argmax(jnp.mean(p, axis=0), axis=-1)
  vectors = state.memory["prototypes"].vectors
  weights = trust.weights(rule, p, network.scores(found.vectors, vectors), said)
  truth = nearest(jnp.asarray(batch["mask"]), *said.shape[1:])
  known = truth < network.classes
  right, trusted = known & (said == truth), known & (weights > 0)
  return jnp.stack(
    [
      jnp.sum(x, axis=(1, 2), dtype=jnp.float32)
      for x in (known, right, trusted, right & trusted)
    ],
    axis=1,
  )


def margins(
  network: Network, state: State, data: Any
) -> dict[str, float | None]:
  """Cosine to the own prototype less the best other, by time of the noise.

  The true labels of the images are made noisy, as in training.
  """
  total = np.zeros((len(TIMES), 2))
  step = functools.partial(_margins, network)
  for batch, found in parallel.each(step, state, data.batches()):
    total += found[batch["valid"]].sum(axis=0, dtype=np.float64)
  return {
    f"t{time}": float(part / count) if count else None
    for time, (part, count) in zip(TIMES, total, strict=True)
  }


def _margins(
  network: Network, state: State, batch: Batch
) -> Float[Array, "b t 2"]:
  """Of each image and time: the sum over cells, and their number."""
  features, _ = network.features(state.params, state.statistics, batch["image"])
  labels = nearest(jnp.asarray(batch["mask"]), *features.shape[1:3])
  known = labels < network.classes
  latents = network.latents(state.params, labels)
  noise = network.noise(len(features))[0]
  own = jax.nn.one_hot(labels, network.classes, dtype=bool)
  prototypes = state.memory["prototypes"].vectors
  found = []
  for time in TIMES:
    t = jnp.full(len(features), time, jnp.float32)
    z = processes.noisy(PROCESS, processes.Estimate(latents, noise), t)
    vectors = network.read(state.params, features, z, t).vectors
    cosines = network.temperature * network.scores(vectors, prototypes)
    best = jnp.max(jnp.where(own, -jnp.inf, cosines), axis=-1)
    margin = jnp.sum(jnp.where(own, cosines, 0.0), axis=-1) - best
    sums = [jnp.where(known, margin, 0.0), known.astype(jnp.float32)]
    found.append(jnp.stack([jnp.sum(x, axis=(1, 2)) for x in sums], axis=1))
  return jnp.stack(found, axis=1)

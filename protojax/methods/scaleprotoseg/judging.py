"""What ScaleProtoSeg is judged by: classes of pixels, and its prototypes."""

from collections.abc import Iterator, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int
import numpy as np

from protojax import parallel
from protojax.layers.sampling import nearest
from protojax.methods.scaleprotoseg import grouping, losses
from protojax.methods.scaleprotoseg.network import Network
from protojax.metrics import segmentation
from protojax.metrics.segmentation import Counts
from protojax.types import Array, Batch, Metrics, PyTree, State

# A smaller weight of a group counts as none, as in the authors' code.
USED = 0.05
# Of an image's cells, those that a prototype is most similar to.
_TOP = 0.05


def measure(network: Network, state: State, data: Any) -> Metrics:
  """Metrics of pixels, and "overlap": how alike the maps of prototypes are.

  Overlap is the mean of exp(-D) over pairs of prototypes of a class and scale;
  see `losses.diversity`.
  """
  total = segmentation.nothing(len(network.class_names))
  overlap = np.zeros(2)
  for counts, shared in _counted(network, state, data):
    total = segmentation.added(total, counts)
    overlap += shared
  found = dict(segmentation.scores(total))
  if overlap[1]:
    found["overlap"] = float(overlap[0] / overlap[1])
  return found


def counts(network: Network, state: State, data: Any) -> Counts:
  """Pixels by class and answer of a whole set."""
  total = segmentation.nothing(len(network.class_names))
  for some, _ in _counted(network, state, data):
    total = segmentation.added(total, some)
  return total


def _counted(
  network: Network, state: State, data: Any
) -> Iterator[tuple[Counts, np.ndarray]]:
  step = functools.partial(_step, network)
  for batch, rows in parallel.each(step, state, data.batches()):
    valid = batch["valid"]
    some = Counts(*(rows[name][valid] for name in Counts._fields))
    yield some, rows["overlap"][valid].sum(axis=0, dtype=np.float64)


def _step(network: Network, state: State, batch: Batch) -> dict[str, Array]:
  """Counts of each image, and the sum and number of its overlaps."""
  features = network.embed(state, batch["image"])
  answers = network.classes(state, features, batch["mask"].shape[1:])
  classes = len(network.class_names)
  found = segmentation.count(answers, batch["mask"], classes)._asdict()
  if not network.per_class:
    return {**found, "overlap": jnp.zeros((len(answers), 2))}
  distances = network.distances(state.params, features)
  b, h, w = distances.shape[:3]
  labels = nearest(jnp.asarray(batch["mask"]), h, w).reshape(b, 1, h * w)
  alive = network.alive(state)
  each = jax.vmap(lambda d, y: jnp.stack(losses.diversity(d, y, alive)))
  flat = distances.reshape(b, 1, h * w, *distances.shape[3:])
  return {**found, "overlap": each(flat, labels)}


def shared_tops(network: Network, state: State, data: Any) -> Metrics:
  """ "shared_tops": whether prototypes of a class look at the same places.

  Mean IoU of the cells that two prototypes are most similar to, 5 % of an image
  that shows their class; over pairs of one class and different scales, or, of a
  single scale, over all pairs of one class. Nothing if there is no pair.
  """
  total = np.zeros(2)
  step = functools.partial(_tops, network)
  for batch, found in parallel.each(step, state, data.batches()):
    total += found[batch["valid"]].sum(axis=0, dtype=np.float64)
  return {"shared_tops": float(total[0] / total[1])} if total[1] else {}


def _tops(network: Network, state: State, batch: Batch) -> Array:
  """Sum of the IoUs of pairs in each image, and their number, [b 2]."""
  rows = network.rows(state, batch)
  seen = network.see(state.params, state, rows["features"])
  s, k, m = network.shape
  n = seen.activations.shape[1] * seen.activations.shape[2]
  values = jnp.moveaxis(seen.activations, 4, 3).reshape(-1, n, k, s * m)
  count = max(1, round(_TOP * n))
  turned = jnp.moveaxis(values, 1, -1)
  # Cells as similar as the last one of the 5 % are in, too.
  least = jax.lax.top_k(turned, count)[0][..., -1:]
  inside = (turned >= least).astype(jnp.float32)
  both = jnp.einsum("bkin,bkjn->bkij", inside, inside)
  own = jnp.sum(inside, axis=-1)
  either = own[..., :, None] + own[..., None, :] - both
  alive = grouping.by_class(network.alive(state))
  scale = jnp.repeat(jnp.arange(s), m)
  pairs = jnp.triu(jnp.ones((s * m, s * m), bool), 1)
  if s > 1:
    pairs &= scale[:, None] != scale[None]
  pairs = pairs[None] & alive[:, :, None] & alive[:, None]
  cells = rows["cells"].reshape(-1, n, 1) == jnp.arange(k)[None, None]
  counted = jnp.any(cells, axis=1)[..., None, None] & pairs[None]
  each = jnp.where(counted, both / either, 0)
  return jnp.stack([each.sum((1, 2, 3)), counted.sum((1, 2, 3))], axis=-1)


def cells(network: Network, state: State, data: Any) -> np.ndarray:
  """The class of each cell of the map of each image."""
  step = functools.partial(_classes, network)
  return np.concatenate(
    [
      found[batch["valid"]]
      for batch, found in parallel.each(step, state, data.batches())
    ]
  )


def _classes(network: Network, state: State, batch: Batch) -> Array:
  rows = batch if "features" in batch else network.rows(state, batch)
  return jnp.argmax(network.logits(state, rows["features"]), axis=-1)


def of_prototypes(network: Network, state: State) -> Mapping[str, Any]:
  """How many prototypes there are, and how many the answers rest on."""
  bank = network.bank(state)
  alive, class_of = np.asarray(bank.alive), np.asarray(bank.class_of)
  rests_on = used(network, state)
  found: dict[str, Any] = {"prototypes": len(alive), "alive": int(alive.sum())}
  if network.groups and bool(state.buffers["grouped"]):
    weights = group_weights(network, state)
    large = weights >= USED
    s, k, m = network.shape
    some = alive.reshape(s, k, m).any(axis=(0, 2))
    members = large[some].sum(axis=-1)
    found["prototypes_per_group"] = float(members.mean()) if some.any() else 0.0
  counted = np.bincount(class_of[rests_on], minlength=len(network.class_names))
  return {
    **found,
    "used": int(rests_on.sum()),
    "used_per_class": float(counted.mean()),
  }


def used(network: Network, state: State) -> Bool[np.ndarray, " p"]:
  """Prototypes with a weight that counts in a group; without groups, alive."""
  alive = np.asarray(jax.device_get(network.bank(state).alive))
  if not (network.groups and bool(state.buffers["grouped"])):
    return alive
  s, k, m = network.shape
  large = (group_weights(network, state) >= USED).any(axis=1)
  return large.reshape(k, s, m).swapaxes(0, 1).reshape(-1)


def group_weights(network: Network, state: State) -> np.ndarray:
  """Weights [k g n] of the prototypes in the groups; n is s m."""
  return np.asarray(jax.device_get(state.params["head"]["weights"]))


def of_classes(network: Network, found: Counts) -> list[PyTree]:
  """Name, IoU and pixels of each class, for a summary."""
  pixels = found.pairs.sum(axis=1)
  return [
    {
      "class": name,
      "iou": None if np.isnan(value) else float(value),
      "pixels": int(count),
    }
    for name, value, count in zip(
      network.class_names, segmentation.iou(found.pairs), pixels, strict=True
    )
  ]


def pixels(classes: int, data: Any) -> Int[np.ndarray, " k"]:
  """How many pixels of each class the images of a stream have."""
  total = np.zeros(classes, np.int64)
  step = functools.partial(_of_classes, classes)
  for batch, found in parallel.each(step, {}, data.batches()):
    total += found[batch["valid"]].sum(axis=0, dtype=np.int64)
  return total


def _of_classes(count: int, state: PyTree, batch: Batch) -> Array:
  """Pixels of each class in each image."""
  del state
  known = jax.vmap(lambda k: jnp.sum(batch["mask"] == k, axis=(1, 2)))
  return known(jnp.arange(count)).T

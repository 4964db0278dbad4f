"""Push: replaces every prototype by its nearest training patch.

One sweep over the un-augmented training images (ProtoPNet, section 2.2, stage
2). Each device finds its nearest patch for each prototype; the host joins the
devices at the end. After it a prototype can be shown as the piece of an image
that its `Provenance` names, as long as the embedder does not change.
"""

from collections.abc import Callable
import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax import parallel
from protojax.data import images as images_lib
from protojax.prototypes import distance
from protojax.prototypes.bank import (
  DIGEST_BYTES,
  Provenance,
  bank_of,
  with_vectors,
)
from protojax.prototypes.placement import LOCAL, Local, Sharded
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, Batch, PyTree, State

Embed = Callable[[State, Batch], jax.Array]

_NO_IMAGE = np.iinfo(np.int32).max
_READ_AT_ONCE = 64
# Most pairs of image and prototype that are compared at a time: enough for a
# batch and the prototypes of its classes. With more pairs a batch goes image by
# image.
_PAIRS = 2**15


def push(
  embed: Embed,
  state: State,
  stream: Any,
  similarity: Similarity,
  own_class: bool = True,
  placement: Local | Sharded = LOCAL,
) -> tuple[Float[np.ndarray, "p h1 w1 d"], Provenance, dict[str, int | float]]:
  """Projects the prototypes onto training patches.

  p_j <- the patch z with the smallest distance to p_j among all cells of all
  images of class c(j) (ProtoPNet, eq. 3). Of equally near patches the one of
  the image with the smallest index is taken, then the first in row-major
  order. Pushing again changes nothing.

  Args:
    embed: (state, batch) -> features b h w d, those that the prototypes are
      compared with.
    state: its bank is read here, the rest by `embed`.
    stream: `batches()` of all images, without augmentation, and
      `examples(indices)`.
    similarity: its metric is what "nearest" means.
    own_class: take patches from images of the prototype's own class only;
      False allows any image.
    placement: local: each device finds patches for all prototypes among its
      own images; sharded: for its own prototypes among all images.

  Returns:
    The new prototypes, their provenance, and metrics: "pushed",
    "without_image" (alive, but without an image to take a patch from; they do
    not change), "duplicates", "moved_mean" and "moved_max" (distances). Value
    and provenance of dead prototypes do not change.
  """
  bank = parallel.to_host(bank_of(state))
  old, alive = bank.vectors, bank.alive
  groups = bank.class_of if own_class else np.zeros_like(bank.class_of)
  stacked = parallel.fold(
    functools.partial(_step, embed, similarity, own_class, placement),
    {"state": state, "of_class": by_class(groups, alive, placement.shards)},
    nothing(old),
    stream.batches(),
    {**placement.sharding, "of_class": 0} if placement.sharding else {},
  )
  return taken(stacked, state, stream)


def taken(
  stacked: PyTree, state: State, stream: Any
) -> tuple[Float[np.ndarray, "p h1 w1 d"], Provenance, dict[str, int | float]]:
  """Prototypes, provenance and metrics of the nearest patches; see `push`.

  Args:
    stacked: a tree as `nothing` gives it, of each device.
    state: before the push.
    stream: as of `push`.
  """
  bank = parallel.to_host(bank_of(state))
  old, alive = bank.vectors, bank.alive
  best = _join(stacked)
  found = np.isfinite(best["distance"])
  patches = best["patch"].reshape(old.shape)
  new = np.where(_over_rows(found, old), patches, old)

  params = with_vectors(state, new).params
  provenance = Provenance(
    image=np.where(found, best["image"], -1).astype(np.int32),
    cell=np.where(found, best["cell"], 0).astype(np.int32),
    distance=np.where(found, best["distance"], np.inf).astype(np.float32),
    content=contents(stream, np.where(found, best["image"], -1)),
    embedder=embedder_digest(params, state.statistics, state.assets),
  )
  provenance = _with_dead(provenance, bank.provenance, alive)
  moved = best["distance"][found]
  metrics = {
    "pushed": int(found.sum()),
    "without_image": int((alive & ~found).sum()),
    "duplicates": duplicates(provenance, alive),
    "moved_mean": float(moved.mean()) if len(moved) else 0.0,
    "moved_max": float(moved.max()) if len(moved) else 0.0,
  }
  return new, provenance, metrics


def by_class(
  class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"], shards: int = 1
) -> Int[np.ndarray, "k m"]:
  """The living prototypes of each class; p where a class has fewer than m.

  Of a sharded bank: rows of all classes for each shard, the first shard first.
  Prototypes are then numbered within their shard, and p is its size.
  """
  class_of, living = np.asarray(class_of), np.flatnonzero(alive)
  size, classes = len(class_of) // shards, class_of.max() + 1
  rows = living // size * classes + class_of[living]
  counts = np.bincount(rows, minlength=shards * classes)
  most = counts.max()
  of_class = np.full((len(counts), most), size, np.int32)
  by_row = living[np.argsort(rows, kind="stable")]
  of_class[np.arange(most)[None] < counts[:, None]] = by_row % size
  return of_class


def contents(
  stream: Any, images: Int[np.ndarray, " p"]
) -> UInt8[np.ndarray, "p bytes"]:
  """Digests of images at network size; each is read once, a few at a time.

  Args:
    stream: has `examples(indices)`.
    images: positions in its source; the digest of -1 is zeros.
  """
  digests = np.zeros((len(images), DIGEST_BYTES), np.uint8)
  taken = np.unique(images[images >= 0])
  for start in range(0, len(taken), _READ_AT_ONCE):
    some = taken[start : start + _READ_AT_ONCE]
    for index, image in zip(some, stream.examples(some)["image"], strict=True):
      digests[images == index] = images_lib.digest(image)
  return digests


def duplicates(provenance: Provenance, alive: Bool[ArrayLike, " p"]) -> int:
  """Number of living prototypes that have the patch of an earlier living one.

  An image has one class, so after a push by class both are of that class.
  """
  taken = np.asarray(alive) & (np.asarray(provenance.image) >= 0)
  places = np.stack([provenance.image, provenance.cell], axis=1)[taken]
  return len(places) - len(np.unique(places, axis=0))


def counts(state: State) -> dict[str, int]:
  """Numbers of "prototypes", of those "alive", and of "duplicates"."""
  bank = bank_of(state)
  alive = np.asarray(bank.alive)
  return {
    "prototypes": len(alive),
    "alive": int(alive.sum()),
    "duplicates": duplicates(bank.provenance, alive),
  }


def stale(state: State) -> bool:
  """Whether prototypes are no longer the patches they were pushed to.

  They are stale once a prototype, or anything that embeds images, changes.
  """
  digest = embedder_digest(state.params, state.statistics, state.assets)
  pushed = bank_of(state).provenance.embedder
  return not np.array_equal(np.asarray(pushed), digest)


def embedder_digest(
  params: PyTree, statistics: PyTree, assets: PyTree = None
) -> UInt8[np.ndarray, " bytes"]:
  """16 bytes that identify all that features and prototypes depend on.

  That is all groups of parameters but the head, the statistics, and the assets,
  by name, type and bits. So training of the last layer leaves a push valid.
  """
  groups = {name: group for name, group in params.items() if name != "head"}
  digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
  leaves, _ = jax.tree_util.tree_flatten_with_path(
    parallel.to_host((groups, statistics, assets))
  )
  for path, leaf in leaves:
    leaf = np.ascontiguousarray(leaf)
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
    digest.update(leaf.tobytes())
  return np.frombuffer(digest.digest(), np.uint8)


def nothing(prototypes: Float[np.ndarray, "p h1 w1 d"]) -> PyTree:
  """The nearest patches to each prototype before any image: none.

  Returns:
    "distance" and "image" [p], which is the largest of int32, "cell" [p] and
    "patch" [p, h1 w1 d].
  """
  count = len(prototypes)
  return {
    "distance": np.full(count, np.inf, np.float32),
    "image": np.full(count, _NO_IMAGE, np.int32),
    "cell": np.zeros(count, np.int32),
    "patch": np.zeros((count, prototypes[0].size), np.float32),
  }


def _step(
  embed,
  similarity,
  own_class,
  placement,
  given: PyTree,
  carry: PyTree,
  batch: Batch,
) -> PyTree:
  """The nearest patches so far, updated with a batch."""
  state, of_class = given["state"], given["of_class"]
  prototypes = bank_of(state).vectors
  flat = prototypes.reshape(len(prototypes), -1)
  windows = distance.patches(embed(state, batch), *prototypes.shape[1:3])
  windows = windows.reshape(len(windows), -1, windows.shape[-1])
  names = {key: batch[key] for key in ("index", "label", "valid")}
  windows, batch = placement.meet((windows, names))
  label = batch["label"] if own_class else jnp.zeros_like(batch["label"])
  known = batch["valid"] & (label >= 0) & (label < len(of_class))
  chosen = jnp.where(known[:, None], of_class[label], len(flat))

  def take(
    carry: PyTree, images: tuple[jax.Array, jax.Array, jax.Array]
  ) -> tuple[PyTree, None]:
    return _nearer(carry, images, flat, similarity), None

  some = len(label) if chosen.size <= _PAIRS else 1
  images = jax.tree.map(
    lambda x: x.reshape(-1, some, *x.shape[1:]),
    (windows, batch["index"], chosen),
  )
  carry, _ = jax.lax.scan(take, carry, images)
  return carry


def _nearer(carry, images, flat, similarity):
  """The nearest patches so far, updated with a few images.

  Ties: of equally near patches the one of the image with the lowest index is
  taken, and within an image the first in row-major order. `_join` keeps to the
  same rule.

  Args:
    carry: the nearest patches so far.
    images: windows [b, c, e], positions in the source [b], and the prototypes
      that each is compared with [b, m]; p stands for none.
    flat: prototypes [p, e].
    similarity: its `paired` distances.
  """
  windows, index, chosen = images
  # From differences, not by the matmul of the forward path, which rounds: equal
  # patches have equal distances, and a pushed prototype has distance 0 to its
  # patch, so that a second push changes nothing.
  compared = flat.at[chosen].get(mode="clip")
  distances = similarity.paired(windows[:, :, None], compared[:, None])
  cells = jnp.argmin(distances, axis=1)
  distances = jnp.min(distances, axis=1)
  # A distance of nan is never the smallest.
  usable = (chosen < len(flat)) & jnp.isfinite(distances)
  distances = jnp.where(usable, distances, jnp.inf)
  smallest = carry["distance"].at[chosen].min(distances, mode="drop")
  tied = usable & (distances == smallest.at[chosen].get(mode="clip"))
  # Of equally near images the first.
  among = jnp.where(tied, index[:, None], _NO_IMAGE)
  before = jnp.where(carry["distance"] == smallest, carry["image"], _NO_IMAGE)
  first = before.at[chosen].min(among, mode="drop")
  wins = tied & (among == first.at[chosen].get(mode="clip"))
  won = jnp.where(wins, chosen, len(flat))
  patches = jnp.take_along_axis(windows, cells[..., None], axis=1)
  return {
    "distance": smallest,
    "image": first,
    "cell": carry["cell"].at[won].set(cells.astype(jnp.int32), mode="drop"),
    "patch": carry["patch"].at[won].set(patches, mode="drop"),
  }


def _over_rows(chosen, values):
  """Flags [p] with axes of size 1 added, to the rank of `values` [p, ...]."""
  return chosen.reshape(-1, *[1] * (values.ndim - 1))


def _join(stacked):
  """The best over all devices: smallest distance, then lowest image index."""
  order = np.lexsort((stacked["image"], stacked["distance"]), axis=0)
  columns = np.arange(order.shape[1])
  return {name: values[order[0], columns] for name, values in stacked.items()}


def _with_dead(provenance, previous, alive):
  """The provenance, with the previous one for dead prototypes."""
  if previous is None:
    return provenance

  def choose(new, old):
    return np.where(_over_rows(alive, new), new, old)

  return provenance.replace(
    image=choose(provenance.image, previous.image),
    cell=choose(provenance.cell, previous.cell),
    distance=choose(provenance.distance, previous.distance),
    content=choose(provenance.content, previous.content),
  )

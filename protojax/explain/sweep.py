"""One sweep over a stream: local scores of its batches, and the global ones.

Takes `importance` to all devices. The rows of a batch hold the most similar
prototypes of each image only; the global scores need no rows at all.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax import parallel
from protojax.explain.importance import Local, importance
from protojax.explain.presets import Preset
from protojax.explain.totals import Scores, Sums
from protojax.prototypes import head
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, Batch, PyTree, State


@runtime_checkable
class Scored(Protocol):
  """A model whose similarities can be explained; hashable.

  Its `State` holds buffers "class_of" and "alive" of its p prototypes, and
  params["prototypes"]["prototypes"] of shape [p, h1, w1, d].
  """

  @property
  def similarity(self) -> Similarity:
    """What likeness means."""
    ...

  def embed(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[jax.Array, "b h w d"]:
    """Features, which the prototypes are compared with."""
    ...

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[jax.Array, "b p"], Int[jax.Array, "b p"]]:
    """Similarity to the nearest cell, and that cell (row-major)."""
    ...

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    cells: Int[ArrayLike, "b p"],
  ) -> Float[jax.Array, "b p"]:
    """Similarity at given cells."""
    ...

  def weights(self, state: State) -> Float[jax.Array, "k p"]:
    """Weights of the head; columns of dead prototypes are 0."""
    ...


class Rows(NamedTuple):
  """One batch of local scores, its padding cut off.

  With several processes: of the whole batch, in every process.

  Attributes:
    index: positions of the images in their source.
    label: their classes, -1 where unknown.
    logits: of the unchanged images.
    prototypes: the most similar prototypes alive, the most similar first; -1
      where fewer are alive.
    similarity, cell, delta: of those prototypes.
    whole: similarity, cell and delta of all prototypes, if they were asked
      for.
  """

  index: Int[np.ndarray, " b"]
  label: Int[np.ndarray, " b"]
  logits: Float[np.ndarray, "b k"]
  prototypes: Int[np.ndarray, "b t"]
  similarity: Float[np.ndarray, "b t"]
  cell: Int[np.ndarray, "b t"]
  delta: Float[np.ndarray, "b m t"]
  whole: Local | None


class Totals(NamedTuple):
  """Global scores at the end of a sweep.

  Attributes:
    all: over every image.
    others: every prototype's own source image left out; there the distance is
      0, where the log similarity is steepest, so that one image has the
      largest weight and the largest drop.
  """

  all: Scores
  others: Scores


def sweep(
  model: Scored,
  state: State,
  batches: Iterable[Batch],
  preset: Preset,
  *,
  source: Int[ArrayLike, " p"],
  top: int = 10,
  keep_all: bool = False,
) -> Iterator[Rows | Totals]:
  """Local and global scores in one pass, one compiled step per batch.

  Args:
    model: see `Scored`.
    state: its state.
    batches: all of one shape, the last one padded and masked.
    preset: what to modify, and how to score it.
    source: index, among the images of these batches, of the one each
      prototype was pushed to; -1 for none.
    top: how many prototypes of each image come back to the host.
    keep_all: bring back all of them.

  Yields:
    The rows of every batch, and at the end the totals.
  """
  step = _step(model, preset, top, keep_all)
  everything, others = None, None
  run = parallel.Sweep(step, (state, jnp.asarray(source)), ())
  for _, found in run.rows(batches):
    # In float64, so that neither the order nor the number of devices tells.
    for part in range(len(found["all"].images)):
      everything = _add(everything, found["all"], part)
      others = _add(others, found["others"], part)
    yield _cut(found)
  if everything is not None and others is not None:
    yield Totals(everything.scores(), others.scores())


@functools.lru_cache(maxsize=16)
def _step(
  model: Scored, preset: Preset, top: int, keep_all: bool
) -> Callable[..., tuple[PyTree, PyTree]]:
  """One function per setting, so that the second split compiles nothing."""

  def step(states: PyTree, carry: PyTree, batch: Batch):
    state, source = states
    local = importance(
      functools.partial(model.nearest, state),
      functools.partial(model.at, state),
      batch["image"],
      preset.modifications,
      functools.partial(model.embed, state),
      preset.own_cell,
    )
    length = state.params["prototypes"]["prototypes"][0].size
    weight = jnp.ones_like(local.similarity)
    if preset.weighted:
      weight = model.similarity.weight(local.similarity, length)
    own = batch["index"][:, None] == source[None]
    rows = {
      "all": Sums.of(local, weight, batch["mask"]),
      "others": Sums.of(local, jnp.where(own, 0.0, weight), batch["mask"]),
    }
    rows = jax.tree.map(lambda x: x[None], rows)
    alive = state.buffers["alive"]
    for name in ("index", "label", "mask"):
      rows[name] = batch[name]
    rows["logits"] = head.logits(local.similarity, model.weights(state), alive)
    rows["prototypes"], rows["top"] = _most_similar(local, alive, top)
    if keep_all:
      rows["whole"] = local
    return carry, rows

  return step


def _most_similar(local, alive, top):
  ranked = jnp.where(alive[None], local.similarity, -jnp.inf)
  ranked, chosen = jax.lax.top_k(ranked, min(top, ranked.shape[1]))
  rows = Local(
    jnp.take_along_axis(local.similarity, chosen, axis=1),
    jnp.take_along_axis(local.cell, chosen, axis=1),
    jnp.take_along_axis(local.delta, chosen[:, None], axis=2),
  )
  return jnp.where(jnp.isneginf(ranked), -1, chosen), rows


def _add(total: Sums | None, parts: Sums, part: int) -> Sums:
  one = Sums(*(np.asarray(x[part], np.float64) for x in parts))
  return one if total is None else Sums(*map(np.add, total, one))


def _cut(found: PyTree) -> Rows:
  kept = found["mask"].astype(bool)
  names = ("index", "label", "logits", "prototypes")
  index, label, logits, prototypes = (found[name][kept] for name in names)
  similarity, cell, delta = (x[kept] for x in found["top"])
  whole = found.get("whole")
  if whole is not None:
    whole = Local(*(x[kept] for x in whole))
  return Rows(index, label, logits, prototypes, similarity, cell, delta, whole)

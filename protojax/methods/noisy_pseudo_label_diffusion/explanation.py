"""Explains the classes of cells by their prototypes, along the diffusion.

A cell's class is right for a reason that can be looked at: its denoised latent
lies near the prototype of the class, and far from the others. The report shows
where that holds, how it comes about from step to step, and where the seeds do
not agree.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.data.source import origin
from protojax.explain import blocks, in_blocks, volume_answers
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.noisy_pseudo_label_diffusion import (
  anchors,
  cell_evidence,
  trust,
)
from protojax.methods.noisy_pseudo_label_diffusion.network import Network, Read
from protojax.modify.presets import Preset
from protojax.types import Array, ArrayLike, Batch, State

# Images that are explained, if no limit is asked for.
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `segments` and `explains` of the method.

  Attributes:
    method: gives the network, and streams.
  """

  method: Any

  report: ClassVar[str] = "block_report"

  @property
  def scopes(self) -> tuple[str, ...]:
    """Images, and the class prototypes over the labelled images."""
    return in_blocks.BOTH

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel."""
    return self.method.network.class_names

  @property
  def network(self) -> None:
    """None: a prototype is a mean, and no patch of an image."""

  def stale(self, state: State) -> bool:
    """Never: nothing is pushed."""
    del state
    return False

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[blocks.Explanation]:
    """Images, evenly chosen; then prototypes, and an overview of both.

    Args:
      state: of the method.
      data: the images, in the order of their source.
      request: "heat" and "allow_changed" have no effect.
    """
    network: Network = self.method.network
    count = min(in_blocks.limit(request, _SHOWN), len(data))
    step = functools.partial(explained, network, request.preset)
    gathered = cell_evidence.Gathered(network, request)
    batches = in_blocks.images(data, request, count)
    for example, row in in_blocks.swept(step, state, batches, request):
      index = int(example["index"])
      gathered.add(row)
      if request.scope != "global":
        yield cell_evidence.image(network, data, request, index, row)
    if request.scope != "local":
      vectors = np.asarray(state.memory["prototypes"].vectors)
      train = self.method.stream("train")
      rows = self.method.rows.labelled
      best = closest(network, state, train, rows)
      yield from cell_evidence.prototypes(network, train, request, best)
      more = of_volumes(network, state, data)
      yield gathered.overview(vectors, more)


def of_volumes(
  network: Network, state: State, data: Any
) -> Iterator[blocks.Block]:
  """Dice and distances of the structures of volumes, if there are any."""
  if note := getattr(origin(data.source)[0], "note", ""):
    yield blocks.Note(note)
  if "mask" not in data.layout():
    return
  names = network.class_names
  if found := volume_answers.scores(network.answers, names, state, data):
    yield volume_answers.table(found)


def explained(
  network: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of a batch, by name; a row for each image.

  Args:
    network: of the state.
    preset: what is modified, and how it is scored.
    state: of the network.
    batch: images; with their copies, if the preset wants them.

  Returns:
    "grey" [b], whether an image has no colour; "classes" [b H W]; of cells
    "near" [b h w], the nearest prototype, "margin" [b h w], its cosine less
    the second best, and "disagreement" [b h w]; by step of the sampler "own"
    [b t k], the mean cosine to prototype c of the cells that end as class c,
    nan without any, and "settled" [b t], the share of cells that say already
    what they end as; "similarity" [b k], the cosine of the cell that is most
    similar to each prototype, and "delta" [b m k], what it loses by each
    modification.
  """
  images = jnp.asarray(batch["image"])
  found = network.seen(state, images, whole=True)
  vectors = state.memory["prototypes"].vectors
  last = Read(*(x[-1] for x in found))
  p = jnp.mean(jax.nn.softmax(found.logits), axis=1)
  said = jnp.argmax(p, axis=-1)
  means = anchors.unit(jnp.mean(found.vectors, axis=1))
  cosines = network.temperature * network.scores(means, vectors)
  best, near = jax.lax.top_k(cosines[-1], 2)
  of_class = jax.nn.one_hot(said[-1], network.classes)
  sums = jnp.einsum("bhwk,tbhwk->btk", of_class, cosines)
  counts = jnp.sum(of_class, axis=(1, 2))[:, None]
  own = jnp.where(counts > 0, sums / jnp.maximum(counts, 1), jnp.nan)
  settled = jnp.mean(said == said[-1:], axis=(2, 3), dtype=jnp.float32)
  nearest, at, embed = _comparing(network, state)
  local, _ = of_batch(nearest, at, batch, preset, embed)
  sides = images.shape[1:3]
  return {
    "grey": jnp.all(images == images[..., :1], axis=(1, 2, 3)),
    "classes": jnp.argmax(network.pixels(last.logits, sides), axis=-1).astype(
      jnp.int32
    ),
    "near": near[..., 0],
    "margin": best[..., 0] - best[..., 1],
    "disagreement": trust.disagreement(jax.nn.softmax(last.logits)),
    "own": own,
    "settled": jnp.moveaxis(settled, 0, 1),
    "similarity": local.similarity,
    "delta": local.delta,
  }


def _comparing(network: Network, state: State) -> tuple[Any, Any, Any]:
  """`nearest`, `at` and `embed` of `explain.importance`; a place is a cell."""
  vectors = state.memory["prototypes"].vectors

  def embed(images: ArrayLike) -> Array:
    found = network.seen(state, images).vectors
    return anchors.unit(jnp.mean(found, axis=0))

  def cosines(cells: ArrayLike) -> Array:
    flat = jnp.reshape(cells, (cells.shape[0], -1, cells.shape[-1]))
    return network.temperature * network.scores(flat, vectors)

  def at(cells: ArrayLike, place: Array) -> Array:
    return jnp.take_along_axis(cosines(cells), place[:, None], axis=1)[:, 0]

  def nearest(cells: ArrayLike) -> tuple[Array, Array]:
    place = jnp.argmax(cosines(cells), axis=1)
    return at(cells, place), place

  return nearest, at, embed


def closest(
  network: Network, state: State, data: Any, rows: Any
) -> list[cell_evidence.Patch]:
  """The cell of each labelled image that is most similar to each prototype.

  Args:
    network: of the state.
    state: of the method.
    data: the training images.
    rows: positions of the labelled ones.
  """
  step = functools.partial(_closest, network)
  found = []
  for batch, best in parallel.each(step, state, data.some(rows)):
    for i in np.flatnonzero(batch["valid"]):
      index = int(batch["index"][i])
      for k in range(network.classes):
        cosine, cell = best["cosine"][i, k], int(best["cell"][i, k])
        found.append(cell_evidence.Patch(k, index, cell, float(cosine)))
  return found


def _closest(
  network: Network, state: State, batch: Batch
) -> Mapping[str, Array]:
  nearest, _, embed = _comparing(network, state)
  cosine, cell = nearest(embed(batch["image"]))
  return {"cosine": cosine, "cell": cell}

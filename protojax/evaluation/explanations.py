"""Metrics of a model's explanations, over some of the images."""

from collections.abc import Iterator
import dataclasses
from typing import Any

import jax
import numpy as np

from protojax import parallel
from protojax.data import concepts, objects
from protojax.evaluation import heat_checks, heats
from protojax.evaluation.decisions import gathered
from protojax.metrics import interpretability as metrics
from protojax.metrics.means import Mean, mean
from protojax.prototypes.explainable import Explainable
from protojax.types import Array, ArrayLike, Batch, State

# Number of nearest images that purity is computed from (PIP-Net).
_NEAREST = 10
# Images of a batch on each device: deletion makes 29 copies of each.
_AT_ONCE = 2


def measure(
  model: Explainable,
  state: State,
  stream: Any,
  images: int,
  by_branch: bool = False,
  own_size: bool = False,
  sanity: bool = False,
) -> dict[str, Mean]:
  """Metrics of the heat maps over so many images of a stream, by name.

  Metrics that need the place of the object or of its parts are present if the
  source knows them; "same_cells", if it knows the groups of the prototypes.

  Args:
    model: see `Explainable`.
    state: its state.
    stream: images.
    images: how many of them.
    by_branch: see `decisions.probabilities`.
    own_size: heat is compared with the object at the size of the image itself;
      by default at that of the network's input.
    sanity: with the metrics of `heat_checks`.
  """
  size = parallel.whole_batch(_AT_ONCE * parallel.device_count())
  stream = dataclasses.replace(stream, batch_size=size)
  batches = _with_places(model, stream, images)

  def judge(state: State, batch: Batch) -> dict[str, Array]:
    found = heats.judged(model, state, batch, by_branch, own_size)
    return found | (heat_checks.checked(model, state, batch) if sanity else {})

  rows = gathered(judge, state, batches)
  if "class_map" in rows:
    rows |= _at_own_size(
      stream, rows["index"], rows.pop("class_map"), rows.pop("asked_maps")
    )
  counted = _own(model, state, stream.source, rows)
  tables = {n: rows.pop(n) for n in ("cells", "noisy_cells", "similarity")}
  named = {n: rows.pop(n) for n in ("at", "noisy_at", "seen") if n in rows}
  found = {
    name: mean(x) for name, x in rows.items() if name not in ("index", "label")
  }
  if counted is not None:
    same = metrics.same_cells(tables["cells"], tables["noisy_cells"], counted)
    found["same_cells"] = _of_living(model, state, same)
  if named:
    found |= _of_parts(model, state, counted, tables["similarity"], **named)
  return found


def _with_places(
  model: Explainable, stream: Any, images: int
) -> Iterator[Batch]:
  """Batches, with "object" and "parts" of their images where they are known.

  Labels are unknown (-1) if they are of other classes than the model's.
  """
  same = tuple(stream.source.class_names) == model.class_names
  for batch in stream.spread(images):
    label = batch["label"] if same else np.full_like(batch["label"], -1)
    known = {
      "object": objects.masks(stream, batch["index"]),
      "parts": objects.parts(stream, batch["index"]),
    }
    known = {name: x for name, x in known.items() if x is not None}
    yield {**batch, **known, "label": label}


def _at_own_size(
  stream: Any, indices: np.ndarray, of_class: np.ndarray, asked: np.ndarray
) -> dict[str, np.ndarray]:
  """`heats.located` of each image at its own size; a program for each size."""
  locate = jax.jit(heats.located)
  found = []
  for i, one, some in zip(indices, of_class, asked, strict=True):
    mask = objects.own_mask(stream, int(i))
    # The batch has had one of it.
    assert mask is not None
    found.append(jax.device_get(locate(one[None], some[None], mask[None])))
  return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def _own(
  model: Explainable, state: State, source: Any, rows: dict[str, np.ndarray]
) -> np.ndarray | None:
  """Which living prototypes belong to the class or concepts of an image, [b p].

  None if the source does not know the groups of the prototypes.
  """
  names = tuple(model.groups.names)
  if names == tuple(concepts.names(source)):
    shown = concepts.present(source)[rows["index"]]
  elif names == tuple(source.class_names):
    shown = rows["label"][:, None] == np.arange(len(names))[None]
  else:
    return None
  bank = model.bank(state)
  alive = np.asarray(bank.alive)
  return shown[:, np.asarray(bank.class_of)] & alive[None]


def _of_living(model: Explainable, state: State, values: ArrayLike) -> Mean:
  """The mean over living prototypes; dead ones do not count."""
  return mean(np.asarray(values)[np.asarray(model.bank(state).alive)])


def _of_parts(
  model: Explainable,
  state: State,
  counted: np.ndarray | None,
  similarity: np.ndarray,
  at: np.ndarray,
  noisy_at: np.ndarray,
  seen: np.ndarray,
) -> dict[str, Mean]:
  """Purity over a prototype's nearest images, the rest over its group's."""
  place = np.argsort(np.argsort(-similarity, axis=0, kind="stable"), axis=0)
  found = {"purity": metrics.purity(at, seen, place < _NEAREST)}
  if counted is not None:
    found["consistency"] = metrics.consistency(at, seen, counted)
    found["stability"] = metrics.stability(at, noisy_at, seen, counted)
  return {name: _of_living(model, state, x) for name, x in found.items()}

"""Sweeps over images for each channel: its strongest images, purity, and U.

The images that fire most in a channel are its prototypes (EPIC, section 4). The
functions take batches with cached rows (`RotatedNetwork.map_rows`) or images.
"""

from collections.abc import Iterable, Mapping, Sequence
import functools
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.methods.epic import losses, rotation
from protojax.methods.epic.folding import basis, folded
from protojax.methods.epic.network import RotatedNetwork
from protojax.prototypes import neighbours, push
from protojax.prototypes.bank import Provenance, bank_of, with_bank
from protojax.prototypes.neighbours import Neighbours
from protojax.types import ArrayLike, Batch, PyTree, State

_PERCENTILES = (5, 50, 95)
# When -> the stage that measures purity: without U, and at the end.
_STAGES = {"before": "before", "after": "prototypes"}


def ranked(
  network: RotatedNetwork, state: State, batches: Iterable[Batch], images: int
) -> Int[np.ndarray, "p m"]:
  """The images with the largest v of each channel, the largest first.

  v is a mean over cells: h w times smaller than the paper's sum, with the same
  ranks. U commutes with the mean, so "pooled" rows are enough. Of equal images
  the smaller position is first; -1 if there are too few images.
  """
  empty = neighbours.empty(network.backbone.channels, images)
  found = parallel.fold(
    functools.partial(_ranked, network), state, empty, batches
  )
  return neighbours.gathered(found).images.astype(np.int32)


def _ranked(
  network: RotatedNetwork, state: State, carry: Neighbours, batch: Batch
) -> Neighbours:
  pooled = batch.get("pooled")
  if pooled is None:
    pooled = network.pooled_rows(state, batch)["pooled"]
  value = rotation.rotated(pooled, basis(state))
  return neighbours.add(carry, -value, batch)


def strongest(
  network: RotatedNetwork, state: State, batches: Iterable[Batch], images: int
) -> Neighbours:
  """The same images as neighbours, whose "distances" are -v.

  With "purity", the "cell" of the largest value, and that "value" of each.
  """
  number, place = np.zeros((), np.float32), np.zeros((), np.int32)
  more = {"purity": number, "cell": place, "value": number}
  empty = neighbours.empty(network.backbone.channels, images, more)
  found = parallel.fold(
    functools.partial(_strongest, network), state, empty, batches
  )
  return neighbours.gathered(found)


def _strongest(
  network: RotatedNetwork, state: State, carry: Neighbours, batch: Batch
) -> Neighbours:
  features = network.embedded(state, batch)
  value, cell = network.nearest(state, features)
  purity = losses.purity(features, basis(state))
  more = {"purity": purity, "cell": cell, "value": value}
  score = network.pooled(state, features)
  return neighbours.add(carry, -score, batch, more)


def purities(found: Neighbours) -> Float[np.ndarray, " p"]:
  """Mean purity of each channel over its images."""
  there = found.images >= 0
  total = np.sum(np.where(there, found.more["purity"], 0.0), axis=1)
  return (total / np.maximum(there.sum(axis=1), 1)).astype(np.float32)


def spread(
  purity: Float[ArrayLike, " p"], name: str = "purity"
) -> dict[str, float]:
  """Mean over the channels under a name, and percentiles under NAME_5, ...

  All channels share one U: the mean can rise while some fall.
  """
  values = np.asarray(purity)
  found = {name: float(values.mean())}
  for q in _PERCENTILES:
    found[f"{name}_{q}"] = float(np.percentile(values, q))
  return found


def figures(
  rows: Mapping[str, Float[np.ndarray, " n"]],
  found: Neighbours,
  labels: Int[np.ndarray, " n"],
) -> dict[str, float]:
  """The metrics of a stream of images.

  Args:
    rows: from `compared`.
    found: from `strongest`.
    labels: of the images; with an unknown label there is no accuracy.
  """
  metrics = {
    "logit_difference": _bound(float(rows["difference"].max())),
    "changed": float(rows["changed"].sum()),
    "dropped": float(rows["dropped"].mean()),
    **spread(purities(found)),
  }
  if np.any(labels < 0):
    return metrics
  return {
    "accuracy": float(rows["correct"].mean()),
    "cross_entropy": float(rows["entropy"].mean()),
    **metrics,
  }


def _bound(difference: float) -> float:
  """The next power of ten: rounding errors depend on the machine."""
  if not difference:
    return 0.0
  return 10.0 ** math.ceil(math.log10(difference))


def before_and_after(
  stages: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, dict[str, float]]]:
  """Purity "before" and "after", of "train" and "held_out" images.

  Args:
    stages: "id" and "metrics" of each, "before" and "prototypes" among them.
  """
  found = {s["id"].split("-", 1)[1]: s["metrics"] for s in stages}

  def named(stage: str, name: str) -> dict[str, float]:
    metrics = found[stage]
    rest = {str(q): metrics[f"{name}_{q}"] for q in _PERCENTILES}
    return {"mean": metrics[name], **rest}

  return {
    split: {when: named(stage, name) for when, stage in _STAGES.items()}
    for split, name in (("train", "train_purity"), ("held_out", "purity"))
  }


def with_prototypes(
  found: Neighbours, state: State, stream: Any
) -> tuple[State, dict[str, float]]:
  """The state with these prototypes, and their purity before and after.

  The provenance of a channel is the strongest cell of its first image.

  Args:
    found: from `strongest`.
    state: the state that they were found with.
    stream: the images, in the order of their source.
  """
  image = found.images[:, 0].astype(np.int32)
  provenance = Provenance(
    image=image,
    cell=found.more["cell"][:, 0].astype(np.int32),
    distance=-found.more["value"][:, 0].astype(np.float32),
    content=push.contents(stream, image),
    embedder=push.embedder_digest(state.params, state.statistics, state.assets),
  )
  before = state.buffers["purity"]["before"]
  purity = {"before": before, "after": purities(found)}
  state = with_bank(state, bank_of(state).replace(provenance=provenance))
  buffers = {**state.buffers, "purity": purity}
  return state.replace(buffers=buffers), {
    **spread(purity["after"], "train_purity"),
    **spread(before, "train_purity_before"),
  }


def compared(
  network: RotatedNetwork, state: State, batches: Iterable[Batch]
) -> dict[str, Float[np.ndarray, " n"]]:
  """Rows of `RotatedNetwork.compared` for all images of a stream."""
  pieces: dict[str, list[np.ndarray]] = {}
  for batch, rows in parallel.each(network.compared, state, batches):
    for name, values in rows.items():
      pieces.setdefault(name, []).append(values[batch["valid"]])
  return {k: np.concatenate(x).astype(np.float64) for k, x in pieces.items()}


def whitened(
  network: RotatedNetwork,
  state: State,
  batches: Iterable[Batch],
  shrinkage: float,
) -> tuple[State, float]:
  """The state whose U removes what channels share on all patches of a stream.

  Args:
    network: the network.
    state: with a buffer "whitening".
    batches: of the images.
    shrinkage: see `rotation.whitening`.

  Returns:
    The state, and the condition of U.
  """
  width = network.backbone.channels
  empty = {
    "products": np.zeros((width, width), np.float32),
    "patches": np.zeros((), np.float32),
  }
  sums = parallel.fold(
    functools.partial(_moment, network), state, empty, batches
  )
  total = {k: np.sum(x, axis=0, dtype=np.float64) for k, x in sums.items()}
  moment = np.asarray(total["products"] / total["patches"])
  s, undone = rotation.whitening(moment, shrinkage)
  white = {"matrix": np.float32(s), "inverse": np.float32(undone)}
  state = state.replace(buffers={**state.buffers, "whitening": white})
  return folded(state, s, undone), float(np.linalg.cond(s))


def _moment(
  network: RotatedNetwork, state: State, carry: PyTree, batch: Batch
) -> PyTree:
  features = network.embedded(state, batch)
  features = jnp.where(batch["valid"][:, None, None, None], features, 0.0)
  cells = features.reshape(-1, features.shape[-1])
  patches = jnp.sum(batch["valid"]) * (len(cells) // len(features))
  return {
    "products": carry["products"] + rotation.rotated(cells.T, cells.T),
    "patches": carry["patches"] + patches,
  }

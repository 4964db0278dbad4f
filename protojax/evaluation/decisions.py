"""Metrics of a model's decisions over all images, and of its sizes."""

from collections.abc import Callable, Iterable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np

from protojax import parallel
from protojax.explain import familiarity
from protojax.explain.familiarity import Familiarity
from protojax.metrics import interpretability as metrics
from protojax.metrics.means import Mean, mean
from protojax.prototypes import head
from protojax.prototypes.explainable import Branched, Explainable
from protojax.types import Array, ArrayLike, Batch, State


class Decision(NamedTuple):
  """The results of a forward pass, from the features to the logits.

  Attributes:
    embedded: features that the prototypes are compared with.
    similarity: of each prototype to its nearest cell.
    cells: those cells, row-major.
    scores: the head multiplies them by its weights.
    logits: of the classes.
  """

  embedded: Float[Array, "b h w d"]
  similarity: Float[Array, "b p"]
  cells: Int[Array, "b p"]
  scores: Float[Array, "b p"]
  logits: Float[Array, "b k"]


def decide(
  model: Explainable, state: State, images: Num[ArrayLike, "b H W 3"]
) -> Decision:
  """The decision on each image, computed as in explanations."""
  embedded = model.embed(state, images)
  similarity, cells = model.nearest(state, embedded)
  scores = model.scores(state, embedded, similarity)
  points = head.logits(scores, model.weights(state), model.bank(state).alive)
  logits = points + model.bias(state)[None]
  return Decision(embedded, similarity, cells, scores, logits)


def probabilities(
  model: Explainable, state: State, seen: Decision, by_branch: bool = False
) -> Float[Array, "b k"]:
  """Probabilities of the classes.

  Args:
    model: see `Explainable`.
    state: its state.
    seen: decisions.
    by_branch: the mean over its branches of the softmax of the branch's own
      logits, as ST-ProtoPNet's code has it (Wang et al., ICCV 2023); by default
      the softmax of their sum, which is what `predict` gives. One and the same
      for a model of one branch.
  """
  count = model.branches if isinstance(model, Branched) else 1
  if not by_branch or count == 1:
    return jax.nn.softmax(seen.logits)
  weights = jnp.asarray(model.weights(state))
  alive = jnp.asarray(model.bank(state).alive)
  branch = jnp.arange(len(alive)) // (len(alive) // count)
  each = [
    jax.nn.softmax(head.logits(seen.scores, weights, alive & (branch == n)))
    for n in range(count)
  ]
  return jnp.mean(jnp.stack(each), axis=0)


def measure(
  model: Explainable,
  state: State,
  stream: Any,
  outliers: Any = None,
  known: Familiarity | None = None,
) -> dict[str, Mean]:
  """Metrics of the decisions over a stream, by name.

  Args:
    model: see `Explainable`.
    state: its state.
    stream: images; without known classes there is no accuracy.
    outliers: a stream of images of no class.
    known: the images that the model knows.
  """
  rows = gathered(functools.partial(_decided, model), state, stream.batches())
  probabilities = jax.nn.softmax(rows["logits"])
  found = _sizes(model, state) | {
    name: mean(rows[name].astype(np.float32))
    for name in ("local_size", "prediction_size", "prediction_sparsity")
  }
  if tuple(stream.source.class_names) == model.class_names:
    right = np.argmax(rows["logits"], axis=1) == rows["label"]
    labelled = rows["label"] >= 0
    error = metrics.calibration_error(probabilities, rows["label"])
    found["accuracy"] = mean(right[labelled].astype(np.float32))
    found["calibration_error"] = _one(error, int(labelled.sum()))
  if known is not None:
    found["unfamiliar"] = mean(_unfamiliar(known, rows))
  if outliers is not None:
    others = gathered(
      functools.partial(_decided, model), state, outliers.batches()
    )
    found |= _apart(rows["logits"], others["logits"])
    count = len(rows["logits"]) + len(others["logits"])
    best = rows["best"], others["best"]
    found["outlier_auroc_best"] = _one(metrics.outlier_auroc(*best), count)
    if known is not None:
      found["unfamiliar_outliers"] = mean(_unfamiliar(known, others))
  return found


def apart(
  predict: Callable[[State, Batch], Mapping[str, Any]],
  state: State,
  stream: Any,
  outliers: Any,
  known: Familiarity | None = None,
) -> dict[str, Mean]:
  """How the largest logit tells images of no class from those of a stream.

  Args:
    predict: of a method; its rows have "logits" [b k], else there is no figure.
    state: of the method.
    stream: images of the classes.
    outliers: a stream of images of no class.
    known: the images that the model knows, by their largest logit.
  """

  def logits(state: State, batch: Batch) -> dict[str, Any]:
    rows = predict(state, batch)
    return {name: rows[name] for name in ("logits",) if name in rows}

  own, others = (
    gathered(logits, state, images.batches()) for images in (stream, outliers)
  )
  if "logits" not in own:
    return {}
  found = _apart(own["logits"], others["logits"])
  if known is not None:
    found["unfamiliar"] = mean(_unfamiliar(known, own))
    found["unfamiliar_outliers"] = mean(_unfamiliar(known, others))
  return found


def _apart(known: np.ndarray, others: np.ndarray) -> dict[str, Mean]:
  """How the largest of the logits [n k] of images tells others [m k]."""
  largest, count = (known.max(axis=1), others.max(axis=1)), len(known)
  return {
    "outlier_auroc": _one(metrics.outlier_auroc(*largest), count + len(others)),
    "abstention": _one(metrics.abstention(*largest), count + len(others)),
  }


def gathered(
  function: Callable[[State, Batch], Any],
  state: State,
  batches: Iterable[Batch],
) -> dict[str, np.ndarray]:
  """Rows of all batches, with "index" and "label", without padding."""
  pieces: list[dict[str, np.ndarray]] = []
  for batch, rows in parallel.each(function, state, batches):
    valid = batch["valid"].astype(bool)
    named = {name: batch[name] for name in ("index", "label")}
    pieces.append({name: x[valid] for name, x in {**named, **rows}.items()})
  return {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}


def _decided(
  model: Explainable, state: State, batch: Batch
) -> dict[str, Array]:
  """Logits and numbers of prototypes for each image of a batch, by name."""
  found = decide(model, state, batch["image"])
  weights = model.weights(state)
  asked = found.scores, weights, jnp.argmax(found.logits, axis=1)
  return {
    "logits": found.logits,
    "best": jnp.max(
      jnp.where(model.bank(state).alive[None], found.similarity, -jnp.inf),
      axis=1,
    ),
    "local_size": metrics.local_size(found.scores, weights),
    "prediction_size": metrics.prediction_size(*asked),
    "prediction_sparsity": metrics.prediction_sparsity(*asked),
  }


def _unfamiliar(
  known: Familiarity, rows: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " n"]:
  """1 for each image that is called unfamiliar, else 0."""
  by_logit = known.by == familiarity.LOGIT
  best = rows["logits"].max(axis=1) if by_logit else rows["best"]
  told = [familiarity.unfamiliar(known.percentile(x)) for x in best.tolist()]
  return np.array(told, np.float32)


def _sizes(model: Explainable, state: State) -> dict[str, Mean]:
  """Sizes of the head, and uniqueness of the prototypes' provenance."""
  bank = model.bank(state)
  alive = np.asarray(bank.alive)
  weights = parallel.to_host(model.weights(state))[:, alive]
  places = np.stack([bank.provenance.image, bank.provenance.cell], axis=1)
  taken = alive & (places[:, 0] >= 0)
  return {
    "sparsity": _one(metrics.sparsity(weights), weights.size),
    "global_size": _one(metrics.global_size(weights), 1),
    "uniqueness": _one(metrics.uniqueness(places, taken), int(taken.sum())),
  }


def _one(value: ArrayLike | float, cases: int) -> Mean:
  """A value over all cases; they are left out if it is not defined."""
  defined = not np.isnan(value)
  return Mean(
    np.asarray(value, np.float32),
    np.asarray(cases if defined else 0, np.int32),
    np.asarray(0 if defined else cases, np.int32),
  )

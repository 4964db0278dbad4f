"""The terms of a batch, as the engine takes them: sums, counts, memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.engine import memory
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.methods.neurogaze_distill import losses
from protojax.methods.neurogaze_distill import teacher as teachers
from protojax.methods.neurogaze_distill.losses import Geometry
from protojax.methods.neurogaze_distill.modality import GROUP
from protojax.methods.neurogaze_distill.network import TEACHER, Network
from protojax.prototypes import distance, start
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

SCHEDULES = ("late_cosine", "constant")
CLASS_WEIGHTS = ("inverse_sqrt", "none")


def accuracy(
  logits: Float[ArrayLike, "b k"], labels: Int[ArrayLike, " b"]
) -> dict[str, Term]:
  """Share of right answers, for the log."""
  right = jnp.argmax(jnp.asarray(logits), axis=1) == labels
  return {"accuracy": Term(jnp.sum(right), len(labels))}


def cross_entropy(
  state: State,
  logits: Float[ArrayLike, "b k"],
  labels: Int[ArrayLike, " b"],
  smoothing: float,
) -> Term:
  """L_CE, with the weights of the classes that the state holds."""
  terms, weights = losses.smoothed_cross_entropy(
    logits, labels, state.buffers["class_weights"], smoothing
  )
  return Term(jnp.sum(terms), jnp.sum(weights))


def image_teacher_loss(
  network: Network,
  smoothing: float,
  params: PyTree,
  state: State,
  batch: Batch,
  now: Now,
) -> tuple[dict[str, Term], Aux]:
  """Cross entropy of the image teacher alone."""
  del now
  teacher, labels = network.teacher, batch["label"]
  assert teacher is not None
  pooled, moved = teacher.pooled(
    params[TEACHER], state.statistics[TEACHER], batch["image"], train=True
  )
  logits = teacher.logits(params[TEACHER], pooled)
  statistics = {**state.statistics, TEACHER: moved}
  return (
    {"cross_entropy": cross_entropy(state, logits, labels, smoothing)},
    Aux(statistics, metrics=accuracy(logits, labels)),
  )


def teacher_loss(
  teacher: teachers.Teacher,
  kind: str,
  params: PyTree,
  state: State,
  batch: Batch,
  now: Now,
) -> tuple[dict[str, Term], Aux]:
  """Squared error of valence and arousal, or 1 - concordance.

  The concordance is of the batch of all devices.
  """
  del state, now
  _, pair = teacher(params[GROUP], batch["values"])
  wanted = teacher.scaled(batch["target"])
  errors = jnp.sum(teachers.squared_error(pair, wanted))
  error = Term(errors, len(wanted))
  if kind == "mse":
    return {"error": error}, Aux()
  found = teachers.concordance(*parallel.gather((pair, wanted)))
  return (
    {"concordance": of_whole_batch(1 - found)},
    Aux(metrics={"error": error}),
  )


def proto_terms(
  raw: Float[ArrayLike, "b d"],
  bank: Mapping[str, ArrayLike],
  labels: Int[ArrayLike, " b"],
  mode: str,
  tau: float,
  temperature: float,
) -> Float[Array, " b"]:
  """L_proto of each example.

  Args:
    raw: features in the space of the bank, of any length.
    bank: the asset.
    labels: of the examples.
    mode: "cos", or "kl_logits": dot products with features of any length, over
      `temperature`. The README lists that number and not its use.
    tau: temperature of the cosines.
    temperature: see `mode`.
  """
  prototypes = jnp.asarray(bank["prototypes"])
  features = distance.direction(raw) if mode == "cos" else raw
  found = jnp.matmul(features, prototypes.T, precision=distance.PRECISION)
  wanted = jnp.asarray(bank["targets"])[labels]
  scale = tau if mode == "cos" else temperature
  return losses.proto_kd_loss(found, wanted, bank["roots"], scale)


def geometry(
  pooled: Float[ArrayLike, "b e"],
  labels: Int[ArrayLike, " b"],
  state: State,
  kappa: float,
  delta: float,
  decay: float,
) -> tuple[Geometry, PyTree]:
  """D-Geo of the batch of all devices, and the memory after it.

  Of the classifier's own features, brought to length 1: it is their shape that
  decides. The first mean of a class is that of its first batch.
  """
  unit = distance.direction(pooled)
  old = state.memory
  moved = memory.class_means(old["means"], unit, labels, decay)
  fresh = memory.class_means(old["means"], unit, labels, 0.0)
  rows, numbers = parallel.gather((unit, labels))
  there = jnp.any(
    jnp.asarray(numbers)[:, None] == jnp.arange(len(moved))[None], axis=0
  )
  means = jnp.where(jnp.asarray(old["seen"])[:, None], moved, fresh)
  seen = jnp.asarray(old["seen"]) | there
  found = losses.geo_prior_loss(
    rows, numbers, means, seen, state.buffers["positive"], kappa, delta
  )
  return found, {"means": means, "seen": seen}


def ramp(d_geo: Any, epoch: Float[ArrayLike, ""]) -> Float[Array, ""]:
  """The share of D-Geo's weight at an epoch; the weight is no new program."""
  if d_geo.schedule == "constant":
    return jnp.ones(())
  return losses.late_cosine_ramp(
    epoch, float(d_geo.start_epoch), float(d_geo.end_epoch)
  )


def weights_of_classes(
  given: Any, counts: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
  """The weights of the cross entropy: a rule of `CLASS_WEIGHTS`, or numbers.

  Raises:
    UserError: there are not as many numbers as classes.
  """
  if given == "inverse_sqrt":
    return losses.class_weights(counts)
  if given == "none":
    return np.ones(len(counts), np.float32)
  if isinstance(given, str) or len(given) != len(counts):
    raise UserError(
      f"--config.ce.class_weights is {given!r}; expected one of"
      f" {', '.join(CLASS_WEIGHTS)}, or a number for each of {len(counts)}"
      " classes"
    )
  return np.array(given, np.float32)


def positive(
  wanted: Sequence[str], class_names: Sequence[str]
) -> Float[np.ndarray, " k"]:
  """1 for the classes that D-Geo keeps compact.

  Raises:
    UserError: one is no class.
  """
  if unknown := [name for name in wanted if name not in class_names]:
    raise UserError(
      f"--config.d_geo.positive_classes has {', '.join(unknown)}; the classes"
      f" are {', '.join(class_names)}"
    )
  return np.array([name in wanted for name in class_names], np.float32)


def pretrained(
  state: State, network: Network, student: Any, teacher: Any
) -> State:
  """The state with pretrained weights in both backbones, where there are some.

  Args:
    state: of a random start.
    network: of the run.
    student, teacher: groups of the config, with "name", "pretrained" and
      "weights".
  """
  if student.pretrained or student.weights:
    state = start.pretrained(
      state, network.student.backbone, student.name, student.weights
    )
  if network.teacher is None or not (teacher.pretrained or teacher.weights):
    return state
  found = start.variables(
    network.teacher.backbone, teacher.name, teacher.weights
  )
  own = {**state.params[TEACHER], "backbone": found.pop("params")}
  return state.replace(
    params={**state.params, TEACHER: own},
    statistics={**state.statistics, TEACHER: found},
  )

"""The four losses of NeuroGaze-Distill (section 4).

 L = L_CE + lambda_kd L_KD + lambda_proto L_proto + lambda_geo(e) L_geo

The weights, tau, the smoothing and the ramp are the paper's and its README's.
What q_pro is, the scale of the MSE and the formula of D-Geo are not told there;
they are ours.
"""

from collections.abc import Mapping
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.methods.neurogaze_distill.grid_bank import GridBank
from protojax.prototypes import distance
from protojax.types import ArrayLike, UserError

# How q_pro is made of a class's place on the grid.
TARGETS = ("anchor", "self", "nearest", "uniform")
# What a row of the bank is compared with: "cos", or dot products over a
# temperature, "kl_logits".
MODES = ("cos", "kl_logits")
FORMS = ("mse", "kl")


def late_cosine_ramp(
  epoch: Float[ArrayLike, ""] | float, start: float, end: float
) -> Float[jax.Array, ""]:
  """0 before `start`, 1 after `end`, half a cosine between them."""
  share = (jnp.asarray(epoch) - start) / max(end - start, 1e-9)
  return 0.5 * (1 - jnp.cos(math.pi * jnp.clip(share, 0.0, 1.0)))


def class_weights(counts: Int[ArrayLike, " k"]) -> Float[np.ndarray, " k"]:
  """Inverse square roots of the classes' frequencies, of mean 1.

  A class without a training image has weight 1: no term has its label.
  """
  counts = np.asarray(counts, np.float64)
  there = counts > 0
  weights = np.ones(len(counts))
  found = 1 / np.sqrt(counts[there])
  weights[there] = found / found.mean()
  return weights.astype(np.float32)


def smoothed_cross_entropy(
  logits: Float[ArrayLike, "b k"],
  labels: Int[ArrayLike, " b"],
  weights: Float[ArrayLike, " k"],
  smoothing: float,
) -> tuple[Float[jax.Array, " b"], Float[jax.Array, " b"]]:
  """Weighted cross entropy with smoothed labels, as PyTorch defines it.

  Returns:
    The term of each example, and the weight of its class. The loss is the sum
    of the former divided by the sum of the latter.
  """
  logits, weights = jnp.asarray(logits, jnp.float32), jnp.asarray(weights)
  k = logits.shape[1]
  own = jax.nn.one_hot(labels, k)
  wanted = (1 - smoothing) * own + smoothing / k
  terms = -jnp.sum(weights[None] * wanted * jax.nn.log_softmax(logits), axis=1)
  return terms, own @ weights


def kd_mse(
  student: Float[ArrayLike, "b k"],
  teacher: Float[ArrayLike, "b k"],
  temperature: float,
) -> Float[jax.Array, " b"]:
  """mean over k of (z_s / T - z_t / T)^2; the scaling by T is ours."""
  apart = (jnp.asarray(student) - jnp.asarray(teacher)) / temperature
  return jnp.mean(apart**2, axis=1)


def kd_kl(
  student: Float[ArrayLike, "b k"],
  teacher: Float[ArrayLike, "b k"],
  temperature: float,
) -> Float[jax.Array, " b"]:
  """T^2 KL(softmax(z_t / T) || softmax(z_s / T)) (Hinton et al., 2015)."""
  wanted = jax.nn.softmax(jnp.asarray(teacher) / temperature)
  found = jax.nn.log_softmax(jnp.asarray(student) / temperature)
  return temperature**2 * _kl(wanted, found)


def _kl(
  wanted: Float[ArrayLike, "b p"], log_found: Float[ArrayLike, "b p"]
) -> Float[jax.Array, " b"]:
  """KL(q || exp(log_found)); where q is 0, nothing is added."""
  wanted = jnp.asarray(wanted)
  # The inner `where` keeps the gradient of the logarithm finite.
  log_wanted = jnp.log(jnp.where(wanted > 0, wanted, 1.0))
  terms = jnp.where(wanted > 0, wanted * (log_wanted - log_found), 0.0)
  return jnp.sum(terms, axis=1)


def proto_kd_loss(
  similarities: Float[ArrayLike, "b p"],
  targets: Float[ArrayLike, "b p"],
  roots: Int[ArrayLike, " p"],
  tau: Float[ArrayLike, ""] | float,
) -> Float[jax.Array, " b"]:
  """KL(q_pro || q_stu), q_stu = softmax(s / tau) (L_proto).

  Both are summed over cells with the same prototype before they are compared:
  no feature can tell such cells apart. Their similarities are one number, so
  that the sum of q_stu is one of them times their count.

  Args:
    similarities: s, of the student's feature to each prototype.
    targets: q_pro of each example, of sum 1.
    roots: the first cell with the same prototype: `GridBank.roots`.
    tau: temperature of the similarities.
  """
  logits, roots = (
    jnp.asarray(similarities, jnp.float32) / tau,
    jnp.asarray(roots),
  )
  cells = jax.ops.segment_sum(jnp.ones(len(roots)), roots, len(roots))
  log_q = jax.nn.log_softmax(logits) + jnp.log(cells[roots])[None]
  # Where a cell is no root there is no target, so that it does not count.
  return _kl(pooled(targets, roots), log_q)


def pooled(
  q: Float[ArrayLike, "b p"], roots: Int[ArrayLike, " p"]
) -> Float[jax.Array, "b p"]:
  """Sums over the cells with one prototype, at the first of them."""
  columns = jnp.asarray(q).T
  return jax.ops.segment_sum(columns, jnp.asarray(roots), len(columns)).T


def proto_targets(
  bank: GridBank,
  anchors: Float[ArrayLike, "k 2"],
  kind: str = "anchor",
  sigma: float = 0.8,
  tau: float = 0.9,
) -> Float[np.ndarray, "k p"]:
  """q_pro of each class: where on the grid its images should fall.

  - "anchor": proportional to exp(-|center - anchor|^2 / (2 sigma^2)).
  - "self": softmax(cos(p, c) / tau), c the mean of the prototypes by the
    weights of "anchor": the bank alone says what is near.
  - "nearest": the cell whose centre is nearest to the anchor.
  - "uniform": a control; all classes want all cells.

  Args:
    bank: of the prototypes.
    anchors: place of each class on the grid.
    kind: one of `TARGETS`.
    sigma: width of "anchor", in the units of the grid.
    tau: temperature of "self".
  """
  if kind not in TARGETS:
    raise UserError(
      f"--config.proto_kd.target is {kind!r}; choose one of"
      f" {', '.join(TARGETS)}"
    )
  centers = np.asarray(bank.centers, np.float64)
  anchors = np.asarray(anchors, np.float64)
  squares = ((centers[None] - anchors[:, None]) ** 2).sum(-1)
  if kind == "uniform":
    return np.full(squares.shape, 1 / squares.shape[1], np.float32)
  if kind == "nearest":
    return np.eye(len(centers), dtype=np.float32)[squares.argmin(axis=1)]
  found = _softmax(-squares / (2 * sigma**2))
  if kind == "self":
    rows = np.asarray(bank.prototypes, np.float64)
    middle = found @ rows
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-12)
    found = _softmax(middle @ rows.T / tau)
  return found.astype(np.float32)


def _softmax(x: np.ndarray) -> np.ndarray:
  powers = np.exp(x - x.max(axis=1, keepdims=True))
  return powers / powers.sum(axis=1, keepdims=True)


def class_similarity(
  bank: GridBank, targets: Float[ArrayLike, "k p"]
) -> Float[np.ndarray, "k k"]:
  """Cosines of the classes' mean prototypes: logits for KD from the bank.

  An EEG teacher has no logits for faces; with `kd_mse.source="prototype"` the
  row of an image's class, scaled, stands for them (section 3).
  """
  rows = np.asarray(targets, np.float64) @ np.asarray(bank.prototypes)
  rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
  return (rows @ rows.T).astype(np.float32)


def kl_floor(
  bank: GridBank, targets: Float[ArrayLike, "k p"], tau: float, steps: int = 300
) -> Float[np.ndarray, " k"]:
  """The smallest L_proto that any unit feature reaches, for each class.

  With tau = 0.9 cosines give a nearly uniform q_stu, so that a sharp q_pro
  leaves a floor that no training removes (section 8, point 2). Found by descent
  on the sphere.
  """
  found = _floor(
    jnp.asarray(bank.prototypes),
    jnp.asarray(targets),
    jnp.asarray(bank.roots()),
    tau,
    steps,
  )
  return np.asarray(found)


@jax.jit(static_argnames=("steps",))
def _floor(rows, targets, roots, tau, steps):
  def loss(free: jax.Array) -> jax.Array:
    cosines = jnp.matmul(
      distance.direction(free), rows.T, precision=distance.PRECISION
    )
    return proto_kd_loss(cosines, targets, roots, tau)

  def step(free: jax.Array, _: None) -> tuple[jax.Array, None]:
    gradient = jax.grad(lambda x: jnp.sum(loss(x)))(free)
    return distance.direction(free - gradient), None

  start = distance.direction(
    jnp.matmul(targets, rows, precision=distance.PRECISION) + 1e-3 * rows[:1]
  )
  free, _ = jax.lax.scan(step, start, None, length=steps)
  return loss(free)


class Geometry(NamedTuple):
  """D-Geo of a batch.

  Attributes:
    spread: L_var, the mean over the positive classes of relu(V_c - kappa).
    margin: L_mar, the mean over pairs of classes of relu(cos - (1 - delta)).
    variance: the mean of V_c over the positive classes of the batch.
  """

  spread: jax.Array
  margin: jax.Array
  variance: jax.Array


def geo_prior_loss(
  features: Float[ArrayLike, "b d"],
  labels: Int[ArrayLike, " b"],
  means: Float[ArrayLike, "k d"],
  seen: Bool[ArrayLike, " k"],
  positive: Float[ArrayLike, " k"],
  kappa: float,
  delta: float,
) -> Geometry:
  """The geometric prior D-Geo (section 4; the formula is ours).

    V_c = mean_{i in c} |f_i - mu_c|^2
    L_var = mean_{c positive} relu(V_c - kappa)
    L_mar = mean_{c != c'} relu(cos(mu_c, mu_c') - (1 - delta))

  A class with fewer than two rows in the batch has no V_c. The value of L_mar
  is that of the running means, which have no gradient; the gradient goes
  through the mean of the class's rows in this batch.

  Args:
    features: of length 1, of the batch of all devices.
    labels: their classes; -1 is left out.
    means: running means mu by class; the gradient does not go through them.
    seen: classes that have a running mean.
    positive: 1 for the classes that are kept compact, 0 for the others.
    kappa: the cap of the variance.
    delta: the margin between class means.
  """
  features = jnp.asarray(features)
  means = jax.lax.stop_gradient(jnp.asarray(means))
  own = jax.nn.one_hot(jnp.asarray(labels), len(means))
  counts = jnp.sum(own, axis=0)
  apart = jnp.sum((features - own @ means) ** 2, axis=1)
  variance = own.T @ apart / jnp.maximum(counts, 1)
  held = jnp.asarray(positive) * (counts >= 2)
  compact = jnp.maximum(jnp.sum(held), 1)
  spread = jnp.sum(held * jax.nn.relu(variance - kappa)) / compact

  batch = own.T @ features / jnp.maximum(counts, 1)[:, None]
  moved = batch - jax.lax.stop_gradient(batch)
  middles = distance.direction(
    means + jnp.where(counts[:, None] > 0, moved, 0.0)
  )
  cosines = jnp.matmul(middles, middles.T, precision=distance.PRECISION)
  pairs = jnp.asarray(seen)[:, None] & jnp.asarray(seen)[None]
  pairs &= ~jnp.eye(len(means), dtype=bool)
  margin = jnp.sum(jnp.where(pairs, jax.nn.relu(cosines - (1 - delta)), 0.0))
  margin /= jnp.maximum(jnp.sum(pairs), 1)
  return Geometry(spread, margin, jnp.sum(held * variance) / compact)


def weights_of_arm(
  arm: str, kd: float, proto: float, geo: float
) -> Mapping[str, float]:
  """The weights of the terms in an arm of the ablation.

  Args:
    arm: "B0" is cross entropy alone, "B1" adds KD, "B2" L_proto, "B3" D-Geo.
    kd, proto, geo: the weights of the whole model.
  """
  arms = ("B0", "B1", "B2", "B3")
  if arm not in arms:
    raise UserError(f"--config.arm is {arm!r}; choose one of {', '.join(arms)}")
  on = arms.index(arm)
  values = {"kd": kd, "proto": proto, "geo": geo}
  return {
    name: value if number < on else 0.0
    for number, (name, value) in enumerate(values.items())
  }

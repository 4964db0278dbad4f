"""How good answers and vectors are, on scenes that nothing was learnt of."""

import functools
from typing import NamedTuple

import jax
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax import parallel
from protojax.agents import judge
from protojax.agents import world as worlds
from protojax.methods.proactive_agents import asking, calibrating
from protojax.metrics import ranking

BINS = 15
# Shares of the facts that captions are wrong in, in turn.
_WRONG = (0.0, 0.1, 0.2, 0.35, 0.5)


class Answered(NamedTuple):
  """Questions about pictures, with their answers.

  Attributes:
    cells: what was asked.
    yes: the truth.
    logits: of yes, before calibration.
  """

  cells: Int[np.ndarray, "n q"]
  yes: Bool[np.ndarray, "n q"]
  logits: Float[np.ndarray, "n q"]


@functools.partial(jax.jit, static_argnames="count")
def _drawn(true, key, count):
  keys = parallel.example_keys(key, np.arange(len(true)))
  return asking.drawn(true, keys, count)


def asked(
  logits: Float[np.ndarray, "n k"],
  true: Bool[np.ndarray, "n k"],
  count: int,
  seed: int,
) -> Answered:
  """Answers to questions that are drawn of each picture.

  Args:
    logits: of every cell of the world.
    true: of the pictures.
    count: questions of each.
    seed: of the questions.
  """
  cells, yes = jax.device_get(_drawn(true, parallel.key(seed), count))
  return Answered(cells, yes, np.take_along_axis(logits, cells, axis=1))


def measured(found: Answered, temperature: float) -> dict[str, float]:
  """AUC and calibration of answers; "auc_position" of one kind of question.

  "ece" is the mean difference of P(yes) and the share of yes over bins of
  P(yes), and "log_loss" in nats.
  """
  p = calibrating.probability(found.logits, temperature).ravel()
  yes, kind = found.yes.ravel(), asking.KIND[found.cells.ravel()]
  scores = {
    "auc": ranking.auroc(yes, p),
    "ece": calibration_error(p, yes),
    "ece_before": calibration_error(
      calibrating.probability(found.logits, 1.0).ravel(), yes
    ),
    "log_loss": -float(
      np.mean(np.log(np.maximum(np.where(yes, p, 1 - p), 1e-12)))
    ),
  }
  for k, name in enumerate(asking.KINDS):
    of = kind == k
    scores[f"auc_{name}"] = ranking.auroc(yes[of], p[of])
  # A kind that was not asked, or has one answer, has no AUC.
  return {k: x for k, x in scores.items() if np.isfinite(x)}


def reliability(
  p: Float[np.ndarray, " n"], yes: Bool[np.ndarray, " n"], bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Of each bin of P(yes): how many answers, mean P(yes), share of yes."""
  place = np.minimum((p * bins).astype(int), bins - 1)
  counts, said, true = (
    np.bincount(place, weights=x, minlength=bins)
    for x in (np.ones_like(p), p, yes.astype(float))
  )
  some = np.maximum(counts, 1)
  return counts, said / some, true / some


def calibration_error(
  p: Float[np.ndarray, " n"], yes: Bool[np.ndarray, " n"]
) -> float:
  """Mean over the answers of |mean P(yes) - share of yes| of their bin."""
  counts, said, true = reliability(p, yes)
  return float((counts * np.abs(said - true)).sum() / max(counts.sum(), 1))


def against_oracle(
  p: Float[np.ndarray, "n k"], true: Bool[np.ndarray, "n k"], seed: int
) -> dict[str, float]:
  """How scores of captions go with what the pictures show.

  Of each picture a caption is scored in which a share of its facts is wrong.
  "oracle_geometric" and "oracle_recall" are correlations of these scores with
  the share of right facts; "oracle_product" is the AUC of the product for
  captions without a fault.

  Args:
    p: P(yes) of every cell.
    true: of the pictures.
    seed: of the faults.
  """
  captions = altered(true, seed)
  exact = (captions & true).sum(1) / np.maximum(captions.sum(1), 1)
  found = judge.scores(p, captions)
  scores = {
    "oracle_geometric": correlation(found.geometric, exact),
    "oracle_recall": correlation(found.recall, exact),
    "oracle_product": ranking.auroc(exact == 1, found.product),
  }
  return {k: x for k, x in scores.items() if np.isfinite(x)}


def altered(
  true: Bool[np.ndarray, "n k"], seed: int
) -> Bool[np.ndarray, "n k"]:
  """Facts of pictures, some of them another value of what they are about."""
  rng = np.random.default_rng([2, seed])
  found = true & judge.FACTS
  share = np.take(_WRONG, np.arange(len(true)) % len(_WRONG))
  wrong = found & (rng.random(true.shape) < share[:, None])
  for scene, cell in zip(*np.nonzero(wrong), strict=True):
    same = (worlds.UNKNOWN[cell] == worlds.UNKNOWN) & judge.FACTS
    if asking.KIND[cell] == 0:
      # Another thing, that is not there.
      same = (asking.KIND == 0) & ~true[scene] & ~found[scene]
    others = np.flatnonzero(same & (np.arange(len(same)) != cell))
    found[scene, cell] = False
    found[scene, rng.choice(others)] = True
  return found


def likeness(
  one: Bool[np.ndarray, "n k"], other: Bool[np.ndarray, "m k"]
) -> Float[np.ndarray, "n m"]:
  """F1 of the facts of each picture against those of each other."""
  a, b = (np.asarray(x & judge.FACTS, np.float32) for x in (one, other))
  both = a @ b.T
  return 2 * both / np.maximum(a.sum(1)[:, None] + b.sum(1)[None], 1)


def of_vectors(
  vectors: Float[np.ndarray, "n v"], true: Bool[np.ndarray, "n k"]
) -> float:
  """Correlation of the cosines of pairs of pictures with `likeness`."""
  pairs = np.triu_indices(len(true), 1)
  return correlation((vectors @ vectors.T)[pairs], likeness(true, true)[pairs])


def correlation(
  one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]
) -> float:
  """Pearson's; nan where one of them does not vary."""
  if not (len(one) > 1 and np.ptp(one) > 0 and np.ptp(other) > 0):
    return float("nan")
  return float(np.corrcoef(one, other)[0, 1])

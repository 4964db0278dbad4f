"""The last layer solved, beside the epochs of Adam that the paper gives it.

python benchmarks/last_layer.py [small] [birds] [--quick] [--json FILE]

Both work on ready scores, drawn at random as those of a trained network lie,
and start from +1 and 0: Adam for 20 epochs of batches of 32 at a rate of 1e-3
(small), or of 80 at 1e-4 (birds), as in the configs. Losses are cross entropy
with the L1 term, without the ridge.
"""

from collections.abc import Iterator
import dataclasses
import functools
from pathlib import Path
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import ratios
from protojax import parallel
from protojax.data import stream
from protojax.engine import convex, descent, head_solver, stage
from protojax.engine.optimizer import grouped
from protojax.engine.terms import Aux, Term, penalty
from protojax.losses import prototype as losses
from protojax.prototypes import head as heads
from protojax.types import State

_L1, _RIDGE, _TOLERANCE, _MOST = 1e-4, 1e-4, 1e-5, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class _Problem:
  """Labels and scores of n images for ten prototypes of each class.

  Attributes:
    classes: k.
    labels: [n].
    scores: [n, 10 k].
    batch_size: of Adam.
    rate: of Adam.
  """

  classes: int
  labels: np.ndarray
  scores: np.ndarray
  batch_size: int
  rate: float

  # What a stream asks of its source.
  skipped = ()
  class_names = ()

  def __len__(self) -> int:
    return len(self.labels)

  @property
  def class_of(self) -> np.ndarray:
    """Of each prototype."""
    return np.repeat(np.arange(self.classes, dtype=np.int32), 10)

  @functools.cached_property
  def state(self) -> State:
    """The head at +1 and 0."""
    own = np.arange(self.classes)[:, None] == self.class_of[None]
    return State(
      params={"head": {"weight": own.astype(np.float32)}},
      statistics={},
      buffers={"class_of": self.class_of, "alive": np.ones(own.shape[1], bool)},
    )

  def loss(self, head: Any) -> float:
    """Mean cross entropy with the L1 term."""
    batch = {"scores": self.scores, "label": self.labels}
    found = head_solver.ScoreLoss(self.classes)(head, self.state.buffers, batch)
    weights, counts = heads.load(head, self.classes).off_class(
      **self.state.buffers
    )
    return float(found.mean() + _L1 * (abs(weights) * counts).sum())


def drawn(classes: int, count: int, batch_size: int, rate: float) -> _Problem:
  """Cosines of one patch an image and prototypes, all of them noisy."""
  rng = np.random.default_rng(0)
  labels = rng.integers(0, classes, count).astype(np.int32)
  centres = rng.normal(size=(classes, 64))

  def around(labels: np.ndarray) -> np.ndarray:
    drawn = 0.6 * centres[labels] + rng.normal(size=(len(labels), 64))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

  bank = around(np.repeat(np.arange(classes), 10))
  scores = 0.3 + around(labels) @ bank.T
  return _Problem(classes, labels, scores.astype(np.float32), batch_size, rate)


def _solver(problem: _Problem) -> Any:
  """The search: steps at most -> the head that it ends with."""
  state = problem.state
  start = state.params["head"]
  own, off = heads.load(start, problem.classes).entries(**state.buffers)
  own, off = (np.asarray(x["weight"], np.float32) for x in (own, off))
  penalty = convex.Penalty(
    {"weight": own + off}, {"weight": _L1 * off}, {"weight": own}, _RIDGE
  )
  ordered = stream.ordered(problem, 1, 1024)
  data = convex.batches({"scores": problem.scores}, ordered)

  def solve(steps: int) -> Any:
    loss = head_solver.ScoreLoss(problem.classes)
    buffers = state.buffers
    return convex.solve(loss, start, buffers, data, penalty, steps, _TOLERANCE)

  return solve


def _adam(problem: _Problem) -> Any:
  """A function that trains for 20 epochs and returns the head."""

  def loss(params: Any, state: State, batch: Any, now: Any) -> Any:
    del now
    head = heads.load(params["head"], problem.classes)
    logits = head.logits(batch["scores"], **state.buffers)
    entropy = jnp.sum(losses.cross_entropy(logits, batch["label"]))
    l1 = losses.l1_off_class(*head.off_class(**state.buffers))
    found = {
      "cross_entropy": Term(entropy, len(batch["label"])),
      "l1": penalty(l1, _L1),
    }
    return found, Aux()

  shuffled = stream.shuffled(problem, 1, problem.batch_size, seed=0)
  adam = grouped({"head": problem.rate})
  fit = stage.Fit("adam", loss, shuffled, adam, stage.epochs(20))
  moments = jax.tree.map(np.asarray, adam.init(problem.state.params))
  step = descent.mapped(fit, problem.state, moments, parallel.key(0))

  def train() -> Any:
    state, kept = parallel.replicate(
      jax.tree.map(np.array, (problem.state, moments))
    )
    batches = shuffled.batches(0, fit.total_steps, read_images=False)
    for number, batch in enumerate(batches):
      batch = {**batch, "scores": problem.scores[batch["index"]]}
      state, kept, _ = step(
        state, kept, parallel.shard(batch), np.int32(number)
      )
    return parallel.to_host(state.params["head"])

  return train


def _same_loss(problem: _Problem) -> ratios.Pair:
  """So many steps as lead to the loss that Adam ends at."""
  solve, train = _solver(problem), _adam(problem)
  wanted = problem.loss(train())
  enough = next(
    n for n in range(1, _MOST) if problem.loss(solve(n).params) <= wanted
  )
  row = f"the loss {wanted:.4f} of Adam's 20 epochs, {enough} steps"
  return _pair(problem, row, functools.partial(solve, enough), train)


def _converged(problem: _Problem) -> ratios.Pair:
  """The whole search."""
  solve, train = _solver(problem), _adam(problem)
  found = solve(_MOST)
  loss = problem.loss(found.params)
  row = f"the smallest loss, {loss:.4f}, {found.iterations} steps"
  return _pair(problem, row, functools.partial(solve, _MOST), train)


def _pair(problem: _Problem, row: str, ours: Any, other: Any) -> ratios.Pair:
  size = " x ".join(map(str, (*problem.scores.shape, problem.classes)))
  return ratios.Pair(
    f"{size}, {row}: Adam's time / ours", ours, other, 1.0, "higher"
  )


def small(quick: bool) -> Iterator[ratios.Pair]:
  """400 images of 12 classes, 120 prototypes."""
  del quick
  problem = drawn(12, 400, 32, 1e-3)
  yield _same_loss(problem)
  yield _converged(problem)


def birds(quick: bool) -> Iterator[ratios.Pair]:
  """As many images, prototypes and classes as CUB-200-2011 has."""
  yield _same_loss(drawn(*((20, 600) if quick else (200, 5994)), 80, 1e-4))


if __name__ == "__main__":
  ratios.main(__doc__, {"small": small, "birds": birds})

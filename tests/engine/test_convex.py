"""The solver against closed forms and SciPy; the head it finds for scores."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from scipy import optimize

from protojax.data import stream as stream_lib
from protojax.engine import convex, head_solver
from protojax.prototypes import head as heads
from protojax.types import UserError

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)
ALIVE = np.array([True, True, True, True, True, False])
L1, RIDGE = 3e-3, 1e-2


def test_a_parabola_and_an_l1_term_end_at_the_shrunk_vertex():
  """min c/2 (x - a)² + l |x| lies at a, nearer to 0 by l / c."""
  generator = np.random.default_rng(0)
  vertex, curvature, l1 = generator.normal(size=(3, 50))
  curvature, l1 = 0.1 + np.abs(curvature) * 100, np.abs(l1) * 10

  def value(x):
    return float(np.sum(curvature * (x - vertex) ** 2) / 2)

  def gradient(x):
    return value(x), curvature * (x - vertex)

  found, _, residual = convex.minimise(
    value, gradient, np.zeros(50), l1, 2000, 1e-9
  )
  by = np.minimum(l1 / curvature, np.abs(vertex))
  expected = np.sign(vertex) * (np.abs(vertex) - by)
  assert residual <= 1e-9
  assert_allclose(found, expected, atol=1e-8)
  assert_array_equal(found == 0, expected == 0)


@pytest.fixture
def problem(array_source):
  """A stream of labels and scores of six prototypes that tell of them."""
  source = array_source(count=45, classes=3)
  generator = np.random.default_rng(1)
  near = source.labels[:, None] == CLASS_OF[None]
  scores = 0.3 * near + generator.uniform(size=(45, 6))
  return stream_lib.ordered(source, 16, 8), scores.astype(np.float32)


def solve(problem, kind="dense", **changes):
  """The head, and the solution, from a start that does not matter."""
  stream, scores = problem
  start = heads.initial(kind, CLASS_OF, 3)
  start = {name: np.asarray(3 + x) for name, x in start.items()}
  own, off = heads.load(start, 3).entries(CLASS_OF, ALIVE)
  given = {
    "entries": {name: np.add(own[name], off[name]) for name in own},
    "l1": {name: L1 * np.asarray(x) for name, x in off.items()},
    "centre": {name: np.asarray(x) > 0 for name, x in own.items()},
    "ridge": RIDGE,
  }
  found = convex.solve(
    head_solver.ScoreLoss(3),
    start,
    {"class_of": CLASS_OF, "alive": ALIVE},
    convex.batches({"scores": scores}, stream),
    convex.Penalty(**given),
    **{"steps": 2000, "tolerance": 1e-6, **changes},
  )
  return found, np.asarray(heads.load(found.params, 3).weights(CLASS_OF, ALIVE))


def objective(weights, problem):
  """In float64: without the L1 term, its gradient, and the L1 term."""
  stream, scores = problem
  scores, labels = np.float64(scores), stream.labels
  logits = scores @ (weights * ALIVE).T
  logits = logits - logits.max(1, keepdims=True)
  logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  own = np.arange(3)[:, None] == CLASS_OF
  away = (weights - own) * ALIVE
  smooth = -logs[np.arange(45), labels].mean() + RIDGE / 2 * np.sum(away**2)
  slope = (np.exp(logs) - np.eye(3)[labels]).T @ scores * ALIVE / 45
  l1 = L1 * np.abs(weights)[~own & ALIVE].sum()
  return smooth, slope + RIDGE * away, l1


def expected(problem, kind):
  """By L-BFGS-B: weights to other classes are differences of two numbers >= 0.

  All weights are a matrix times these numbers and those to the own classes.
  """
  own = (np.arange(3)[:, None] == CLASS_OF).ravel()
  others = np.eye(18)[:, ~own]
  to_own = np.eye(18)[:, own]
  if kind == "class_block":
    others = others.sum(1, keepdims=True)
  matrix = np.concatenate([to_own, others, -others], axis=1)
  living = np.tile(ALIVE, 3)
  cost = L1 * np.abs(matrix[living & ~own]).sum(0)

  def value(x):
    weights = (matrix @ x).reshape(3, 6)
    loss, slope, _ = objective(weights, problem)
    return loss + cost @ x, slope.ravel() @ matrix + cost

  found = optimize.minimize(
    value,
    np.zeros(matrix.shape[1]),
    method="L-BFGS-B",
    jac=True,
    bounds=[(None, None)] * 6 + [(0, None)] * (matrix.shape[1] - 6),
    options={"ftol": 0, "gtol": 1e-9},
  )
  return (matrix @ found.x).reshape(3, 6) * ALIVE


@pytest.mark.parametrize("kind", heads.KINDS)
def test_the_head_is_what_scipy_finds(kind, problem):
  found, weights = solve(problem, kind)
  reference = expected(problem, kind)
  assert_allclose(weights, reference, atol=1e-4)
  smooth, _, l1 = objective(reference, problem)
  assert_allclose(found.loss, smooth + l1, rtol=1e-6)
  assert found.residual <= 1e-6


def test_no_slope_is_left_at_the_solution(problem):
  """0 is among the subgradients: of |w| the sign, or within [-1, 1] at 0."""
  found, weights = solve(problem)
  _, slope, _ = objective(weights, problem)
  own = np.arange(3)[:, None] == CLASS_OF
  at_zero = ~own & (weights == 0) & ALIVE
  assert at_zero.any()
  assert (np.abs(slope[at_zero]) <= L1).all()
  rest = np.where(own, slope, slope + L1 * np.sign(weights))
  assert_allclose(rest[~at_zero & ALIVE], 0, atol=1e-6)
  # The dead keep the weights that the search was given.
  assert_array_equal(
    found.params["weight"][:, 5], 3 + np.array([-0.5, -0.5, 1])
  )


def test_batches_that_do_not_stay_give_the_same(problem, monkeypatch):
  whole, _ = solve(problem)
  monkeypatch.setattr(convex, "_STAY", 0)
  monkeypatch.setattr(convex, "_SENT", 24 * 10)
  assert len(convex.batches({"scores": problem[1]}, problem[0])) == 5
  parts, _ = solve(problem)
  assert_allclose(parts.params["weight"], whole.params["weight"], atol=1e-5)


def test_the_steps_are_as_many_as_allowed(problem):
  found, _ = solve(problem, steps=3)
  assert found.iterations == 3
  assert found.residual > 1e-6
  unmoved, weights = solve(problem, steps=0)
  own = np.arange(3)[:, None] == CLASS_OF
  assert_array_equal(weights, own * ALIVE)
  assert found.loss < unmoved.loss


def test_scores_that_are_no_numbers_are_told_of(problem):
  stream, scores = problem
  scores[7, 2] = np.nan
  with pytest.raises(UserError, match="its loss is not a number"):
    solve((stream, scores))

"""The dense head to its last digits: no slope is left, and none is lost."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.data import stream as stream_lib
from protojax.engine import active_set, head_solver, score_point
from protojax.prototypes import bank
from protojax.types import State, UserError

CLASSES, EACH, IMAGES = 12, 3, 180
CLASS_OF = np.repeat(np.arange(CLASSES, dtype=np.int32), EACH)
OWN = np.arange(CLASSES)[:, None] == CLASS_OF
L1, RIDGE = 2e-3, 1e-3
GONE = 7


@pytest.fixture(scope="module")
def problem():
  """Scores [n p] that tell of the labels, and of neighbouring classes."""
  generator = np.random.default_rng(3)
  labels = (np.arange(IMAGES) % CLASSES).astype(np.int32)
  away = (labels[:, None] - CLASS_OF) % CLASSES
  scores = 0.6 * (away == 0) + 0.3 * (away == 1)
  scores = scores + generator.normal(0, 0.15, scores.shape)
  return scores.astype(np.float32), labels


@pytest.fixture(scope="module")
def kept(problem):
  return score_point.kept(*problem, CLASSES)


def _penalty(gone=()):
  free = np.ones(OWN.shape, bool)
  free[:, list(gone)] = False
  return score_point.Penalty(free, L1 * ~OWN, OWN.astype(float), RIDGE)


def _slope(weight, problem):
  """Of cross entropy and ridge, one image after the other."""
  slope = RIDGE * (weight - OWN)
  for scores, label in zip(*problem, strict=True):
    logits = weight @ np.float64(scores)
    p = np.exp(logits - logits.max())
    p = p / p.sum() - (np.arange(CLASSES) == label)
    slope += np.outer(p, scores) / IMAGES
  return slope


def _require_best(weight, problem, free, atol):
  """0 is among the subgradients: of |w| the sign, or within [-1, 1] at 0."""
  slope = _slope(weight, problem)
  at_zero = free & ~OWN & (weight == 0)
  assert at_zero.any()
  assert (np.abs(slope[at_zero]) <= L1 + atol).all()
  rest = np.where(OWN, slope, slope + L1 * np.sign(weight))
  assert_allclose(rest[free & ~at_zero], 0, atol=atol)
  assert_array_equal(weight[~free], 0)


@pytest.fixture(scope="module")
def base(kept):
  start = score_point.at(kept, OWN.astype(float))
  return active_set.solve(kept, start, _penalty(), 1e-10, 50)[0]


def test_no_slope_is_left_at_the_solution(kept, base, problem):
  assert score_point.residual(base, _penalty()).max() <= 1e-10
  _require_best(base.weight, problem, np.ones(OWN.shape, bool), 1e-8)
  # What is kept beside the weights is what follows from them.
  anew = score_point.at(kept, base.weight)
  assert_allclose(base.logits, anew.logits, atol=1e-5)
  assert_allclose(base.probabilities.sum(0), 1, atol=1e-12)
  assert_allclose(base.slope, anew.slope, atol=1e-7)


@pytest.mark.parametrize("gone", [(GONE,), (0, 1, 20)])
def test_without_prototypes_the_search_goes_on_from_where_it_was(
  kept, base, problem, gone, monkeypatch
):
  before, visited = base.weight.copy(), []
  visit = active_set._visit
  monkeypatch.setattr(
    active_set, "_visit", lambda *x: visited.append(x[1]) or visit(*x)
  )
  found, left, rounds = active_set.solve(kept, base, _penalty(gone), 1e-10, 50)
  assert left <= 1e-10
  assert rounds < 20
  _require_best(found.weight, problem, _penalty(gone).free, 1e-8)
  assert_array_equal(base.weight, before)
  # One class lost a prototype: it is visited by itself.
  assert len(gone) > 1 or visited


def test_rounds_are_as_many_as_allowed(kept, base):
  _, left, rounds = active_set.solve(kept, base, _penalty((GONE,)), 0.0, 2)
  assert rounds == 2
  assert left > 0


def _state(weight):
  return State(
    params={
      "head": {"weight": np.float32(weight)},
      "prototypes": bank.bank_params(np.zeros((len(CLASS_OF), 1, 1, 2))),
    },
    statistics={},
    buffers={"class_of": CLASS_OF, "alive": np.arange(len(CLASS_OF)) != GONE},
  )


def _stream(array_source, labels):
  source = array_source(count=IMAGES, classes=CLASSES)
  return dataclasses.replace(stream_lib.ordered(source, 16, 60), given=labels)


def test_a_head_is_the_same_from_near_and_from_far(
  array_source, kept, base, problem
):
  """Logits are equal to 1e-5, whether the search had a start or not."""
  scores, labels = problem
  stream = _stream(array_source, labels)
  solver = head_solver.Solver(CLASSES, (L1,), RIDGE, 2000)
  found = []
  for weight in (base.weight, np.where(OWN, 1, -0.5)):
    state, (solution,) = solver(
      _state(weight), head_solver.Kept(scores, stream)
    )
    assert solution.residual <= 1e-8
    found.append(np.asarray(state.params["head"]["weight"]))
    # The dead prototype keeps its weights.
    assert_array_equal(found[-1][:, GONE], np.float32(weight)[:, GONE])
  alive = np.arange(len(CLASS_OF)) != GONE
  one, two = (np.float64(scores) @ (w * alive).T for w in found)
  assert_allclose(one, two, atol=1e-5)


def test_a_head_that_is_near_comes_from_visits_alone(
  array_source, problem, monkeypatch
):
  scores, labels = problem
  solver = head_solver.Solver(CLASSES, (L1,), RIDGE, 2000)
  kept = head_solver.Kept(scores, _stream(array_source, labels))
  whole = _state(OWN)
  whole.buffers["alive"] = np.ones(len(CLASS_OF), bool)
  # Nothing is known: the best head.
  whole, left = solver.nearly(whole, kept)
  assert left == 0
  gone = whole.replace(buffers=_state(OWN).buffers)
  best, _ = solver(gone, kept)
  with monkeypatch.context() as patch:
    patch.setattr(active_set.newton_step, "take", None)
    near, left = solver.nearly(gone, kept)
  assert 1e-8 < left < 1e-2
  alive = np.arange(len(CLASS_OF)) != GONE
  logits = [
    np.float64(scores) @ (np.asarray(s.params["head"]["weight"]) * alive).T
    for s in (whole, near, best)
  ]
  before, now, end = logits
  assert np.abs(now - end).max() < np.abs(before - end).max() / 5
  assert_array_equal(now.argmax(1), end.argmax(1))


def test_steps_that_run_out_leave_a_head_that_is_not_refined(
  array_source, problem
):
  scores, labels = problem
  stream = _stream(array_source, labels)
  solver = head_solver.Solver(CLASSES, (L1,), RIDGE, 3)
  kept = head_solver.Kept(scores, stream)
  _, (solution,) = solver(_state(np.where(OWN, 1, -0.5)), kept)
  assert solution.iterations == 3
  assert not kept.near


def test_scores_that_are_no_numbers_are_told_of_if_they_count(problem):
  scores = problem[0].copy()
  scores[5, GONE] = np.inf
  kept = score_point.kept(scores, problem[1], CLASSES)
  with pytest.raises(UserError, match="its loss is not a number"):
    score_point.require_numbers(kept, _penalty())
  score_point.require_numbers(kept, _penalty((GONE,)))

"""The solver for many small problems, on problems that are not of optics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from protojax.methods.irca import levenberg_marquardt as lm

TIMES = np.linspace(0, 2, 15)


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


def curve(unknowns):
  """a exp(-b t) + c; the fourth unknown changes nothing."""
  a, b, c, _ = unknowns
  return a * jnp.exp(-b * TIMES) + c


def linearise(measured, solver, unknowns):
  """The problems by autodiff."""
  residual = jax.vmap(curve)(unknowns) - measured
  jacobian = jax.vmap(jax.jacfwd(curve))(unknowns)
  normal = jnp.einsum("bcp,bcq->bpq", jacobian, jacobian)
  return lm.System(
    0.5 * jnp.sum(residual**2, axis=1),
    jnp.einsum("bcp,bc->bp", jacobian, residual),
    jnp.diagonal(normal, axis1=1, axis2=2),
    normal if solver == "cholesky" else (jacobian, residual),
  )


@functools.partial(jax.jit, static_argnums=1)
def found(measured, solver, most, begin):
  return lm.minimise(
    functools.partial(linearise, measured, solver),
    getattr(lm, solver),
    begin,
    most,
    1e-12,
  )


@pytest.fixture(scope="module")
def problem():
  """Measured curves and starts of ten decays."""
  rng = np.random.default_rng(0)
  truth = rng.uniform((1, 0.3, -1, 0), (3, 3, 1, 0), (10, 4))
  measured = truth[:, :1] * np.exp(-truth[:, 1:2] * TIMES) + truth[:, 2:3]
  measured += 0.05 * rng.normal(size=measured.shape)
  return measured, np.tile([1.0, 1.0, 0.0, 7.0], (10, 1))


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_it_ends_where_scipy_does(problem, solver):
  measured, begin = problem
  solution = found(measured, solver, 100, begin)
  assert solution.converged.all()
  for i, y in enumerate(measured):

    def residual(u, y=y):
      return u[0] * np.exp(-u[1] * TIMES) + u[2] - y

    theirs = optimize.least_squares(residual, begin[i, :3], xtol=1e-12)
    assert solution.system.cost[i] <= theirs.cost * (1 + 1e-9)
    np.testing.assert_allclose(
      solution.unknowns[i, :3], theirs.x, rtol=1e-4, atol=1e-5
    )
  # What changes nothing stays where it was.
  np.testing.assert_array_equal(solution.unknowns[:, 3], 7)


def test_the_cost_never_rises_and_each_stops_for_itself(problem):
  measured, begin = problem
  costs = np.array(
    [found(measured, "cholesky", n, begin).system.cost for n in range(9)]
  )
  assert (np.diff(costs, axis=0) <= 0).all()
  solution = found(measured, "cholesky", 100, begin)
  assert len(set(solution.steps.tolist())) > 1
  again = found(measured, "cholesky", 100, solution.unknowns)
  np.testing.assert_allclose(again.unknowns, solution.unknowns, atol=1e-5)
  assert again.steps.max() < solution.steps.max()


def test_a_problem_that_is_not_finite_leaves_the_others_alone(problem):
  measured, begin = problem
  broken = measured.copy()
  broken[4] = np.nan
  whole = found(measured, "cholesky", 100, begin)
  solution = found(broken, "cholesky", 100, begin)
  assert solution.converged.tolist() == [i != 4 for i in range(10)]
  np.testing.assert_array_equal(solution.unknowns[4], begin[4])
  rest = np.arange(10) != 4
  np.testing.assert_array_equal(solution.unknowns[rest], whole.unknowns[rest])


def test_too_few_steps_are_told(problem):
  measured, begin = problem
  solution = found(measured, "cholesky", 2, begin)
  assert not solution.converged.any()
  assert (solution.steps == 2).all()

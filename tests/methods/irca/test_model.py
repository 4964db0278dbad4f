"""Unknowns of an interferometer: there, back, and their slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.irca import refine
from protojax.methods.irca.model import Model
from tests.methods.irca import irca_fakes

S = irca_fakes.wavenumbers(40)


@pytest.fixture(autouse=True)
def _double():
  with jax.enable_x64(True):
    yield


def model(**changes):
  kept = {"waves": 0, "bounded": True, "reflectivity": 2, "gain": 3}
  return Model(**{**kept, "ends": irca_fakes.ENDS, **changes})


@pytest.fixture(scope="module")
def drawn():
  """OPD, phase shift and coefficients of four interferometers."""
  rng = np.random.default_rng(0)
  return (
    rng.uniform(1, 60, 4),
    rng.uniform(0, 2 * np.pi, 4),
    rng.normal(size=(4, 3)) * 0.3 - 1,
    1 + rng.normal(size=(4, 4)) * 0.2,
  )


@pytest.mark.parametrize("bounded", [True, False])
def test_unknowns_give_the_formula_and_come_back(drawn, bounded):
  opd, phase, r, g = drawn
  r = r if bounded else 0.3 + 0.1 * r
  one = model(bounded=bounded)

  @jax.jit
  def there_and_back(opd, phase, r, g):
    unknowns = one.encoded(opd, phase, r, g)
    curves = one.parts(S, unknowns).value, one.reflectivities(S, r)
    return unknowns, one.decoded(unknowns), curves

  unknowns, decoded, curves = there_and_back(opd, phase, r, g)
  assert unknowns.shape == (4, one.unknowns)
  for found, given in zip(decoded, (opd, phase, r, g), strict=True):
    np.testing.assert_allclose(found, given, rtol=1e-12, atol=1e-11)
  x = (2 * S - S[0] - S[-1]) / np.ptp(S)
  value = np.polynomial.chebyshev.chebval(x, r.T)
  reflectivity = 1 / (1 + np.exp(-value)) if bounded else value
  gain = np.polynomial.chebyshev.chebval(x, g.T)
  expected = irca_fakes.airy(S, opd, phase, reflectivity, gain)
  np.testing.assert_allclose(curves[0], expected, rtol=1e-10)
  np.testing.assert_allclose(curves[1], reflectivity)


@pytest.mark.parametrize(("waves", "bounded"), [(0, True), (3, False)])
def test_normal_equations_are_those_of_autodiff(drawn, waves, bounded):
  """Sums of products of slopes, against J from `jax.jacfwd`."""
  opd, phase, r, g = drawn
  one = model(waves=waves, bounded=bounded)
  r = r if bounded else 0.3 + 0.1 * r
  unknowns = np.asarray(one.encoded(opd, phase, r, g))
  rng = np.random.default_rng(1)
  residual, weights = rng.uniform(0.1, 1, (2, 4, len(S)))
  jacobian = jax.jit(
    jax.vmap(jax.jacfwd(lambda u: one.parts(S, u[None]).value[0]))
  )(unknowns)
  jacobian = np.asarray(jacobian)
  normal = np.einsum("bcp,bc,bcq->bpq", jacobian, weights, jacobian)
  gradient = np.einsum("bcp,bc->bp", jacobian, weights * residual)
  off = refine.Off(*map(jnp.asarray, (residual, weights)), 0.0, jnp.zeros(4))
  free = jnp.ones(one.unknowns)

  @jax.jit
  def systems(unknowns):
    parts = one.parts(S, unknowns)
    return (
      refine.normal_equations(one, S, free, parts, off),
      refine.tall_system(one, S, free, parts, off),
    )

  found, tall = systems(unknowns)
  largest = np.abs(normal).max()
  np.testing.assert_allclose(found[2], normal, atol=1e-10 * largest)
  np.testing.assert_allclose(found[0], gradient, atol=1e-9 * largest)
  root = np.sqrt(weights)[..., None]
  # The last row is the staircase's.
  assert (tall[2][0][:, -1] == 0).all()
  np.testing.assert_allclose(tall[2][0][:, :-1], root * jacobian, atol=1e-9)
  np.testing.assert_allclose(tall[0], found[0], atol=1e-9 * largest)
  np.testing.assert_allclose(tall[1], found[1], atol=1e-9 * largest)


def test_the_way_outward_is_the_derivative_of_decoding(drawn):
  opd, phase, r, g = drawn
  one = model()
  unknowns = one.encoded(opd, phase, r, g)[0]
  slopes = jax.jit(
    jax.jacfwd(
      lambda u: jnp.concatenate(
        [jnp.ravel(part) for part in one.decoded(u[None])]
      )
    )
  )(unknowns)
  np.testing.assert_allclose(one.outward(), slopes, atol=1e-12)


def test_a_constant_reflectivity_is_the_same_everywhere():
  r = np.array([0.0, 0.3, 0.999])
  for bounded in (True, False):
    one = model(bounded=bounded)
    found = one.reflectivities(S, one.constant(r))
    np.testing.assert_allclose(
      found, np.broadcast_to(r[:, None], found.shape), atol=2e-4
    )


def test_unknowns_of_groups():
  found = model().of_groups(("opd", "gain"))
  assert np.flatnonzero(found).tolist() == [1, 5, 6, 7, 8]
  found = model().of_groups(("phase", "reflectivity"))
  assert np.flatnonzero(found).tolist() == [0, 2, 3, 4]

import jax
import numpy as np
import pytest

from protojax.methods.patchct import losses

LOGITS = np.array([[2.0, -1.0, 0.3], [-30.0, 40.0, 0.0]], np.float32)
LABELS = np.array([[1, 0, -1], [0, 1, 1]])


def test_without_exponents_and_margin_it_is_the_cross_entropy():
  found = losses.asymmetric(LOGITS, LABELS, 0.0, 0.0, 0.0)
  p = 1 / (1 + np.exp(-np.float64(LOGITS)))
  expected = [
    -np.log(p[0, 0]) - np.log(1 - p[0, 1]),
    -np.log(1 - p[1, 0]) - np.log(p[1, 1]) - np.log(p[1, 2]),
  ]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_is_the_formula_of_the_paper():
  found = losses.asymmetric(LOGITS, LABELS, 1.0, 4.0, 0.05)
  p = 1 / (1 + np.exp(-np.float64(LOGITS)))
  shifted = np.maximum(p - 0.05, 0)
  there = -(1 - p) * np.log(p)
  absent = -(shifted**4) * np.log(1 - shifted)
  expected = np.where(LABELS == 1, there, np.where(LABELS == 0, absent, 0))
  np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
  ("positive", "negative"), [(0.0, 0.0), (0.0, 2.0), (0.0, 4.0), (0.5, 0.5)]
)
def test_its_gradient_is_finite_and_unknown_labels_have_none(
  positive, negative
):
  def total(z):
    return losses.asymmetric(z, LABELS, positive, negative, 0.05).sum()

  gradient = jax.jit(jax.grad(total))(LOGITS)
  assert np.isfinite(gradient).all()
  assert gradient[0, 2] == 0


def test_the_scores_of_patches_are_a_soft_maximum():
  s = np.array([[[0.1, 0.5], [0.9, 0.5]]], np.float32)
  np.testing.assert_allclose(
    losses.patch_scores(s, 1e-3), [[0.9, 0.5]], atol=1e-3
  )
  np.testing.assert_allclose(
    losses.patch_scores(s, 1e3), [[0.5, 0.5]], atol=1e-3
  )


def test_the_hinge_is_of_absent_labels_alone():
  s = np.array([[[0.5, 0.9, 0.6], [0.1, 0.9, 0.9]]], np.float32)
  plan = np.full_like(s, 0.5)
  found = losses.absent_hinge(s, plan, np.array([[0, 1, -1]]), 0.2)
  np.testing.assert_allclose(found, [0.15], atol=1e-6)
  nothing = losses.absent_hinge(s, plan, np.array([[1, 1, 1]]), 0.2)
  np.testing.assert_allclose(nothing, [0.0])

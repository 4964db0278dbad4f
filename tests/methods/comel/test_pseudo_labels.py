"""BPPL by hand, and the bounds that keep the reference setting from firing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.comel import pseudo_labels
from protojax.methods.comel.network import probabilities
from protojax.methods.comel.pseudo_labels import Settings

REFERENCE = Settings(features="plain", temperature=1.0)
VALID = np.arange(20) < 16


def _bag(seed):
  rng = np.random.default_rng(seed)
  features = np.float32(rng.normal(size=(20, 4)))
  scores = np.where(VALID, np.float32(2 * rng.normal(size=20)), -np.inf)
  attended = np.exp(scores - scores.max())
  return features, np.float32(attended / attended.sum())


@functools.partial(jax.jit, static_argnums=3)
def _labelled(features, attended, valid, settings, least):
  found = pseudo_labels.labels(features, attended, valid, settings)
  least = jnp.float32(least)
  return found, pseudo_labels.kept(found, valid, least, settings)


def _cosine(a, b):
  return a @ b / np.linalg.norm(a, axis=-1) / np.linalg.norm(b)


@pytest.mark.parametrize("settings", [REFERENCE, Settings()])
def test_labels_are_the_formula(settings):
  features, attended = _bag(0)
  x, a = features[:16].astype(float), attended[:16].astype(float)
  b = (1 - a) / np.sum(1 - a)
  plus, minus = a @ x, b @ x
  if settings.features == "centred":
    middle = (plus + minus) / 2
    x, plus, minus = x - middle, plus - middle, minus - middle
  cosines = np.stack([_cosine(x, minus), _cosine(x, plus)])
  q = np.exp(cosines / settings.temperature)
  q /= q.sum(axis=0)
  np.testing.assert_allclose(q.sum(axis=0), 1)
  found, kept = _labelled(features, attended, VALID, settings, 0.6)
  np.testing.assert_allclose(found.positive[:16], q[1], atol=1e-5)
  np.testing.assert_array_equal(found.label[:16], q.argmax(axis=0))
  np.testing.assert_array_equal(kept[:16], q.max(axis=0) > 0.6)
  assert not kept[16:].any()


def test_the_background_sums_to_1_and_becomes_even():
  for kind in pseudo_labels.BACKGROUNDS:
    _, attended = _bag(1)
    found = np.asarray(pseudo_labels.background(attended, VALID, kind))
    assert found.sum() == pytest.approx(1)
    assert not found[16:].any()
  rng = np.random.default_rng(0)
  attended = rng.random(1000).astype(np.float32)
  attended /= attended.sum()
  found = pseudo_labels.background(attended, np.ones(1000, bool), "complement")
  np.testing.assert_allclose(found, 1 / 1000, rtol=0.01)


@pytest.mark.parametrize("kind", pseudo_labels.BACKGROUNDS)
def test_a_bag_of_one_instance_has_a_background(kind):
  valid = np.array([True, False])
  found = pseudo_labels.background(np.float32([1, 0]), valid, kind)
  assert found.tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_the_reference_setting_cannot_be_sure(seed):
  """|q - 1/2| is bounded by the angle of the prototypes; at most 0.881."""
  features, attended = _bag(seed)
  found, kept = _labelled(features, attended, VALID, REFERENCE, 0.881)
  assert not kept.any()
  bound = np.sqrt(2 - 2 * float(found.cosine))
  most = 1 / (1 + np.exp(-bound))
  sure = np.maximum(found.positive, 1 - found.positive)[:16]
  assert sure.max() <= most + 1e-6
  # tau_2 of 0.75, where the quality is 1, needs a gap of ln 3.
  if float(found.cosine) > 0.397:
    assert sure.max() < 0.75


@functools.partial(jax.jit, static_argnums=2)
def _loss(scores, features, settings, least):
  least = jnp.float32(least)
  attended = jax.nn.softmax(jnp.where(VALID, scores, -jnp.inf))
  found = pseudo_labels.labels(features, attended, VALID, settings)
  kept = pseudo_labels.kept(found, VALID, least, settings)
  return pseudo_labels.loss(found, kept, attended, VALID, settings)


_GRADIENT = jax.jit(jax.value_and_grad(_loss, argnums=(0, 1)), static_argnums=2)


@pytest.mark.parametrize("kept", pseudo_labels.KEPT)
def test_the_loss_is_its_formula(kept):
  features, attended = _bag(2)
  settings = Settings(kept=kept)
  found, chosen = (
    jax.tree.map(np.asarray, part)
    for part in _labelled(features, attended, VALID, settings, 0.7)
  )
  assert 0 < chosen.sum() < 16
  p = np.asarray(probabilities(attended, VALID)).astype(float)
  a = attended[:16].astype(float)
  np.testing.assert_allclose(p[:16], (a - a.min()) / a.max(), atol=1e-6)
  own = np.where(found.label == 1, p, 1 - p)[chosen]
  count = 16 if kept == "both" else (found.label[:16] == 1).sum()
  with np.errstate(divide="ignore"):
    scores = np.where(VALID, np.log(attended), 0)
  value = _loss(np.float32(scores), features, settings, 0.7)
  np.testing.assert_allclose(
    value, -np.log(own + 1e-10).sum() / count, rtol=1e-3
  )


def test_without_a_kept_label_there_is_no_loss_and_no_gradient():
  features, attended = _bag(3)
  scores = jnp.asarray(np.where(VALID, attended, 0))
  value, (gradient, _) = _GRADIENT(scores, features, Settings(), 1.1)
  assert float(value) == 0
  assert not np.asarray(gradient).any()


def test_gradients_go_through_the_attention_alone():
  features, attended = _bag(2)
  scores = jnp.asarray(np.where(VALID, np.log(attended + 1e-9), 0))
  _, (of_scores, of_features) = _GRADIENT(scores, features, Settings(), 0.7)
  assert np.isfinite(of_scores).all()
  assert np.asarray(of_scores).any()
  assert not np.asarray(of_features).any()


@pytest.mark.parametrize(("p", "label"), [(-1e-9, 1), (1 + 1.2e-7, 0)])
def test_a_probability_that_was_rounded_has_a_loss_but_no_gradient(p, label):
  """Compiled, p of the least positive instance was -1.2e-9: nan at step 89."""

  def total(p):
    return jnp.sum(pseudo_labels.surprise(p, np.full(1, label)))

  value, gradient = jax.value_and_grad(total)(jnp.full(1, p, jnp.float32))
  np.testing.assert_allclose(value, -np.log(1e-10), rtol=1e-6)
  assert float(gradient[0]) == 0


def test_gradients_of_positive_labels_are_not_rounding():
  def total(scores):
    attended = jax.nn.softmax(scores)
    every, label = np.ones(20, bool), np.ones(20, int)
    found = pseudo_labels.Labels(attended, label, jnp.float32(0))
    return pseudo_labels.loss(found, every, attended, every, Settings())

  rng = np.random.default_rng(0)
  scores = jnp.asarray(rng.normal(size=(2000, 20)) * 5, jnp.float32)
  values, gradients = jax.jit(jax.vmap(jax.value_and_grad(total)))(scores)
  assert np.isfinite(values).all()
  # Without the least positive instance it is 0.9; with it rounding made it 36.
  assert np.abs(gradients).max() < 1


def test_the_least_positive_instance_is_0_and_the_most_below_1():
  p = probabilities(np.float32([0.2, 0.5, 0.3, 0.0]), np.arange(4) < 3)
  np.testing.assert_allclose(p, [0, 0.6, 0.2, 0], atol=1e-6)

"""Trust, anchors, terms of the loss and DDIM, in closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax import parallel
from protojax.data.splits import held_out
from protojax.engine import memory
from protojax.methods.noisy_pseudo_label_diffusion import (
  anchors,
  corruption,
  labelled,
  losses,
  trust,
)
from protojax.methods.noisy_pseudo_label_diffusion import network as networks
from protojax.types import UserError

_K, _D, _TAU = 4, 6, 0.1


def _on(devices, function, *rows, fixed=()):
  """What a function gives of rows that are spread over devices."""
  split = [np.asarray(x).reshape(devices, -1, *np.shape(x)[1:]) for x in rows]
  mapped = jax.vmap(
    lambda *own: function(*fixed, *own), axis_name=parallel.mapped.AXIS
  )
  return jax.jit(mapped)(*split)


def _unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def cells():
  """Unit vectors, classes of which 3 never occurs and 255 is unknown."""
  rng = np.random.default_rng(0)
  vectors = np.float32(_unit(rng.normal(size=(24, _D))))
  labels = rng.choice([0, 1, 2, 255], 24).astype(np.int32)
  weights = np.float32(rng.uniform(size=24) * (rng.uniform(size=24) > 0.3))
  return vectors, labels, weights


# Prototypes.


@pytest.mark.parametrize("devices", [1, 2])
def test_prototypes_are_the_running_means_of_a_loop(cells, devices):
  vectors, labels, weights = cells
  found = anchors.nothing(_K, _D)
  expected, seen = np.zeros((_K, _D)), np.zeros(_K)
  rng = np.random.default_rng(1)
  for step in range(4):
    # In the first batch the class 2 is not there.
    shown = np.where((labels == 2) & (step == 0), 255, labels)
    rows = np.float32(_unit(vectors + 0.3 * rng.normal(size=vectors.shape)))
    moved = _on(
      devices,
      lambda v, y, w, now=found: anchors.moved(now, v, y, w, 0.9),
      rows,
      shown,
      weights,
    )
    for x in moved:
      assert_allclose(x, np.broadcast_to(x[:1], x.shape), atol=1e-6)
    found = anchors.Prototypes(*(np.asarray(x[0]) for x in moved))
    for k in range(_K):
      w = weights * (shown == k)
      if w.sum():
        mean = (w[:, None] * rows).sum(axis=0) / w.sum()
        old = 0.9 * expected[k] + 0.1 * mean if seen[k] else mean
        expected[k], seen[k] = old / np.linalg.norm(old), seen[k] + 1
    assert_allclose(found.vectors, expected, atol=1e-5)
    assert_array_equal(found.updates, seen)
  assert_array_equal(seen, [4, 4, 3, 0])
  assert_allclose(np.linalg.norm(found.vectors[:3], axis=1), 1, atol=1e-6)


def test_what_prototypes_drift_is_one_less_their_cosine():
  before = anchors.Prototypes(np.eye(3, dtype=np.float32), np.ones(3))
  turned = np.float32([[0.6, 0.8, 0], [0, 1, 0], [0, 0, 1]])
  after = anchors.Prototypes(turned, np.ones(3))
  assert_allclose(anchors.drift(before, after), 0.4 / 3, atol=1e-6)
  new = before._replace(updates=np.float32([0, 1, 1]))
  assert_allclose(anchors.drift(new, after), 0, atol=1e-6)


def test_a_teacher_is_the_closed_form_of_its_loop():
  teacher, now = {"x": np.float32([3.0, -2.0])}, {"x": np.float32([1.0, 5.0])}
  for _ in range(7):
    teacher = memory.ema(teacher, now, 0.9)
  expected = 0.9**7 * np.array([3, -2]) + (1 - 0.9**7) * np.array([1, 5])
  assert_allclose(teacher["x"], expected, rtol=1e-5)


# Trust.


def test_seeds_that_agree_have_no_disagreement_and_opposite_ones_all():
  disagreement = jax.jit(trust.disagreement)
  p = np.float32([[[[[0.7, 0.3]]]], [[[[0.7, 0.3]]]]])
  assert_allclose(disagreement(p), [[[0]]], atol=1e-6)
  opposite = np.float32([[[[[1, 0]]]], [[[[0, 1]]]]])
  assert_allclose(disagreement(opposite), [[[1]]], atol=1e-6)
  # Three seeds can differ by more than a bit.
  three = np.eye(3, dtype=np.float32)[:, None, None, None]
  assert_allclose(disagreement(three), [[[1]]], atol=1e-6)


def test_trust_is_a_product_of_three_factors():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.full(3, 0.3), (2, 2, 4, 4)).astype(np.float32)
  scores = rng.normal(size=p.shape).astype(np.float32)
  mean = p.mean(axis=0)
  labels = mean.argmax(axis=-1).astype(np.int32)
  labels[0, 0, 0] = 3  # unknown
  entropy = lambda p: -(p * np.log(np.maximum(p, 1e-30))).sum(axis=-1)  # noqa: E731
  apart = (entropy(mean) - entropy(p).mean(axis=0)) / math.log(2)
  sure = mean.max(axis=-1) > 0.6
  near = scores.mean(axis=0).argmax(axis=-1) == labels
  known = labels < 3
  assert 0 < (sure & near & known).sum() < (sure & known).sum()
  for rule, expected in (
    (trust.Rule(0.6, True, True), known * sure * near * (1 - apart)),
    (trust.Rule(0.6, True, False), known * sure * near),
    (trust.Rule(0.6, False, True), known * sure * (1 - apart)),
    (trust.Rule(-1.0, False, False), known),
    (trust.Rule(1.0, False, False), 0 * known),
  ):
    weights = jax.jit(trust.weights, static_argnums=0)
    found = weights(rule, p, scores, labels)
    assert_allclose(found, np.clip(expected, 0, 1), atol=1e-5)


# Terms of the loss.


def test_contrast_at_the_prototypes_is_a_closed_form():
  """log(1 + (k - 1) exp(-1 / tau)), as the issue's spec has it."""
  prototypes = np.eye(_K, _D, dtype=np.float32)
  labels = np.int32([0, 1, 2, 3, 1, 1])
  scores = prototypes[labels] @ prototypes.T / _TAU
  found = _on(1, losses.contrast, scores, labels, np.ones(6, np.float32))
  expected = math.log(1 + (_K - 1) * math.exp(-1 / _TAU))
  assert_allclose(found.total / found.count, [expected], atol=2e-6)


def _contrast(scores, labels, weights):
  """The naive twin: by class, then over classes."""
  means = []
  for k in range(scores.shape[1]):
    own = (labels == k) & (weights > 0)
    if own.any():
      each = [
        w * (np.log(np.exp(s).sum()) - s[k])
        for s, w in zip(scores[own], weights[own], strict=True)
      ]
      means.append(np.mean(each))
  return np.mean(means)


@pytest.mark.parametrize("devices", [1, 2])
def test_contrast_is_a_mean_of_class_means(cells, devices):
  vectors, labels, weights = cells
  scores = 3 * vectors[:, :_K]
  found = _on(devices, losses.contrast, scores, labels, weights)
  expected = _contrast(np.float64(scores), labels, weights)
  assert_allclose(found.total.sum() / found.count.sum(), expected, rtol=1e-5)


def test_without_trust_there_is_no_gradient(cells):
  vectors, labels, weights = cells

  def both(scores, labels, weights):
    own = losses.contrast(scores, labels, weights).total
    return own + losses.cross_entropy(scores, labels, weights).total

  scores = vectors[:, :_K]
  found = _on(1, jax.grad(both), scores, labels, weights)[0]
  assert_array_equal(found[(weights == 0) | (labels == 255)], 0)
  assert np.abs(found[(weights > 0) & (labels < 255)]).min() > 1e-4


def test_low_trust_lowers_the_pseudo_label_term():
  """It is divided by the number of cells, not by the sum of the trust."""
  logits, labels = np.zeros((5, _K), np.float32), np.arange(5, dtype=np.int32)
  labels = labels % _K
  entropy = jax.jit(losses.cross_entropy)
  whole = entropy(logits, labels, np.ones(5, np.float32))
  half = entropy(logits, labels, np.full(5, 0.5, np.float32))
  assert_allclose(whole.total / whole.count, math.log(_K), rtol=1e-6)
  assert_allclose(half.total / half.count, math.log(_K) / 2, rtol=1e-6)


def test_consistency_has_no_gradient_where_the_views_agree(cells):
  scores, valid = 5 * cells[0][:, :_K], np.ones(24, bool)

  def total(first, second):
    return losses.consistency(first, second, valid).total

  gradient = jax.jit(jax.grad(total, (0, 1)))
  for found in gradient(scores, scores.copy()):
    assert_allclose(found, 0, atol=1e-6)
  first, second = gradient(scores, scores[::-1].copy())
  q = jax.nn.softmax(scores)
  assert_allclose(second, (q[::-1] - q) / 2, atol=1e-5)
  assert_allclose(first, (q - q[::-1]) / 2, atol=1e-5)


def test_cells_without_a_class_change_no_term():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 4, 4, _K)).astype(np.float32)
  labels = rng.integers(0, _K, (2, 4, 4)).astype(np.int32)
  labels[:, 2:] = 255
  other = logits.copy()
  other[:, 2:] = 9 * rng.normal(size=other[:, 2:].shape)
  entropy, dice = jax.jit(losses.cross_entropy), jax.jit(losses.dice)
  for term in (entropy, dice):
    assert_allclose(term(logits, labels), term(other, labels), rtol=1e-6)
  cut = entropy(logits[:, :2], labels[:, :2])
  assert_allclose(entropy(logits, labels), cut, rtol=1e-6)
  valid = labels < _K
  consistency = jax.jit(losses.consistency)
  assert_allclose(
    consistency(logits, logits[::-1], valid),
    consistency(other, other[::-1], valid),
    rtol=1e-5,
  )


def test_dice_is_a_mean_over_the_classes_of_an_image():
  labels = np.int32([[[0, 0], [1, 1]], [[2, 2], [2, 2]]])
  right = 40 * np.eye(3, dtype=np.float32)[labels]
  assert_allclose(losses.dice(right, labels), [0, 2], atol=1e-5)
  # Of two classes one is found whole, and taken for the other one, too.
  said = right.copy()
  said[0] = 40 * np.float32([1, 0, 0])
  expected = ((1 - 2 * 2 / (4 + 2)) + 1) / 2
  assert_allclose(losses.dice(said, labels)[0], expected, atol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_separation_and_its_gradient(cells, devices):
  vectors, labels, _ = cells
  prototypes = np.zeros((_K, _D), np.float32)
  prototypes[:3] = _unit(np.random.default_rng(3).normal(size=(3, _D)))
  margin = -0.1

  def own(v, y):
    value = losses.separation(v, y, prototypes, margin)
    # Of a value that all devices have, `descent` takes the mean.
    return value / devices

  value, gradient = _on(devices, jax.value_and_grad(own), vectors, labels)

  def naive(v):
    total, count = 0.0, 0
    for k in range(3):
      rows = v[labels == k]
      mean = jnp.sum(rows, axis=0)
      mean = mean / jnp.linalg.norm(mean)
      for other in range(3):
        if other != k:
          cosine = jnp.sum(mean * prototypes[other])
          total, count = total + jnp.maximum(cosine - margin, 0), count + 1
    return total / count

  expected, slope = jax.jit(jax.value_and_grad(naive))(vectors)
  assert_allclose(jnp.sum(value), expected, rtol=1e-5)
  assert_allclose(gradient.reshape(slope.shape), slope, atol=1e-6)


# DDIM over labels.


def test_a_perfect_denoiser_gives_the_truth_for_every_number_of_steps():
  """One that knows the classes, and one that only knows the latents."""
  rng = np.random.default_rng(0)
  table = np.eye(_K, _D, dtype=np.float32)
  truth = rng.integers(0, _K, (2, 3, 3))
  noise = rng.normal(size=(2, 3, 3, _D)).astype(np.float32)
  right = np.float32(np.eye(_K)[truth])

  def clean(found):
    return jnp.asarray(table)[jnp.argmax(found, axis=-1)]

  def known(z, t):
    del z, t
    return jnp.asarray(right)

  def read(z, t):
    # Of pure noise it says the truth; then what lies nearest in the latents.
    alpha, _ = networks.PROCESS.scales(t)
    centres = alpha[:, None, None, None, None] * table[None, None, None]
    near = -jnp.sum((z[..., None, :] - centres) ** 2, axis=-1)
    return jnp.where((t > 990)[:, None, None, None], right, near)

  for steps in (1, 2, 3, 6):
    found = networks.denoised(known, clean, noise, steps)
    assert_array_equal(np.argmax(found, axis=-1), truth)
  path = networks.denoised(known, clean, noise, 3, whole=True)
  assert path.shape == (3, *right.shape)
  # The step from 1 to 1/3 leaves so little noise that large latents are read.
  table *= 20
  found = networks.denoised(read, clean, noise, 2)
  assert_array_equal(np.argmax(found, axis=-1), truth)


def test_one_step_is_one_pass_from_noise():
  noise = np.random.default_rng(0).normal(size=(2, 3, 3, _D))
  asked = []

  def read(z, t):
    asked.append((z, t))
    return z

  found = networks.denoised(read, lambda x: x, np.float32(noise), 1)
  z, t = asked[-1]
  assert_array_equal(found, np.float32(noise))
  assert_array_equal(z, np.float32(noise))
  assert_array_equal(t, [999, 999])


def test_pairs_of_times_are_ddps():
  thirds = [[999, 1000 / 3], [2000 / 3, 0], [1000 / 3, 0]]
  assert_allclose(networks.pairs(3), thirds, atol=1e-3)
  assert_allclose(networks.pairs(1), [[999, 0]])


# Wrong labels on purpose, and who is labelled.


def test_corruption_flips_connected_regions_at_its_rate():
  keys = jax.random.split(parallel.key(0), 64)
  labels = np.zeros((64, 12, 12), np.int32)
  wrong = jax.jit(corruption.corrupted, static_argnums=(3, 4))
  assert_array_equal(wrong(labels, keys, 0.0, 16, 5), labels)
  for rate in (0.1, 0.4):
    found = np.asarray(wrong(labels, keys, rate, 16, 5))
    assert abs((found != 0).mean() - rate) < 0.04
    assert set(np.unique(found)) == set(range(5))
  # All of them: no cell keeps its class.
  assert (np.asarray(wrong(labels, keys, 1.0, 16, 5)) != 0).all()


class _Source:
  """Images of groups; some have masks."""

  class_names, skipped = ("a",), ()

  def __init__(self, groups=None, known=None):
    self.labels = np.full(12, -1, np.int32)
    if groups is not None:
      self.groups = np.asarray(groups, np.int32)
    if known is not None:
      self.labelled = np.asarray(known)

  def __len__(self):
    return 12

  def __getitem__(self, i):
    return {"name": self.name(i)}

  def name(self, i):
    return str(i)


def test_a_share_of_the_groups_is_labelled():
  found = labelled.rows(_Source(), 0.25, 0)
  assert (len(found.labelled), len(found.unlabelled)) == (3, 9)
  assert_array_equal(found.labelled, held_out([*map(str, range(12))], 0.25, 0))
  groups = np.arange(12) // 3
  found = labelled.rows(_Source(groups), 0.25, 0)
  assert len(set(groups[found.labelled])) == 1
  assert len(found.labelled) == 3
  assert not set(groups[found.labelled]) & set(groups[found.unlabelled])
  whole = labelled.rows(_Source(), 1.0, 0)
  assert_array_equal(whole.labelled, whole.unlabelled)


def test_a_source_says_itself_what_is_labelled():
  known = np.arange(12) % 5 == 0
  found = labelled.rows(_Source(known=known), 0.5, 0)
  assert_array_equal(found.labelled, np.flatnonzero(known))
  assert_array_equal(found.unlabelled, np.flatnonzero(~known))
  with pytest.raises(UserError, match="no training image has a mask"):
    labelled.rows(_Source(known=known & False), 0.5, 0)
  with pytest.raises(
    UserError, match="12 training images are of a single grou"
  ):
    labelled.rows(_Source(np.zeros(12)), 0.5, 0)

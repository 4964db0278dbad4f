"""The mixture of experts: Algorithm 1 as a loop, invariants, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.promoe import experts
from protojax.methods.promoe.mixture import Mixture
from protojax.methods.promoe.routing import Rule

B, L, D, E = 3, 4, 8, 5
NULL = np.array([False, True, False])
LABEL = np.int32([1, 0, 2])
MIXTURE = Mixture(Rule(E), width=6, shared=7, strategy="dense_all")


@pytest.fixture(scope="module")
def hidden():
  return np.float32(np.random.default_rng(0).normal(size=(B, L, D)))


@pytest.fixture(scope="module")
def params(hidden):
  """Random biases, too, or permutations of them would not be seen."""
  made = jax.jit(MIXTURE.init)(jax.random.key(0), hidden, NULL, LABEL)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: np.float32(x + 0.3 * rng.normal(size=x.shape)), made["params"]
  )


_APPLIED = {}


def apply(params, hidden, null=NULL, **changes):
  """Compiled once for each mixture."""
  module = dataclasses.replace(MIXTURE, **changes)
  if module not in _APPLIED:
    _APPLIED[module] = jax.jit(module.apply)
  return _APPLIED[module]({"params": params}, hidden, null, LABEL)


def algorithm_1(params, hidden, null):
  """Token by token, written from the paper."""

  def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

  def expert(h, up, up_bias, down, down_bias):
    return gelu(h @ up + up_bias) @ down + down_bias

  names = "up", "up_bias", "down", "down_bias"
  out = np.zeros(hidden.shape)
  for b, sample in enumerate(np.float64(hidden)):
    for i, h in enumerate(sample):
      s = params["shared_up"], params["shared_down"]
      out[b, i] = expert(
        h, s[0]["kernel"], s[0]["bias"], s[1]["kernel"], s[1]["bias"]
      )
      chosen, gate = E, 1.0
      if not null[b]:
        p = params["prototypes"]
        z = p @ h / np.linalg.norm(p, axis=1) / np.linalg.norm(h)
        chosen = z.argmax()
        gate = z[chosen]
      out[b, i] += gate * expert(h, *(params[name][chosen] for name in names))
  return out


@pytest.mark.parametrize("strategy", ["dense_all", "buckets"])
def test_it_is_algorithm_1(params, hidden, strategy):
  found, _ = apply(params, hidden, strategy=strategy)
  np.testing.assert_allclose(
    found, algorithm_1(params, hidden, NULL), atol=1e-5
  )


def test_evidence_tells_where_the_tokens_went(params, hidden):
  _, evidence = apply(params, hidden)
  z, chosen = (np.asarray(evidence[k]) for k in ("similarity", "chosen"))
  assert chosen[NULL, :, E].all()
  assert not chosen[NULL, :, :E].any()
  assert (chosen.sum(-1) == 1).all()
  assert (chosen[~NULL].argmax(-1) == z[~NULL].argmax(-1)).all()
  own = chosen[..., :E]
  np.testing.assert_array_equal(evidence["counts"], own.sum((0, 1)))
  sums = np.einsum("ble,bld->ed", own, hidden)
  np.testing.assert_allclose(evidence["sums"], sums, atol=1e-5)
  gates = np.where(own, z, 0)
  np.testing.assert_allclose(evidence["gates"][..., :E], gates, atol=1e-6)
  likely = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
  np.testing.assert_allclose(
    evidence["probabilities"], likely[~NULL].sum((0, 1)), rtol=1e-5
  )


def test_permuted_experts_and_tokens_change_nothing_else(params, hidden):
  expected, _ = apply(params, hidden)
  order = np.array([3, 1, 4, 0, 2])
  moved = dict(params)
  moved["prototypes"] = params["prototypes"][order]
  for name in ("up", "up_bias", "down", "down_bias"):
    moved[name] = params[name][np.append(order, E)]
  found, _ = apply(moved, hidden)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  tokens = np.array([2, 0, 3, 1])
  found, _ = apply(params, hidden[:, tokens])
  np.testing.assert_allclose(found, expected[:, tokens], atol=1e-5)


def test_all_experts_are_a_dense_weighted_sum(params, hidden):
  """Top-K with K = N_E."""
  rule = Rule(E, top_k=E)
  null = np.zeros(B, bool)
  found, evidence = apply(params, hidden, null, rule=rule, shared=0)
  w = experts.Experts(
    *(params[n][:E] for n in ("up", "up_bias", "down", "down_bias"))
  )
  rows = jnp.broadcast_to(hidden.reshape(1, B * L, D), (E, B * L, D))
  every = np.asarray(experts.batched(w, rows)).reshape(E, B, L, D)
  expected = np.einsum("ble,ebld->bld", evidence["similarity"], every)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
  "choice", ["token", pytest.param("expert", marks=pytest.mark.slow)]
)
def test_null_samples_and_others_never_share_an_expert(params, hidden, choice):
  """Exactly zero gradient, for either choice."""
  module = dataclasses.replace(
    MIXTURE, rule=Rule(E, choice=choice), strategy="buckets"
  )

  @jax.jit
  def slopes(params, null):
    def loss(params):
      out, _ = module.apply({"params": params}, hidden, null, LABEL)
      return jnp.sum(jnp.sin(out))

    return jax.grad(loss)(params)

  names = "up", "up_bias", "down", "down_bias"
  every = slopes(params, np.ones(B, bool))
  none = slopes(params, np.zeros(B, bool))
  for name in names:
    assert not np.asarray(every[name])[:E].any()
    assert np.asarray(every[name])[E].any()
    assert not np.asarray(none[name])[E].any()
  assert not np.asarray(every["prototypes"]).any()
  assert np.asarray(none["prototypes"]).any()


def test_the_choice_of_experts_has_its_loss_by_sample(params, hidden):
  rule = Rule(E, choice="expert", top_k=2)
  _, evidence = apply(params, hidden, rule=rule)
  z = np.asarray(evidence["similarity"])
  p = params["prototypes"]
  p = p / np.linalg.norm(p, axis=1, keepdims=True)
  each = []
  for b in np.flatnonzero(~NULL):
    picked = np.argsort(-z[b], axis=0)[:1]
    means = hidden[b][picked].mean(0)
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    logits = np.exp(p @ means.T / MIXTURE.temperature)
    each.append(-np.log(np.diag(logits) / logits.sum(1)).mean())
  total, count = evidence["contrast"]
  assert count == 2
  assert float(total) == pytest.approx(sum(each), rel=1e-4)


def test_in_bfloat16_tokens_are_routed_in_float32(params, hidden):
  expected, evidence = apply(params, hidden)
  found, half = apply(params, hidden, dtype="bfloat16")
  np.testing.assert_array_equal(half["chosen"], evidence["chosen"])
  np.testing.assert_array_equal(half["similarity"], evidence["similarity"])
  assert found.dtype == jnp.float32
  off = np.abs(found - expected)
  assert 0 < off.max() < 0.1

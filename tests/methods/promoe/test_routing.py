"""Routing of tokens: each router against a loop, and what it must keep to."""

import jax
import numpy as np
import pytest

from protojax.methods.promoe import routing
from protojax.methods.promoe.routing import Rule

B, L, D, E = 4, 6, 8, 5
NULL = np.array([False, True, False, False])
LABEL = np.int32([0, 3, 7, 9])


@pytest.fixture(scope="module")
def drawn():
  rng = np.random.default_rng(0)
  hidden = np.float32(rng.normal(size=(B, L, D)))
  return hidden, np.float32(rng.normal(size=(E, D)))


_route = jax.jit(routing.route, static_argnums=0)


def dense(rule, routed):
  """Gate of each token and expert."""
  found = np.zeros((B * L, rule.count))
  for token, expert, gate in zip(*map(np.asarray, routed[:3]), strict=True):
    if expert < rule.count:
      found[token, expert] += gate
  return found.reshape(B, L, rule.count)


def cosine(drawn):
  hidden, vectors = drawn
  a = hidden / np.linalg.norm(hidden, axis=-1, keepdims=True)
  return a @ (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).T


@pytest.mark.parametrize("activation", routing.ACTIVATIONS)
def test_a_token_goes_to_its_most_similar_prototypes(drawn, activation):
  top_k = {"identity": 1, "softmax": 2, "sigmoid": E}[activation]
  rule = Rule(E, activation=activation, top_k=top_k)
  z = cosine(drawn)
  gates = {
    "identity": z,
    "softmax": np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    "sigmoid": 1 / (1 + np.exp(-z)),
  }[activation]
  expected = np.zeros((B, L, E + 1))
  for b in range(B):
    for i in range(L):
      if NULL[b]:
        expected[b, i, E] = 1
        continue
      for j in np.argsort(-z[b, i])[:top_k]:
        expected[b, i, j] = gates[b, i, j]
  routed = _route(rule, *drawn, NULL, LABEL)
  np.testing.assert_allclose(dense(rule, routed), expected, atol=1e-6)
  np.testing.assert_allclose(routed.similarity, z, atol=1e-6)


def test_an_expert_picks_as_many_tokens_of_each_sample(drawn):
  rule = Rule(E, choice="expert", top_k=2)
  assert routing.picked(256, Rule(12)) == 21
  k = routing.picked(L, rule)
  assert k == 2
  z = cosine(drawn)
  expected = np.zeros((B, L, E + 1))
  for b in range(B):
    for j in range(E):
      for i in np.argsort(-z[b, :, j])[:k]:
        expected[b, i, j] = z[b, i, j]
  expected[NULL] = 0
  expected[NULL, :, E] = 1
  routed = _route(rule, *drawn, NULL, LABEL)
  found = dense(rule, routed)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  # A null sample's rows stand where others have their picks.
  assert routed.token.shape == (B * max(L, E * k),)
  assert ((found[~NULL, :, :E] != 0).sum(axis=1) == k).all()


@pytest.mark.parametrize("router", ["linear", "kmeans", "classes"])
def test_routers_of_baselines(drawn, router):
  rule = Rule(
    E, router=router, activation="softmax", conditional=False, classes=10
  )
  hidden, vectors = drawn
  z = {"linear": hidden @ vectors.T, "kmeans": cosine(drawn)}.get(router)
  gate = 1.0
  if router == "classes":
    # Classes 0 1, 2 3, ...: two for each of five experts.
    expert = np.repeat([0, 1, 3, 4], L).reshape(B, L)
  else:
    expert = z.argmax(-1)
  if router == "linear":
    gate = (np.exp(z) / np.exp(z).sum(-1, keepdims=True)).max(-1)[..., None]
  expected = np.eye(E)[expert] * gate
  found = dense(rule, _route(rule, *drawn, NULL, LABEL))
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_token_of_zeros_has_a_cosine_and_a_slope_of_zero():
  total = jax.jit(jax.value_and_grad(lambda x: routing.normalised(x).sum()))
  value, slope = total(np.zeros((1, D), np.float32))
  assert value == 0
  assert np.isfinite(np.asarray(slope)).all()

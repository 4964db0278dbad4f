"""Branches in one network: each alone, and side by side."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from protojax.methods.st_protopnet import branches
from protojax.prototypes import distance, head, pooling
from protojax.prototypes.layer import AddOn
from protojax.types import UserError

KEY = jax.random.key(0)
NAMES = ("projection", "cosine", "relu_cosine")
CLASS_OF = np.tile(np.repeat(np.arange(3), 2), 2)


FEATURES = np.random.default_rng(0).normal(size=(4, 3, 5, 9)).astype("float32")


@functools.cache
def made(name):
  """Two branches of 4 channels: parameters, and what they give."""
  metric = branches.load(name)
  add_on = branches.BranchedAddOn(
    AddOn(4, hidden="tanh", final="none"), 2, unit=name != "projection"
  )
  layer = branches.BranchedLayer(len(CLASS_OF), 8, 2, metric)
  keys = jax.random.split(KEY)
  z, of_add_on = jax.jit(add_on.init_with_output)(keys[0], FEATURES)
  found, of_layer = jax.jit(layer.init_with_output)(keys[1], z)
  bank = of_layer["params"]["prototypes"]
  return metric, of_add_on["params"]["branches"], z, bank, found


@pytest.mark.parametrize("name", NAMES)
def test_branches_are_networks_of_one_branch(name):
  """Scores of each, and the logits of the sum."""
  metric, params, _, bank, found = made(name)
  params = jax.tree.map(np.asarray, params)
  weight = np.random.default_rng(1).normal(size=(3, 12)).astype(np.float32)
  logits, scores, cells = 0.0, [], []
  for b in range(2):
    first, second = (params[f"Dense_{i}"]["kernel"][b] for i in (0, 1))
    alone = np.tanh(FEATURES @ first) @ second
    if name != "projection":
      alone /= np.linalg.norm(alone, axis=-1, keepdims=True)
    own = np.asarray(bank)[6 * b : 6 * b + 6, 0, 0, 4 * b : 4 * b + 4]
    products = np.einsum("bhwd,pd->bphw", alone, own).reshape(4, 6, -1)
    score = products.max(-1)
    if name == "relu_cosine":
      score = np.maximum(score, 0)
    scores.append(score)
    cells.append(products.argmax(-1))
    logits = logits + score @ weight[:, 6 * b : 6 * b + 6].T
  ours = np.asarray(metric.activation(found.distances))
  np.testing.assert_allclose(ours, np.concatenate(scores, 1), atol=1e-5)
  np.testing.assert_array_equal(found.cells, np.concatenate(cells, 1))
  alive = np.ones(12, bool)
  np.testing.assert_allclose(
    jax.jit(head.logits)(ours, weight, alive), logits, atol=1e-5
  )


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_bank_on_all_channels_finds_the_same(name):
  """What push and explanations compute, from features side by side."""
  metric, _, z, bank, found = made(name)
  whole = jax.jit(pooling.nearest, static_argnums=2)(z, bank, metric)
  np.testing.assert_array_equal(found.cells, whole.cells)
  np.testing.assert_allclose(found.distances, whole.distances, atol=1e-6)
  maps = np.asarray(jax.jit(metric.distance)(z, bank)).reshape(4, 15, 12)
  np.testing.assert_allclose(found.distances, maps.min(1), atol=1e-6)


def test_prototypes_are_unit_and_see_their_branch_alone():
  _, _, z, bank, _ = made("cosine")
  flat = np.asarray(bank)[:, 0, 0]
  np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1, atol=1e-6)
  other = np.kron([[0, 1], [1, 0]], np.ones((6, 4))) > 0
  np.testing.assert_array_equal(flat[other], 0)
  np.testing.assert_array_equal(
    branches.diagonal(branches.cut(bank, 2)) != 0, bank != 0
  )
  layer = branches.BranchedLayer(12, 8, 2, branches.load("cosine"))

  def total(bank):
    return layer.apply({"params": {"prototypes": bank}}, z).distances.sum()

  gradient = np.asarray(jax.jit(jax.grad(total))(bank))[:, 0, 0]
  np.testing.assert_array_equal(gradient[other], 0)
  assert gradient[:6].any()
  assert gradient[6:].any()
  # Along the sphere.
  np.testing.assert_allclose((gradient * flat).sum(1), 0, atol=1e-6)


def test_projection_is_the_cosine_times_the_length_of_the_patch():
  p = np.zeros((1, 1, 1, 9), np.float32)
  p[..., 2] = 1.0
  z = FEATURES
  length = np.linalg.norm(z, axis=-1)
  reach, cosine = (
    np.asarray(jax.jit(of)(z, p))[..., 0]
    for of in (branches.load("projection").distance, distance.cosine)
  )
  np.testing.assert_allclose(-reach, length * (1 - cosine), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_similarities_have_an_inverse(name):
  metric = branches.load(name)
  similar = np.linspace(0.1, 1, 7)
  np.testing.assert_allclose(
    metric.activation(metric.inverse(similar)), similar, rtol=1e-6
  )
  assert hash(metric) == hash(dataclasses.replace(metric))


def test_wrong_names_are_told():
  with pytest.raises(UserError, match="'log' is not one of branches; choose"):
    branches.load("log")

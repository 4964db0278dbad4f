"""Fusion and prototypes: what begins as nothing, what may not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.vsc import encoder, fusion
from protojax.methods.vsc.fusion import Fusion

OWNER = jnp.asarray([[-1, 0, 0, -1, 1, 1]])
BOTH = jnp.asarray([[True, True, False]])


@pytest.fixture(scope="module")
def given():
  rng = np.random.default_rng(0)
  tokens = jnp.asarray(rng.normal(size=(1, 6, 8)), jnp.float32)
  return tokens, jnp.asarray(rng.normal(size=(1, 3, 5)), jnp.float32)


def _made(module, given, random=True):
  """Function of vectors, owner and validity, with weights that do something."""
  params = module.init(jax.random.key(0), *given, OWNER, BOTH)
  if random:
    rng = np.random.default_rng(1)
    params = jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params
    )
  return lambda *args: np.asarray(module.apply(params, given[0], *args))


def test_it_begins_as_the_base(given):
  tokens, vectors = given
  start = _made(Fusion(), given, random=False)(vectors, OWNER, BOTH)
  np.testing.assert_array_equal(start, tokens)
  literal = _made(Fusion(False), given, random=False)(vectors, OWNER, BOTH)
  assert np.abs(literal - tokens)[0, [1, 2, 4, 5]].max() > 0.1


@pytest.mark.parametrize("residual", [True, False])
def test_words_of_no_pair_and_pairs_that_are_not_valid_stay(given, residual):
  tokens, vectors = given
  call = _made(Fusion(residual), given)
  found = call(vectors, OWNER, BOTH)
  np.testing.assert_array_equal(found[0, [0, 3]], tokens[0, [0, 3]])
  assert np.abs(found - tokens)[0, [1, 2, 4, 5]].min(axis=-1).max() > 0
  one = call(vectors, OWNER, jnp.asarray([[True, False, False]]))
  np.testing.assert_array_equal(one[0, 4:], tokens[0, 4:])
  np.testing.assert_array_equal(one[0, 1:3], found[0, 1:3])
  other = vectors.at[:, 2].set(99.0)
  np.testing.assert_array_equal(call(other, OWNER, BOTH), found)


def test_pairs_in_another_order_are_the_same(given):
  _, vectors = given
  call = _made(Fusion(), given)
  order = np.array([1, 0, 2])
  owner = jnp.where(OWNER >= 0, 1 - OWNER, -1)
  found = call(vectors[:, order], owner, BOTH[:, order])
  np.testing.assert_array_equal(found, call(vectors, OWNER, BOTH))


def test_the_prototype_of_another_pair():
  vectors = jnp.arange(8.0).reshape(2, 4, 1)
  valid = jnp.asarray([[True, True, True, False], [True, False, False, False]])
  found = np.asarray(fusion.of_others(vectors, valid))[..., 0]
  np.testing.assert_array_equal(found[0, :3], [1, 2, 0])
  assert found[1, 0] == 4


def test_a_prototype_is_the_mean_of_the_references_that_count():
  rng = np.random.default_rng(2)
  vectors = rng.normal(size=(4, 3, 5)).astype(np.float32)
  scores = rng.normal(size=(4, 3))
  weights = np.asarray(encoder.best(jnp.asarray(scores), 2))
  expected = [
    np.delete(v, s.argmin(), axis=0).mean(axis=0)
    for v, s in zip(vectors, scores, strict=True)
  ]
  vectors = jnp.asarray(vectors)
  found = encoder.prototype(vectors, jnp.asarray(weights))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  alone = encoder.prototype(vectors[:, :1], jnp.ones((4, 1)))
  np.testing.assert_array_equal(alone, vectors[:, 0])


def test_the_contrast_is_that_of_two_classifiers():
  rng = np.random.default_rng(3)
  images, texts = rng.normal(size=(2, 6, 4)).astype(np.float32)
  a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
  logits = a @ b.T / 0.2
  rows, columns = (
    np.mean(np.log(np.exp(x).sum(1)) - np.diag(x)) for x in (logits, logits.T)
  )
  found = encoder.contrast(jnp.asarray(images), jnp.asarray(texts), 0.2)
  np.testing.assert_allclose(found, (rows + columns) / 2, rtol=1e-5)

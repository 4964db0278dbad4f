"""The tokens that PEM's queries pick, and what they make of them."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.methods.pem import attention, decoder, selection
from tests import starts

_KEY = jax.random.key(0)
_PICKED = jax.jit(selection.picked, static_argnums=(2, 4))
_BARRED = jax.jit(selection.barred, static_argnums=1)
HEADS = 4


@pytest.fixture(scope="module")
def given():
  """Keys, queries, and which tokens are barred."""
  rng = np.random.default_rng(0)
  keys = rng.normal(size=(2, 30, 16)).astype(np.float32)
  queries = rng.normal(size=(2, 5, 16)).astype(np.float32)
  barred = rng.uniform(size=(2, 5, 30)) < 0.6
  barred[1, 2] = True
  return keys, queries, barred


def _by_hand(keys, queries, barred):
  token = np.zeros((2, 5, HEADS), int)
  similarity = np.full((2, 5, HEADS), -np.inf)
  for b, q, a in np.ndindex(2, 5, HEADS):
    part = slice(4 * a, 4 * a + 4)
    for n in range(30):
      value = keys[b, n, part] @ queries[b, q, part]
      if not barred[b, q, n] and value > similarity[b, q, a]:
        token[b, q, a], similarity[b, q, a] = n, value
  return token, similarity


@pytest.mark.parametrize("chunk", [1, 7, 10, 30, 64])
def test_chunks_change_nothing(given, chunk):
  token, similarity = _by_hand(*given)
  keys, queries, barred = given
  found = _PICKED(keys, queries, HEADS, barred, chunk)
  assert_array_equal(found.token, token)
  assert_allclose(found.similarity, similarity, atol=1e-5)


def test_tokens_may_change_places(given):
  """Then only their numbers change."""
  keys, queries, barred = given
  order = np.random.default_rng(1).permutation(30)
  expected = _PICKED(keys, queries, HEADS, barred, 64)
  found = _PICKED(keys[:, order], queries, HEADS, barred[..., order], 64)
  free = np.ones(barred.shape[:2], bool)
  free[1, 2] = False  # Of no allowed token, it is the first.
  assert_array_equal(order[found.token][free], expected.token[free])
  assert_array_equal(found.similarity, expected.similarity)


def test_no_similarities_of_all_tokens_are_held():
  """Never b h n q: no array of the program is as large."""
  shapes = [(1, 4096, 64), (1, 50, 64), (1, 50, 4096)]
  keys, queries = (jnp.zeros(shape) for shape in shapes[:2])
  barred = jnp.zeros(shapes[2], bool)

  def loss(keys, queries):
    found = selection.picked(keys, queries, 8, barred, 256)
    return jnp.sum(selection.taken(keys, found.token, 8))

  text = str(jax.make_jaxpr(jax.grad(loss))(keys, queries))
  sizes = [
    np.prod([int(n) for n in part.split("]")[0].split(",")])
    for part in text.split("f32[")[1:]
    if part.split("]")[0]
  ]
  assert max(sizes) < 8 * 4096 * 50
  assert max(sizes) >= 4096 * 64


def test_no_gradient_goes_through_similarities(given):
  """Only what is picked has one; finite differences agree."""
  keys, queries, barred = given
  token = _PICKED(keys, queries, HEADS, barred, 64).token

  def value(keys):
    found = selection.picked(keys, queries, HEADS, barred)
    return jnp.sum(selection.taken(keys, found.token, HEADS) ** 2)

  gradient = np.asarray(jax.jit(jax.grad(value))(keys))
  picked = np.zeros((2, 30, HEADS), bool)
  for b, q, a in np.ndindex(token.shape):
    picked[b, token[b, q, a], a] = True
  by_head = gradient.reshape(2, 30, HEADS, 4)
  assert_array_equal(by_head[~picked], 0)
  assert (by_head[picked] != 0).any(axis=-1).all()
  b, n, a = np.argwhere(~picked)[0]
  moved = keys.copy()
  moved[b, n, 4 * a] += 1e-3
  assert_array_equal(_PICKED(moved, queries, HEADS, barred, 64).token, token)


def test_an_empty_mask_bars_nothing():
  logits = np.full((2, 3, 6), -1.0, np.float32)
  logits[0, 1, 4] = 2
  found = np.asarray(_BARRED(logits))
  assert not found[0, [0, 2]].any()
  assert found[0, 1].sum() == 5
  assert not found[1].any()
  # The authors' code frees queries only where all of an image are empty.
  parity = np.asarray(_BARRED(logits, True))
  assert parity[0, [0, 2]].all()
  assert not parity[1].any()
  keys = np.ones((2, 6, 8), np.float32)
  picked = _PICKED(keys, np.ones((2, 3, 8), np.float32), 2, parity, 6)
  assert (np.asarray(picked.token)[0, 0] == 0).all()


def _unit(x, axis):
  return x / np.maximum(np.sqrt((x**2).sum(axis, keepdims=True)), 1e-12)


def test_a_layer_is_the_loops_of_the_paper():
  rng = np.random.default_rng(1)
  b, h, w, c, count = 2, 3, 4, 16, 5
  x, where = rng.normal(size=(b, count, c)), rng.normal(size=(h, w, c))
  memory, places = rng.normal(size=(b, h, w, c)), rng.normal(size=(count, c))
  barred = rng.uniform(size=(b, count, h * w)) < 0.5
  barred[..., 0] = False
  module = attention.Picking(HEADS)
  args = [jnp.float32(v) for v in (x, places, memory, where)]
  given = (*args, jnp.asarray(barred), False, _KEY)
  variables = starts.begun(lambda key: module.init(key, *given))
  variables = jax.tree.map(
    lambda v: v + np.float32(rng.uniform(0, 0.3, v.shape)), variables
  )
  found, _ = jax.jit(module.apply, static_argnums=6)(variables, *given)
  p, s = variables["params"], variables["batch_stats"]["keys"]["norm"]
  p = jax.tree.map(lambda v: np.asarray(v, float), p)

  def dense(name, v):
    return v @ name["kernel"] + name["bias"]

  m = memory + where
  m = (m - s["mean"]) / np.sqrt(s["var"] + 1e-5)
  m = m * p["keys"]["norm"]["scale"] + p["keys"]["norm"]["bias"]
  padded = np.pad(m, ((0, 0), (1, 1), (1, 1), (0, 0)))
  local = sum(
    padded[:, i : i + h, j : j + w] * p["keys"]["local"]["kernel"][i, j, 0]
    for i in range(3)
    for j in range(3)
  )
  local = (local + p["keys"]["local"]["bias"]).reshape(b, h * w, c)
  keys = _unit(dense(p["keys"]["out"], local), -1)
  asked = x + places
  asked = asked - asked.mean(-1, keepdims=True)
  asked = asked / np.sqrt((asked**2).mean(-1, keepdims=True) + 1e-5)
  asked = asked * p["norm"]["scale"] + p["norm"]["bias"]
  asked = _unit(dense(p["query"], asked), -1)
  chosen = np.zeros_like(x)
  for i, q, a in np.ndindex(b, count, HEADS):
    part = slice(4 * a, 4 * a + 4)
    similarity = keys[i, :, part] @ asked[i, q, part]
    similarity[barred[i, q]] = -np.inf
    chosen[i, q, part] = keys[i, similarity.argmax(), part]
  mixed = _unit(dense(p["mix"], chosen * asked), 1)
  expected = x + dense(p["out"], mixed * p["alpha"] + chosen)
  assert_allclose(found, expected, atol=1e-4)


def _decoder(kind, **keys):
  module = decoder.Decoder(3, 6, 16, HEADS, 1, 32, kind=kind, **keys)
  rng = np.random.default_rng(2)
  features = jnp.float32(rng.normal(size=(2, 8, 8, 12)))
  memory = [jnp.float32(rng.normal(size=(2, n, n, 8))) for n in (2, 4)]
  given = features, memory, False, _KEY
  variables = starts.begun(lambda key: module.init(key, *given))
  return module, variables, given


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pem", "masked"])
def test_queries_may_change_places(kind):
  module, variables, given = _decoder(kind)
  apply = jax.jit(module.apply, static_argnums=3)
  expected = apply(variables, *given)
  assert expected.logits.shape == (2, 2, 6, 4)
  assert expected.masks.shape == (2, 2, 6, 8, 8)
  order = np.array([3, 0, 5, 1, 2, 4])
  params = dict(variables["params"])
  for name in ("queries", "places"):
    params[name] = params[name][order]
  found = apply({**variables, "params": params}, *given)
  assert_allclose(found.logits, expected.logits[:, :, order], atol=1e-4)
  assert_array_equal(
    found.read[0].picked.token, expected.read[0].picked.token[:, order]
  )


def test_a_place_is_as_in_detrs_code():
  found = decoder.places(2, 3, 8)
  assert found.shape == (2, 3, 8)
  for y, x in np.ndindex(2, 3):
    for at, count, half in ((y, 2, 0), (x, 3, 4)):
      angle = (at + 1) / (count + 1e-6) * 2 * np.pi
      waves = [np.sin(angle), np.cos(angle)]
      waves += [np.sin(angle / 100), np.cos(angle / 100)]
      assert_allclose(found[y, x, half : half + 4], waves, atol=1e-5)

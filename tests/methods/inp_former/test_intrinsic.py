"""Extractor, bottleneck and decoder against the paper's formulas in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial, special

from protojax.methods.inp_former import intrinsic
from protojax.types import UserError

KEY = jax.random.key(0, impl="rbg")
BATCH, TOKENS, COUNT, CHANNELS, HEADS, BLOCKS = 2, 7, 3, 8, 2, 2


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tokens(seed=1):
  return normal(BATCH, TOKENS, CHANNELS, seed=seed)


def prototypes(seed=2):
  return normal(BATCH, COUNT, CHANNELS, seed=seed)


def large(variables):
  """Weights so large that every term of a formula shows."""
  leaves, tree = jax.tree.flatten(variables)
  drawn = [normal(*x.shape, seed=i) for i, x in enumerate(leaves)]
  return jax.tree.unflatten(tree, drawn)


@functools.cache
def compiled(module):
  """Outputs and intermediates, compiled once for all tests."""
  apply = jax.jit(functools.partial(module.apply, mutable=["intermediates"]))
  return lambda *inputs: jax.device_get(apply(*inputs))


def ready(module, *inputs):
  """A function (variables, *inputs) -> outputs, and variables for it."""
  variables = large(jax.eval_shape(module.init, KEY, *inputs))
  return lambda *inputs: compiled(module)(*inputs)[0], variables


def decoder(attention="relu", residual=False):
  module = intrinsic.Decoder(BLOCKS, HEADS, attention, residual)
  return ready(module, tokens(), prototypes())


# The formulas, in float64.


def dense(p, x):
  return x @ np.float64(p["kernel"]) + np.float64(p["bias"])


def norm(p, x):
  x = np.float64(x)
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)
  return x * np.float64(p["scale"]) + np.float64(p["bias"])


def mlp(p, x):
  hidden = dense(p["up"], x)
  hidden = hidden * (1 + special.erf(hidden / np.sqrt(2))) / 2
  return dense(p["down"], hidden)


def attention(p, queries, seen, weigh):
  """One image: the heads' outputs side by side, and after W_o."""
  q = dense(p["q"], queries)
  k, v = np.split(dense(p["kv"], seen), 2, axis=-1)
  size = CHANNELS // HEADS
  mixed = []
  for h in range(HEADS):
    own = slice(h * size, (h + 1) * size)
    mixed.append(weigh(h, q[:, own], k[:, own]) @ v[:, own])
  return dense(p["out"], np.concatenate(mixed, axis=-1))


def scaled(h, q, k):
  del h
  return special.softmax(q @ k.T / np.sqrt(CHANNELS // HEADS), axis=-1)


def cosines(q, k):
  q = q / np.linalg.norm(q, axis=-1, keepdims=True)
  return q @ (k / np.linalg.norm(k, axis=-1, keepdims=True)).T


def extracted(p, image):
  learned = np.float64(p["tokens"])
  seen = norm(p["norm1"], image)
  x = learned + attention(p, norm(p["norm1"], learned), seen, scaled)
  return x + mlp(p, norm(p["norm2"], x))


def decoded(p, x, found, kind, residual):
  """Outputs of all blocks for one image."""

  def weigh(h, q, k):
    if kind == "self":
      return scaled(h, q, k)
    logits = np.float64(block["scale"][h]) * cosines(q, k)
    if kind == "softmax":
      return special.softmax(logits, axis=-1)
    return np.maximum(logits, 0)

  outputs = []
  for l in range(BLOCKS):
    block = jax.tree.map(lambda w, l=l: w[l], p["blocks"])
    normed = norm(block["norm1"], x)
    seen = normed if kind == "self" else norm(block["norm1"], found)
    y = attention(block, normed, seen, weigh)
    x = x + y if residual else y
    x = x + mlp(block, norm(block["norm2"], x))
    outputs.append(x)
  return np.stack(outputs)


# Extractor and bottleneck.


def test_extractor_is_the_papers():
  module = intrinsic.Extractor(COUNT, HEADS)
  _, variables = ready(module, tokens())
  found, seen = compiled(module)(variables, tokens())
  expected = [extracted(variables["params"], image) for image in tokens()]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
  (weights,) = seen["intermediates"]["attention"]
  assert weights.shape == (BATCH, HEADS, COUNT, TOKENS)
  np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)


def test_prototypes_depend_on_the_set_of_tokens_alone():
  extract, variables = ready(intrinsic.Extractor(COUNT, HEADS), tokens())
  found = extract(variables, tokens())
  order = np.random.default_rng(0).permutation(2 * TOKENS) % TOKENS
  again = extract(variables, tokens()[:, order])
  np.testing.assert_allclose(found, again, atol=1e-5)
  assert np.abs(found - extract(variables, tokens(seed=5))).max() > 0.1


def test_static_prototypes_are_the_learned_tokens():
  module = intrinsic.Extractor(COUNT, HEADS, static=True)
  extract, variables = ready(module, tokens())
  assert list(variables["params"]) == ["tokens"]
  learned = variables["params"]["tokens"]
  for found in extract(variables, tokens()):
    np.testing.assert_array_equal(found, learned)


def test_bottleneck_is_an_mlp():
  squeeze, variables = ready(intrinsic.Bottleneck(), tokens())
  assert variables["params"]["up"]["kernel"].shape == (CHANNELS, 4 * CHANNELS)
  expected = mlp(variables["params"], tokens())
  result = squeeze(variables, tokens())
  np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


# Decoder.


@pytest.mark.parametrize(
  ("kind", "residual"),
  [("relu", False), ("relu", True), ("softmax", False), ("self", False)],
)
def test_decoder_is_the_papers(kind, residual):
  rebuild, variables = decoder(kind, residual)
  result = rebuild(variables, tokens(), prototypes())
  expected = np.stack(
    [
      decoded(variables["params"], x, found, kind, residual)
      for x, found in zip(tokens(), prototypes(), strict=True)
    ],
    axis=1,
  )
  assert result.shape == (BLOCKS, BATCH, TOKENS, CHANNELS)
  np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["relu", "softmax"])
def test_a_token_is_rebuilt_from_itself_and_the_prototypes_alone(kind):
  rebuild, variables = decoder(kind)
  result = rebuild(variables, tokens(), prototypes())
  order = np.random.default_rng(0).permutation(TOKENS)
  permuted = rebuild(variables, tokens()[:, order], prototypes())
  np.testing.assert_allclose(permuted, result[:, :, order], atol=1e-5)
  among_others = tokens(seed=9)
  among_others[:, 0] = tokens()[:, 0]
  again = rebuild(variables, among_others, prototypes())
  np.testing.assert_allclose(again[:, :, 0], result[:, :, 0], atol=1e-5)
  assert np.abs(again - result).max() > 0.05


def test_self_attention_sees_the_other_tokens_and_no_prototype():
  rebuild, variables = decoder("self")
  result = rebuild(variables, tokens(), prototypes())
  among_others = tokens(seed=9)
  among_others[:, 0] = tokens()[:, 0]
  again = rebuild(variables, among_others, prototypes())
  assert np.abs(again[:, :, 0] - result[:, :, 0]).max() > 0.05
  other = rebuild(variables, tokens(), prototypes(seed=9))
  np.testing.assert_array_equal(other, result)


def without_mlp(variables):
  """The output of a block is that of its attention."""
  blocks = variables["params"]["blocks"]
  down = jax.tree.map(np.zeros_like, blocks["down"])
  return {"params": {"blocks": {**blocks, "down": down}}}


def test_attention_output_is_spanned_by_the_prototypes():
  module = intrinsic.Decoder(blocks=1, heads=1)
  _, variables = ready(module, tokens(), prototypes())
  variables = without_mlp(variables)
  bias = variables["params"]["blocks"]["out"]["bias"]
  result, seen = compiled(module)(variables, tokens(), prototypes())
  for image in result[0]:
    span = np.linalg.svd(image - bias, compute_uv=False)
    np.testing.assert_allclose(span[COUNT:], 0.0, atol=1e-5)
  (weights,) = seen["intermediates"]["blocks"]["attention"]
  assert weights.shape == (1, BATCH, 1, TOKENS, COUNT)
  assert 0 <= weights.min() < weights.max()


def test_scale_zero_passes_nothing_of_the_token():
  rebuild, variables = decoder()
  variables = without_mlp(variables)
  blocks = variables["params"]["blocks"]
  blocks["scale"] = np.zeros((BLOCKS, HEADS), np.float32)
  result = rebuild(variables, tokens(), prototypes())
  bias = blocks["out"]["bias"][:, None, None]
  np.testing.assert_array_equal(result, np.broadcast_to(bias, result.shape))


@pytest.mark.parametrize("part", ["q", "k"])
def test_attention_knows_directions_only(part):
  rebuild, variables = decoder()
  result = rebuild(variables, tokens(), prototypes())
  # The first half of the layer "kv" are the keys.
  name = "kv" if part == "k" else "q"
  blocks = variables["params"]["blocks"]
  for weight in blocks[name].values():
    weight[..., :CHANNELS] *= 3.0
  again = rebuild(variables, tokens(), prototypes())
  np.testing.assert_allclose(again, result, atol=1e-5)


def test_start_is_the_papers():
  @jax.jit
  def start(key):
    x = jnp.zeros((1, 1, 64))
    return (
      intrinsic.Extractor(50, HEADS, static=True).init(key, x)["params"],
      intrinsic.Decoder(3, HEADS).init(key, x, x)["params"]["blocks"],
    )

  extractor, blocks = jax.device_get(start(KEY))
  np.testing.assert_allclose(extractor["tokens"].std(), 1.0, rtol=0.05)
  np.testing.assert_array_equal(blocks.pop("scale"), np.ones((3, HEADS)))
  for name, layer in blocks.items():
    np.testing.assert_array_equal(layer["bias"], 0.0)
    if name.startswith("norm"):
      np.testing.assert_array_equal(layer["scale"], 1.0)
      continue
    # Cut at three deviations, a normal keeps 0.9866 of its deviation.
    kernel = layer["kernel"]
    assert 0.02 < np.abs(kernel).max() <= 0.03
    np.testing.assert_allclose(kernel.std(), 0.009866, rtol=0.05)
    assert np.abs(kernel[0] - kernel[1]).max() > 0.02
  assert blocks["kv"]["kernel"].shape == (3, 64, 128)


def test_queries_and_keys_of_zeros_have_finite_gradients():
  module = intrinsic.Decoder(1, HEADS)
  _, variables = ready(module, tokens(), tokens())
  blocks = variables["params"]["blocks"]
  blocks["q"]["bias"] *= 0
  blocks["norm1"]["bias"] *= 0

  def total(x):
    return jnp.sum(module.apply(variables, x, x) ** 2)

  gradient = jax.jit(jax.grad(total))(np.zeros_like(tokens()))
  assert np.isfinite(gradient).all()


def test_wrong_settings_are_told():
  x = tokens()
  with pytest.raises(UserError, match=r"'gelu'.*relu, softmax, self.*--config"):
    intrinsic.Decoder(2, HEADS, "gelu").init(KEY, x, x)
  with pytest.raises(UserError, match=r"3 heads.*8 chan.*config.decoder.heads"):
    intrinsic.Decoder(2, 3).init(KEY, x, x)
  with pytest.raises(UserError, match=r"3 heads.*--config.prototypes.heads"):
    intrinsic.Extractor(COUNT, 3).init(KEY, x)


# Distance to the prototypes.


@jax.jit
def distance_and_gradients(x, found):
  def total(x, found):
    nearest, which = intrinsic.distance(x, found)
    return jnp.sum(nearest), (nearest, which)

  return jax.grad(total, argnums=(0, 1), has_aux=True)(x, found)


def distance(x, found):
  _, result = jax.device_get(distance_and_gradients(x, found))
  return result


def test_distance_is_the_smallest_cosine_distance():
  nearest, which = distance(tokens(), prototypes())
  for b in range(BATCH):
    every = spatial.distance.cdist(tokens()[b], prototypes()[b], "cosine")
    np.testing.assert_allclose(nearest[b], every.min(axis=1), atol=1e-6)
    np.testing.assert_array_equal(which[b], every.argmin(axis=1))
  assert which.dtype == np.int32


def test_distance_does_not_know_the_order_of_the_prototypes():
  order = np.array([2, 0, 1])
  nearest, which = distance(tokens(), prototypes())
  again, moved = distance(tokens(), prototypes()[:, order])
  np.testing.assert_allclose(again, nearest, atol=1e-6)
  np.testing.assert_array_equal(order[moved], which)


def test_distance_is_zero_where_parallel_and_at_most_two():
  found = prototypes()
  which = np.arange(TOKENS) % COUNT
  nearest, assigned = distance(7.0 * found[:, which], found)
  np.testing.assert_allclose(nearest, 0.0, atol=1e-6)
  np.testing.assert_array_equal(assigned, np.stack([which] * BATCH))
  one = np.repeat(found[:, :1], COUNT, axis=1)
  opposite, _ = distance(np.repeat(-found[:, :1], TOKENS, axis=1), one)
  np.testing.assert_allclose(opposite, 2.0, atol=1e-6)
  assert nearest.min() >= 0
  assert opposite.max() <= 2


def test_vector_of_zeros_is_at_distance_one_with_finite_gradients():
  x, found = tokens(), prototypes()
  x[0, 0], found[1] = 0, 0
  gradients, (nearest, _) = distance_and_gradients(x, found)
  np.testing.assert_array_equal(nearest[0, 0], 1.0)
  np.testing.assert_array_equal(nearest[1], 1.0)
  assert all(np.isfinite(g).all() for g in gradients)


# Groups.


def test_last_blocks_meet_the_shallow_levels():
  depth = np.arange(4, dtype=np.float32)[:, None, None, None]
  depth = np.broadcast_to(depth, (4, 1, 2, 3))
  encoded = intrinsic.group_encoded(depth)
  np.testing.assert_array_equal(encoded[:, 0, 0, 0], [0.5, 2.5])
  decoded = intrinsic.group_decoded(depth)
  np.testing.assert_array_equal(decoded[:, 0, 0, 0], [2.5, 0.5])


@pytest.mark.parametrize("count", [0, 3])
def test_what_has_no_halves_is_told(count):
  layers = np.zeros((count, 1, 2, 3), np.float32)
  with pytest.raises(UserError, match=f"{count} levels of the encoder do not"):
    intrinsic.group_encoded(layers)
  with pytest.raises(UserError, match=f"{count} blocks .*--config.decoder.bl"):
    intrinsic.group_decoded(layers)

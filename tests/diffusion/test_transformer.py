"""The diffusion transformer against a NumPy twin, and by its properties."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.diffusion import transformer
from protojax.diffusion.positions import grid_positions, time_waves
from protojax.diffusion.transformer import DiT, FeedForward, Text

_SMALL = DiT(
  8,
  4,
  2,
  classes=3,
  text=True,
  qk_norm=True,
  feed_forwards=(FeedForward,) * 2,
  remat=True,
)


def _inputs():
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=(2, 4, 6, 1)))
  words = np.float32(rng.normal(size=(2, 3, 5)))
  valid = np.array([[True, True, False], [True, True, True]])
  return x, np.float32([0.5, 999]), np.array([1, 3]), Text(words, valid)


@pytest.fixture(scope="module")
def params():
  """Of no special values: nothing is zero, as it is at the start."""
  shapes = jax.eval_shape(_SMALL.init, jax.random.key(0), *_inputs())
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: np.float32(rng.normal(size=x.shape) * 0.3), shapes
  )


@pytest.fixture(scope="module")
def slope(params):
  """Program: a number that captures give, and its slope in the image.

  With it come output, evidence and captures.
  """

  def kept(x, *others):
    apply = functools.partial(_SMALL.apply, mutable=transformer.CAPTURES)
    found, variables = apply(params, x, *others)
    some = transformer.captured(variables, (1, 2))
    total = jnp.sum(some["keys"] ** 2) + jnp.sum(some["text_attention"] ** 2)
    return total, (*found, variables)

  return jax.jit(jax.value_and_grad(kept, has_aux=True))


@pytest.fixture(scope="module")
def forward(slope):
  """Output, evidence and all captures of the small network."""
  (_, found), _ = slope(*_inputs())
  return found


class _Twin:
  """The network in NumPy, float64, block by block."""

  def __init__(self, params, heads):
    self.params = jax.tree.map(np.float64, params["params"])
    self.heads = heads
    self.attention = []

  def __call__(self, x, t, label, text):
    p = self.params
    c = self.dense(p["time_1"], np.float64(time_waves(jnp.asarray(t))))
    c = self.dense(p["time_2"], c / (1 + np.exp(-c)))
    c = self.swish(c + p["labels"]["embedding"][label])
    places = [(i, j) for i in range(0, 4, 2) for j in range(0, 6, 2)]
    squares = [x[:, i : i + 2, j : j + 2] for i, j in places]
    tokens = np.stack([a.reshape(len(x), -1) for a in squares], axis=1)
    tokens = self.dense(p["patches"], tokens) + grid_positions(2, 3, 8)
    for i, j in np.ndindex(2, 2):
      block = jax.tree.map(lambda a, i=i: a[i], p["groups"][f"block_{j}"])
      tokens = self.block(block, tokens, c, text)
    parts = self.dense(p["modulation"]["dense"], c)[:, None]
    shift, scale = np.split(parts, 2, -1)
    y = self.dense(p["final"], self.norm(tokens) * (1 + scale) + shift)
    out = np.zeros((len(x), 4, 6, y.shape[-1] // 4))
    for n, (i, j) in enumerate(places):
      out[:, i : i + 2, j : j + 2] = y[:, n].reshape(len(x), 2, 2, -1)
    return out

  def block(self, p, x, c, text):
    parts = self.dense(p["modulation"]["dense"], c)[:, None]
    a, b, gate, mlp_a, mlp_b, mlp_gate = np.split(parts, 6, -1)
    y = self.norm(x) * (1 + b) + a
    qkv = np.split(self.dense(p["attention"]["qkv"], y), 3, -1)
    x = x + gate * self.attend(p["attention"], *qkv, None)
    q = self.dense(p["text_attention"]["query"], x)
    kv = self.dense(p["text_attention"]["key_value"], text.tokens)
    kv = np.split(kv, 2, -1)
    x = x + self.attend(p["text_attention"], q, *kv, text.valid)
    y = self.norm(x) * (1 + mlp_b) + mlp_a
    y = self.dense(p["feed_forward"]["expand"], y)
    y = y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))) / 2
    return x + mlp_gate * self.dense(p["feed_forward"]["project"], y)

  def attend(self, p, query, key, value, valid):
    width = query.shape[-1] // self.heads
    out = np.zeros_like(query)
    for b in range(len(query)):
      for h in range(self.heads):
        part = np.s_[b, :, h * width : (h + 1) * width]
        q = self.norm(query[part], 1e-5) * p["query_norm"]["scale"]
        k = self.norm(key[part], 1e-5) * p["key_norm"]["scale"]
        q, k = q + p["query_norm"]["bias"], k + p["key_norm"]["bias"]
        weights = np.exp(q @ k.T / np.sqrt(width))
        if valid is not None:
          weights = weights * valid[b]
        weights = weights / weights.sum(-1, keepdims=True)
        out[part] = weights @ value[part]
    return self.dense(p["out"], out)

  def dense(self, p, x):
    return x @ p["kernel"] + p["bias"]

  def swish(self, x):
    return x / (1 + np.exp(-x))

  def norm(self, x, epsilon=1e-6):
    spread = x.var(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(spread + epsilon)


def test_equals_the_twin(params, forward):
  output, evidence, _ = forward
  expected = _Twin(params, heads=2)(*_inputs())
  np.testing.assert_allclose(output, expected, rtol=2e-4, atol=2e-4)
  assert evidence == ({}, {})
  assert output.shape == (2, 4, 6, 2)


def test_captures_come_in_the_order_of_the_blocks(forward):
  _, _, variables = forward
  every = transformer.captured(variables)
  assert set(every) == set(transformer.CAPTURES)
  assert every["keys"].shape == every["tokens"].shape == (4, 2, 6, 8)
  for name in ("attention", "text_attention"):
    np.testing.assert_allclose(every[name].sum(-1), 1, rtol=1e-5)
  assert not np.any(every["text_attention"][:, 0, :, 2])
  some = transformer.captured(variables, (3, 1))
  np.testing.assert_array_equal(
    some["tokens"], every["tokens"][np.array([3, 1])]
  )


def test_a_guide_can_follow_the_slope_of_captures(slope):
  """Through remat and scan, as DriveGEN's and VSC's losses do."""
  x, *others = _inputs()
  _, found = slope(x, *others)
  way = np.float32(np.random.default_rng(2).normal(size=x.shape) * 1e-2)
  ends = [float(slope(x + side * way, *others)[0][0]) for side in (-1, 1)]
  expected = (ends[1] - ends[0]) / 2
  np.testing.assert_allclose(np.vdot(found, way), expected, rtol=0.02)


def test_starts_at_zero_and_keeps_types():
  network = DiT(
    8, 2, 2, classes=3, dtype=jnp.bfloat16, learn_sigma=False, unroll=2
  )
  x, t, label, _ = _inputs()
  begin = jax.jit(network.init_with_output)
  (output, _), params = begin(parallel.init_key(0), x, t, label)
  assert set(params) == {"params"}
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  assert output.shape == x.shape
  assert output.dtype == jnp.float32
  assert not np.any(output)
  kernel = params["params"]["groups"]["block_0"]["attention"]["qkv"]["kernel"]
  assert np.abs(kernel).max() <= np.sqrt(6 / (8 + 24))
  assert not np.array_equal(kernel[0], kernel[1])


def _convolved(x, layer):
  """A convolution of 3 x 3 in NumPy, with zeros around."""
  kernel, bias = (np.asarray(layer[k], float) for k in ("kernel", "bias"))
  h, w = x.shape[1:3]
  wide = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
  parts = [
    wide[:, i : i + h, j : j + w] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  ]
  return sum(parts) + bias


def test_the_convolutions_at_the_end_equal_their_twin():
  """Without them, two channels of a pixel are the output itself."""
  x, t, label = map(jnp.asarray, _inputs()[:3])
  fine, plain = (DiT(8, 1, 2, classes=3, refine=k) for k in (2, 0))
  shapes = jax.eval_shape(fine.init, jax.random.key(0), x, t, label)["params"]
  rng = np.random.default_rng(4)
  params = jax.tree.map(
    lambda x: np.float32(0.3 * rng.normal(size=x.shape)), shapes
  )
  found, _ = fine.apply({"params": params}, x, t, label)
  first, second = params.pop("refine_1"), params.pop("refine_2")
  pixels, _ = plain.apply({"params": params}, x, t, label)
  inner = _convolved(np.concatenate([pixels, x], axis=-1), first)
  cubic = np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)
  expected = _convolved(inner * (1 + np.tanh(cubic)) / 2, second)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "millions"),
  [("S", 32.96), ("B", 130.51), ("L", 458.10), ("XL", 675.13)],
)
def test_has_the_parameters_of_the_paper(name, millions):
  """With the fixed table of positions, as the authors count."""
  network = transformer.size(name)
  x = jnp.zeros((1, 32, 32, 4))
  t, label = jnp.zeros(1), jnp.zeros(1, jnp.int32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), x, t, label)
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  count += grid_positions(16, 16, network.channels).size
  assert round(count / 1e6, 2) == millions


def test_positions_tell_the_column_and_then_the_row():
  found = grid_positions(2, 3, 8)
  angles = np.array([1, 0.01])
  for n, (row, column) in enumerate(np.ndindex(2, 3)):
    waves = [f(p * angles) for p in (column, row) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(found[n], np.concatenate(waves), rtol=1e-6)
  with pytest.raises(ValueError, match="multiple of 4"):
    grid_positions(2, 2, 6)


def test_waves_of_a_time():
  found = time_waves(jnp.float32([250.5]), 4)
  angles = 250.5 * np.array([1, 0.01])
  expected = np.concatenate([np.cos(angles), np.sin(angles)])
  np.testing.assert_allclose(found[0], expected, rtol=1e-4)


@pytest.mark.parametrize(
  ("network", "told"),
  [
    (DiT(8, 2, 2, patch=4, text=True), "4 x 6 do not divide"),
    (DiT(8, 3, 2, text=True, feed_forwards=(FeedForward,) * 2), "3 blocks"),
    (DiT(8, 2, 3, text=True), "8 channels do not divide over 3 heads"),
    (DiT(8, 2, 2), "reads no text"),
  ],
)
def test_sizes_that_do_not_divide_are_told(network, told):
  with pytest.raises(ValueError, match=told):
    jax.eval_shape(network.init, jax.random.key(0), *_inputs())


def test_a_text_that_is_missing_is_told():
  with pytest.raises(ValueError, match="reads a text"):
    jax.eval_shape(_SMALL.init, jax.random.key(0), *_inputs()[:3])
  with pytest.raises(ValueError, match="S, B, L, XL"):
    transformer.size("H")

"""FoPro's losses against a naive twin, and what they may not touch."""

import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.backbones.backbone import Backbone
from protojax.engine.terms import Now
from protojax.methods.fopro import cleaning, moving, plain
from protojax.methods.fopro.network import Network, bilinear
from protojax.methods.fopro.objective import Objective, Phase, Settings, Weights

_K, _D, _B, _Q = 4, 5, 12, 16
_SETTINGS = Settings(
  temperature=0.1,
  margin=0.5,
  alpha=0.4,
  density=True,
  momentum=0.9,
  follow=0.5,
  threshold=0.6,
  distance=1.5,
  corrected=False,
  replaced=False,
  weights=Weights(1.0, 1.0, 1.0, 1.0, 1.0),
)


class _Linear(nn.Module):
  """An image -> one cell of six channels; there is no BatchNorm."""

  @nn.compact
  def __call__(self, images, train=False):
    del train
    return nn.Dense(6)(images.reshape(len(images), -1))[:, None, None]


@pytest.fixture(scope="module")
def network():
  half = (0.5, 0.5, 0.5)
  backbone = Backbone(_Linear(), half, half, 4, (), 6)
  names = tuple("abcd")
  return Network(backbone, 4, names, "mean", 7, _D, 3, _Q, 0.1)


@pytest.fixture(scope="module")
def state(network):
  """With prototypes of some temperatures."""
  rng = np.random.default_rng(0)
  found = jax.jit(network.init)(jax.random.key(0))
  vectors = moving.unit(np.float32(rng.normal(size=(_K, _D))))
  made = found.memory["prototypes"]._replace(
    vectors=vectors, temperatures=jnp.array([0.1, 0.2, 0.05, 0.3])
  )
  # Scores of both signs.
  out = 4 * found.params["relation"]["out"]
  relation = {**found.params["relation"], "out": out}
  return found.replace(
    params={**found.params, "relation": relation},
    memory={**found.memory, "prototypes": made},
  )


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (2, _B, 4, 4, 3)).astype(np.uint8)
  known = {
    "label": rng.integers(0, _K, _B).astype(np.int32),
    "trusted": np.arange(_B) % 4 == 0,
  }
  return {
    "weak": {"image": images[0], **known},
    "strong": {"image": images[1], **known},
  }


def _objective(
  network, mode=0, contrast=True, relation=False, alone=False, **s
):
  phase = Phase(mode, contrast, relation, alone, 5)
  weights = np.array([1.0, 2.0, 0.5, 1.5], np.float32)
  settings = dataclasses.replace(_SETTINGS, **s)
  return Objective(network, settings, phase, weights)


# One program compiles sooner than each of its operations.
@functools.partial(jax.jit, static_argnames=("loss", "devices"))
def _run(loss, params, state, batch, devices=1):
  """Terms and what is remembered, as `descent` has them of all devices."""
  now = Now(jax.random.key(0), jnp.int32(4), jnp.float32(0.5))
  split = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
  terms, aux = jax.vmap(
    lambda b: loss(params, state, b, now), axis_name=parallel.mapped.AXIS
  )(split)
  values = {
    name: jnp.sum(t.total) / jnp.maximum(jnp.sum(t.count), 1e-9)
    for name, t in terms.items()
  }
  return values, jax.tree.map(lambda x: x[0], aux.memory)


def _softmax(x):
  e = np.exp(x - x.max(axis=1, keepdims=True))
  return e / e.sum(axis=1, keepdims=True)


def _entropy(x, y):
  return -np.log(_softmax(x)[np.arange(len(y)), y])


def _linear(layer, x):
  return x @ np.asarray(layer["kernel"], np.float64) + layer.get("bias", 0)


class _Twin:
  """The same in float64, one line after the other."""

  def __init__(self, state, batch):
    self.params = jax.tree.map(np.float64, state.params)
    self.memory = state.memory
    self.y, self.d = batch["weak"]["label"], batch["weak"]["trusted"]
    self.f, self.f_s = (self.encode(batch[v]["image"]) for v in batch)
    self.z, self.z_s = self.project(self.f), self.project(self.f_s)
    self.c = np.float64(self.memory["prototypes"].vectors)
    self.t = np.float64(self.memory["prototypes"].temperatures)
    self.logits = _linear(self.params["classifier"], self.f)
    self.s = self.z @ self.c.T

  def encode(self, images):
    x = (images.astype(np.float64) / 255 - 0.5) / 0.5
    return _linear(self.params["backbone"]["Dense_0"], x.reshape(len(x), -1))

  def mlp(self, name, x):
    layers = self.params[name]
    return _linear(layers["last"], np.maximum(_linear(layers["first"], x), 0))

  def project(self, f):
    z = self.mlp("projector", f)
    return z / np.linalg.norm(z, axis=1, keepdims=True)

  def relation(self, c):
    p = self.params["relation"]
    pairs = self.z[:, None] @ p["image"] + (c @ p["prototype"])[None]
    return np.maximum(pairs, 0) @ p["out"]

  def votes(self):
    u = 0.4 * _softmax(self.logits) + 0.6 * _softmax(self.s / self.t)
    return np.where(self.d[:, None], np.eye(_K)[self.y], u)

  def cleaned(self, mode):
    rho = 1 / (1 + np.exp(-self.relation(self.c)))
    return cleaning.cleaned(
      mode, np.float32(self.votes()), np.float32(rho), self.y, self.d, 0.6
    )

  def terms(self, mode):
    """Of a phase with prototypes."""
    u, found = self.votes(), self.cleaned(mode)
    label, kept = np.asarray(found.label), np.asarray(found.kept)
    weight = np.array([1.0, 2.0, 0.5, 1.5])[label]
    w = u[np.arange(_B), self.y]
    soft = -np.sum(u * np.log(_softmax(self.logits)), axis=1)
    classify = (w * _entropy(self.logits, label) + (1 - w) * soft) * weight
    margin = 0.5 * self.d[:, None] * np.eye(_K)[label]
    near = (self.s - margin) / self.t
    queue = np.float64(self.memory["queue"].rows)
    both = np.concatenate(
      [np.sum(self.z * self.z_s, axis=1, keepdims=True), self.z @ queue.T], 1
    )
    between = self.c @ self.c.T
    apart = 0.5 * np.abs(between[self.y] - self.s).sum(axis=1)
    trusted = kept if mode else self.d | (apart <= 1.5)
    low = [
      _entropy(
        (_linear(self.params["auxiliary"], z) - 0.5 * np.eye(_K)[label]) / 0.1,
        label,
      )
      * weight
      for z in (self.z, self.z_s)
    ]
    moved = moving.averaged(
      np.float32(self.c), np.float32(self.z), label, kept, 0.9
    )
    related = _entropy(self.relation(np.float64(moving.unit(moved))), label)
    return {
      "classify": classify[kept].mean(),
      "prototype": _entropy(near, label)[kept].mean(),
      "instance": _entropy(both / 0.1, np.zeros(_B, int)).mean(),
      "auxiliary": np.mean(low, axis=0)[trusted].mean(),
      "reconstruct": np.mean((self.mlp("reconstructor", self.z) - self.f) ** 2),
      "relation": related[kept].mean(),
    }


@pytest.mark.parametrize(("mode", "devices"), [(0, 1), (3, 2)])
def test_the_terms_are_those_of_the_twin(network, state, batch, mode, devices):
  loss = _objective(network, mode, relation=mode > 1)
  found, memory = _run(loss, state.params, state, batch, devices)
  twin = _Twin(state, batch)
  expected = twin.terms(mode)
  assert found.keys() == expected.keys() - ({"relation"} if not mode else set())
  for name, value in found.items():
    np.testing.assert_allclose(value, expected[name], rtol=2e-4, err_msg=name)
  # E' is E so far, so that its projections are those of the twin.
  rows = np.asarray(memory["queue"].rows)
  np.testing.assert_allclose(rows[:_B], twin.z_s, atol=1e-5)
  np.testing.assert_array_equal(rows[_B:], state.memory["queue"].rows[_B:])
  if mode == 0:
    np.testing.assert_array_equal(memory["prototypes"].vectors, twin.c)
    return
  one = twin.cleaned(mode)
  moved = moving.moved(
    state.memory["prototypes"], np.float32(twin.z), one.label, one.kept, 0.9
  )
  # The fifth of five steps: the epoch ends.
  np.testing.assert_allclose(
    memory["prototypes"].vectors, moved.vectors, atol=1e-5
  )
  np.testing.assert_allclose(
    memory["prototypes"].temperatures,
    moving.cooled(moved).temperatures,
    rtol=1e-4,
  )


def test_before_prototypes_the_labels_are_learned_as_they_are(
  network, state, batch
):
  loss = _objective(network, contrast=False)
  found, _ = _run(loss, state.params, state, batch)
  twin = _Twin(state, batch)
  y = twin.y
  weight = np.array([1.0, 2.0, 0.5, 1.5])[y]
  np.testing.assert_allclose(
    found["classify"], np.mean(_entropy(twin.logits, y) * weight), rtol=1e-4
  )
  assert found.keys() == {"classify", "auxiliary", "reconstruct"}


def _gradient(loss, state, batch, name):
  """Of a term; and what is remembered."""

  @jax.jit
  def both(params):
    def term(params):
      values, memory = _run(loss, params, state, batch)
      return values[name], memory

    return jax.grad(term, has_aux=True)(params)

  return both(state.params)


def _zero(tree):
  return not any(np.any(x) for x in jax.tree.leaves(tree))


@pytest.mark.slow
def test_reconstruction_reaches_what_it_may(network, state, batch):
  before, _ = _gradient(
    _objective(network, contrast=False), state, batch, "reconstruct"
  )
  assert _zero(before["backbone"])
  assert not _zero(before["projector"])
  after, _ = _gradient(_objective(network), state, batch, "reconstruct")
  assert _zero(after["backbone"])
  assert _zero(after["projector"])
  assert not _zero(after["reconstructor"])


def test_alone_the_relation_trains_and_the_prototypes_move(
  network, state, batch
):
  loss = _objective(network, 1, relation=True, alone=True)
  gradient, memory = _gradient(loss, state, batch, "relation")
  assert not _zero(gradient.pop("relation"))
  assert _zero(gradient)
  prototypes = memory.pop("prototypes")
  assert np.any(prototypes.vectors != state.memory["prototypes"].vectors)
  for name, tree in memory.items():
    jax.tree.map(np.testing.assert_array_equal, tree, state.memory[name])


def test_an_empty_clean_set_is_no_fault(network, state, batch):
  out = {**state.params["relation"], "out": jnp.zeros(3)}
  none = {**batch["weak"], "trusted": np.zeros(_B, bool)}
  loss = _objective(network, 2, relation=True)
  params = {**state.params, "relation": out}
  found, memory = _run(loss, params, state, {**batch, "weak": none})
  assert found["classify"] == 0
  assert all(np.isfinite(x) for x in found.values())
  np.testing.assert_allclose(
    memory["prototypes"].vectors, state.memory["prototypes"].vectors, atol=1e-6
  )
  assert np.isfinite(memory["prototypes"].temperatures).all()


@pytest.mark.slow
def test_without_margin_and_density_losses_have_closed_forms(
  network, state, batch
):
  """A softmax of cosines; equal similarities give the log of the queue."""
  loss = _objective(network, margin=0.0, density=False)
  found, _ = _run(loss, state.params, state, batch)
  twin = _Twin(state, batch)
  expected = _entropy(twin.s / 0.1, twin.y).mean()
  np.testing.assert_allclose(found["prototype"], expected, rtol=1e-4)
  here = np.float32(moving.unit(np.ones((1, _D))))
  layers = jax.tree.map(jnp.zeros_like, state.params["projector"])
  layers["last"]["bias"] = jnp.asarray(here[0])
  queue = state.memory["queue"]._replace(rows=jnp.tile(here, (_Q, 1)))
  found, _ = _run(
    loss,
    {**state.params, "projector": layers},
    state.replace(memory={**state.memory, "queue": queue}),
    batch,
  )
  np.testing.assert_allclose(found["instance"], np.log(1 + _Q), rtol=1e-5)


def test_mixed_images_are_weighed_by_the_class_of_each_label(
  network, state, batch
):
  weights = np.array([1.0, 2.0, 0.5, 1.5], np.float32)
  loss = plain.MixUp(network, 0.8, 1.0, weights)
  now = Now(jax.random.key(0), jnp.int32(4), jnp.float32(0.5))

  @jax.jit
  def value(one, other):
    pair = {"first": one, "second": other}
    terms, _ = loss(state.params, state, pair, now)
    return terms["mixed"].total / terms["mixed"].count

  # The same images, so that the mixture is known; other labels.
  one, twin = batch["weak"], _Twin(state, batch)
  y = one["label"], (one["label"] + 1) % _K
  own, other = (np.mean(_entropy(twin.logits, k) * weights[k]) for k in y)
  share = jax.random.beta(jax.random.split(now.key)[0], 0.8, 0.8)
  assert 0 < share < 1
  np.testing.assert_allclose(value(one, one), own, rtol=1e-4)
  np.testing.assert_allclose(
    value(one, {**one, "label": y[1]}),
    share * own + (1 - share) * other,
    rtol=1e-4,
  )


def test_the_slow_encoder_follows(network, state):
  params = jax.tree.map(lambda x: x + 2, state.params)
  moved = _objective(network).follow(state.replace(params=params))
  jax.tree.map(
    lambda new, old: np.testing.assert_allclose(new, old + 1, rtol=1e-5),
    moved.memory["encoder"]["params"],
    state.params["backbone"],
  )


def test_the_largest_losses_are_dropped():
  losses = np.float32([3, 1, 4, 1.5, 5, 9, 2, 6]).reshape(2, 4)
  found = jax.vmap(
    lambda each: plain.smallest(each, jnp.float32(0.25)),
    axis_name=parallel.mapped.AXIS,
  )(losses)
  np.testing.assert_array_equal(found, losses < 6)


def test_bilinear_pooling_is_that_of_all_pairs():
  maps = np.random.default_rng(3).random((2, 3, 4, 5))
  found = bilinear(np.float32(maps))
  cells = maps.reshape(2, 12, 5)
  for image, row in zip(cells, found, strict=True):
    pairs = np.sqrt(image.T @ image / 12 + 1e-5).ravel()
    np.testing.assert_allclose(row, pairs / np.linalg.norm(pairs), rtol=1e-5)

"""Pretraining as a classifier: the loss by hand, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import optax
from scipy import special

from protojax.data import stream
from protojax.engine import pretrain
from protojax.engine import stage as stage_lib
from protojax.types import State
from tests.common import terms
from tests.conftest import ArraySource

CLASSES, CHANNELS = 3, 7
KEY = jax.random.key(0)  # nothing is random


def _features(params, statistics, images, train):
  assert train
  maps = jnp.einsum("bhwc,cd->bhwd", images / 255.0, params["backbone"])
  return maps, {"seen": statistics["seen"] + 1}


def _batch(count=24):
  rng = np.random.default_rng(0)
  labels = (np.arange(count) % CLASSES).astype(np.int32)
  images = rng.integers(0, 120, (count, 4, 4, 3))
  images += (100 * np.eye(3, dtype=int))[labels][:, None, None]
  return {"image": images.astype(np.uint8), "label": labels}


def _stage():
  data = stream.shuffled(ArraySource(24, 8), 8, 8, 0)
  rates, length = optax.adam(0.1), stage_lib.epochs(1)
  return pretrain.pretraining(_features, CLASSES, data, rates, length)


def test_readout_gives_each_channel_to_one_class():
  weight = np.asarray(pretrain.readout(np.eye(CHANNELS, dtype=np.float32), 3))
  assert (np.count_nonzero(weight, axis=1) == 1).all()
  assert_allclose(np.argmax(weight, axis=1), np.arange(CHANNELS) % 3)
  whole = np.asarray(pretrain.readout(np.eye(6, dtype=np.float32), 3))
  assert_allclose(np.linalg.norm(whole, axis=0), 1, rtol=1e-6)


def test_loss_is_the_cross_entropy_of_the_mean_over_the_image():
  batch = _batch()
  rng = np.random.default_rng(1)
  backbone = rng.normal(size=(3, CHANNELS)).astype(np.float32)
  state = State({}, {"seen": np.int32(4)}, {})
  found, aux = jax.jit(_stage().loss)(
    {"backbone": backbone}, state, batch, terms.now()
  )
  pooled = (batch["image"] / 255.0).mean(axis=(1, 2)) @ backbone
  logits = np.zeros((len(pooled), CLASSES))
  for c in range(CHANNELS):
    logits[:, c % CLASSES] += pooled[:, c] / np.sqrt(CHANNELS / CLASSES)
  chosen = special.log_softmax(logits, axis=1)[range(24), batch["label"]]
  assert_allclose(terms.total(found), -chosen.mean(), rtol=1e-5)
  correct = (logits.argmax(1) == batch["label"]).sum()
  assert aux.metrics["accuracy"][:2] == (correct, 24)


def test_it_learns_what_a_mean_can_tell():
  batch, stage = _batch(), _stage()
  rng = np.random.default_rng(1)
  params = {"backbone": rng.normal(size=(3, CHANNELS)).astype(np.float32)}
  state, moments = State({}, {"seen": 0}, {}), stage.optimizer.init(params)

  @jax.jit
  def step(params, moments):
    gradient = jax.grad(
      lambda p: terms.total(stage.loss(p, state, batch, terms.now())[0])
    )(params)
    update, moments = stage.optimizer.update(gradient, moments)
    return optax.apply_updates(params, update), moments

  for _ in range(100):
    params, moments = step(params, moments)
  _, aux = stage.loss(params, state, batch, terms.now())
  assert aux.metrics["accuracy"].total == len(batch["label"])

"""The paper's descent: shuffled pairs of an image and a channel, in batches."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from configs import epic_folder
from protojax import parallel
from protojax.datasets.dataset import Dataset
from protojax.engine import descent
from protojax.engine.cached import Cached
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, epochs
from protojax.methods.epic import losses, pairs, rotation
from protojax.types import State, UserError
from tests.conftest import ArraySource

CHANNELS, IMAGES, CHOSEN, SIZE = 5, 9, 4, 6
RATE, DECAY = 1e-2, 0.1


def _dataset(images=IMAGES):
  config = epic_folder.get_config("debug").data
  dataset = Dataset(config, seed=0, batch_size=4)
  dataset.sources["train"] = ArraySource(images, 4, 2)
  return dataset


def _maps(seed=0):
  rng = np.random.default_rng(seed)
  return rng.gamma(1.0, 1.0, (IMAGES, 2, 3, CHANNELS)).astype(np.float32)


def _chosen(seed=1):
  """The images of each channel, with room for a round of more."""
  rng = np.random.default_rng(seed)
  found = np.full((CHANNELS, CHOSEN + 2), -1, np.int32)
  for row in found:
    row[:CHOSEN] = rng.permutation(IMAGES)[:CHOSEN]
  return found


def _known(stream, stop):
  """(image, channel) of each pair of the batches, and whether it is one."""
  found = list(stream.batches(0, stop, read_images=False))
  return [
    [
      (int(i), int(k))
      for i, k, valid in zip(b["index"], b["channel"], b["valid"], strict=True)
      if valid
    ]
    for b in found
  ]


@pytest.mark.parametrize(("images", "steps"), [(392, 2854), (60, 2332)])
def test_steps_are_as_many_as_those_of_the_papers_code(images, steps):
  """1280 channels, batches of 512: the sum of the loader's lengths."""
  dataset, total, expected = _dataset(images), 0, 0
  for number, most in enumerate(rotation.schedule("linear", 10)):
    stream = pairs.stream(dataset, 1280, most, 512, f"round {number}")
    total += epochs(2).steps(stream.steps_per_epoch)
    # ceil(len(dataset) / batch size): the last batch is not dropped.
    expected += 2 * -(-1280 * min(most, images) // 512)
  assert total == expected == steps


def test_each_pair_comes_once_in_an_epoch_and_always_in_another_order():
  chosen, dataset = _chosen(), _dataset()
  state = State({}, {}, {"chosen": chosen})

  def of_round(name):
    data = pairs.stream(dataset, CHANNELS, CHOSEN, SIZE, name)
    return pairs.chosen(state, data)

  stream = of_round("one")
  assert stream.steps_per_epoch == 4  # of 6, 6, 6 and 2 pairs
  batches = _known(stream, 8)
  assert [len(b) for b in batches] == [6, 6, 6, 2] * 2
  first, second = (
    list(itertools.chain(*batches[at : at + 4])) for at in (0, 4)
  )
  wanted = {(i, k) for k in range(CHANNELS) for i in chosen[k, :CHOSEN]}
  assert set(first) == set(second) == wanted
  assert len(first) == len(wanted) == 20
  assert first != second
  assert _known(of_round("one"), 8) == batches
  assert _known(of_round("two"), 8) != batches


def test_images_of_pairs_are_read_where_their_maps_are_not_kept():
  dataset = _dataset()
  data = pairs.stream(dataset, CHANNELS, CHOSEN, SIZE, "one")
  data = pairs.chosen(State({}, {}, {"chosen": _chosen()}), data)
  images = dataset.source("train").images
  for batch in data.batches(0, 4):
    np.testing.assert_array_equal(
      batch["image"][:, 0, 0], images[batch["index"], 0, 0]
    )


def test_pairs_that_do_not_divide_over_the_devices_are_named():
  with pytest.raises(UserError, match=r"rotation.pairs=7 .* over 2 devices"):
    pairs.stream(_dataset(), CHANNELS, CHOSEN, 7, "one")


def test_a_channel_that_chose_too_few_images_is_named():
  found = _chosen()
  found[3, 2] = -1
  data = pairs.stream(_dataset(), CHANNELS, CHOSEN, SIZE, "one")
  with pytest.raises(UserError, match="channel 3 chose fewer than 4 images"):
    pairs.chosen(State({}, {}, {"chosen": found}), data)


def test_a_channel_cannot_choose_more_images_than_there_are():
  stream = pairs.stream(_dataset(), CHANNELS, 100, 512, "")
  assert len(stream) == CHANNELS * IMAGES
  assert stream.steps_per_epoch == 1


@pytest.mark.parametrize("kind", rotation.KINDS)
def test_purity_of_a_pair_is_that_of_its_channel(kind):
  rng = np.random.default_rng(2)
  features = _maps()
  features[0] = 0.0  # of no direction
  channel = rng.integers(0, CHANNELS, IMAGES).astype(np.int32)
  u, _ = rotation.exact(rng.normal(0, 0.4, (CHANNELS, CHANNELS)), kind)
  u = u.astype(np.float32)

  def of_pairs(u):
    found = losses.purity_of_pairs(
      features, channel, u, orthogonal=kind == "orthogonal"
    )
    return jnp.sum(found), found

  def dense(u):
    found = losses.purity(features, u)[np.arange(IMAGES), channel]
    return jnp.sum(found), found

  @jax.jit
  def both(u):
    return [jax.grad(value, has_aux=True)(u) for value in (of_pairs, dense)]

  (gradient, fast), (expected, slow) = parallel.to_host(both(u))
  np.testing.assert_allclose(fast, slow, rtol=1e-5)
  assert fast[0] == 0
  if kind == "orthogonal":
    # Equal along rotations, where lengths stay.
    gradient, expected = (g @ u.T for g in (gradient, expected))
    gradient, expected = gradient - gradient.T, expected - expected.T
  np.testing.assert_allclose(gradient, expected, atol=1e-5)


def _fit():
  class Maps(Cached):
    def rows(self, state, stream):
      return {"features": _maps()}

  return Fit(
    "purify",
    functools.partial(losses.loss, "orthogonal"),
    pairs.stream(_dataset(), CHANNELS, CHOSEN, SIZE, "round"),
    grouped({"rotation": adam(RATE, DECAY)}),
    epochs(2),
    cached=Maps(lambda state, batch: {}),
    redraw=pairs.chosen,
  )


def _start():
  generator = np.random.default_rng(3).normal(0, 0.1, (CHANNELS, CHANNELS))
  return State(
    {"rotation": {"generator": generator.astype(np.float32)}},
    {},
    {"chosen": _chosen()},
  )


@pytest.fixture(scope="module")
def updates():
  """After every step of a round, on the host."""
  fit, state = _fit(), _start()
  moments = fit.optimizer.init(state.params)
  found = descent.fit(fit, state, moments, parallel.key(0))
  return [parallel.to_host(update) for update in found]


def _gradient(generator, batch):
  """Of minus the mean purity, pair by pair, in float64."""
  tangent, maps = generator - generator.T, _maps().astype(np.float64)
  u, by_u = linalg.expm(tangent), np.zeros_like(generator)
  for image, k in batch:
    patches = maps[image].reshape(-1, CHANNELS)
    z = max(patches, key=lambda z: u[k] @ z)
    by_u[k] -= z / np.linalg.norm(z) / len(batch)
  # The adjoint of the derivative of expm at a matrix is that at its transpose.
  by_tangent = linalg.expm_frechet(tangent.T, by_u, compute_expm=False)
  return by_tangent - by_tangent.T


def _adam(generator, batches):
  """Adam as its paper writes it, weight decay in the gradient."""
  w = np.asarray(generator, np.float64)
  mean, square = np.zeros_like(w), np.zeros_like(w)
  for step, batch in enumerate(batches, 1):
    gradient = _gradient(w, batch) + DECAY * w
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    moved = mean / (1 - 0.9**step)
    w = w - RATE * moved / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
  return w


@pytest.mark.slow
def test_steps_are_those_of_a_naive_twin(updates):
  """Over two devices, with a batch of two pairs at the end of each epoch."""
  assert jax.device_count() == 2
  found, state = updates[-1].state.params["rotation"]["generator"], _start()
  batches = _known(pairs.chosen(state, _fit().data), 8)
  expected = _adam(state.params["rotation"]["generator"], batches)
  assert (
    np.abs(expected - _start().params["rotation"]["generator"]).max() > 0.03
  )
  np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.slow
def test_a_round_is_taken_up_in_its_middle(updates):
  third = updates[2]
  *_, last = descent.fit(
    _fit(), third.state, third.optimizer_state, parallel.key(0), start=3
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    parallel.to_host(last.state),
    updates[-1].state,
  )

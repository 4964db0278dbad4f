"""Nearest images against a sort in NumPy, the rule by hand, compaction."""

import jax
import numpy as np
import pytest

from protojax import parallel
from protojax.methods.protopnet import prune
from protojax.prototypes import head, pooling, push, similarity
from protojax.prototypes.bank import Provenance
from protojax.prototypes.compaction import compact
from protojax.types import State
from tests.prototypes.streams import (
  CLASS_NAMES,
  ArrayStream,
  embed,
  photographs,
)

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)
LOG = similarity.load("log")
# Training images of each class.
MANY, FEW = np.full(3, 9), np.array([1, 2, 4])


def make_state():
  generator = np.random.default_rng(1)
  params = {
    "add_on": {"gain": np.float32(1.0)},
    "prototypes": {
      "prototypes": generator.uniform(size=(6, 1, 1, 3)).astype(np.float32)
    },
    "head": {"weight": generator.normal(size=(3, 6)).astype(np.float32)},
  }
  statistics = {"mean": np.zeros(3, np.float32)}
  source = Provenance.empty(6).replace(
    image=np.arange(6, dtype=np.int32),
    embedder=push.embedder_digest(params, statistics),
  )
  buffers = {
    "class_of": CLASS_OF,
    "alive": np.ones(6, bool),
    "provenance": source,
  }
  return State(params=params, statistics=statistics, buffers=buffers)


@jax.jit
def all_distances(state, images):
  prototypes = state.params["prototypes"]["prototypes"]
  found = pooling.nearest(embed(state, {"image": images}), prototypes, LOG)
  return found.distances


def in_numpy(state, images, labels, k):
  distances = np.asarray(all_distances(state, images)).T
  order = np.argsort(distances, axis=1, kind="stable")[:, :k]
  return np.take_along_axis(distances, order, axis=1), order, labels[order]


@pytest.mark.parametrize("batch_size", [4, 8])
@pytest.mark.parametrize("k", [1, 6])
def test_nearest_images_equal_a_sort(k, batch_size):
  images, labels = photographs()
  images[11:] = images[:11]  # ties: the smaller index comes first
  state = make_state()
  order = np.random.default_rng(0).permutation(len(images))
  found = prune.nearest_images(
    embed, state, ArrayStream(images, labels, batch_size, order), LOG, k
  )
  distances, indices, classes = in_numpy(state, images, labels, k)
  np.testing.assert_allclose(found.distances, distances, rtol=1e-5)
  np.testing.assert_array_equal(found.images, indices)
  np.testing.assert_array_equal(found.labels, classes)


def test_fewer_images_than_neighbours_are_filled_up():
  images, labels = photographs(5)
  found = prune.nearest_images(
    embed, make_state(), ArrayStream(images, labels), LOG, k=7
  )
  np.testing.assert_array_equal(np.sort(found.images[:, :5]), [range(5)] * 6)
  np.testing.assert_array_equal(found.images[:, 5:], -1)
  np.testing.assert_array_equal(found.labels[:, 5:], -1)
  assert np.isinf(found.distances[:, 5:]).all()


def test_one_device_finds_what_two_find(monkeypatch):
  images, labels = photographs()
  arguments = embed, make_state(), ArrayStream(images, labels), LOG
  expected = prune.nearest_images(*arguments)

  def on_one(step, state, carry, batches, split):
    assert not split
    for batch in batches:
      carry = jax.jit(step)(state, carry, batch)
    return jax.tree.map(lambda x: np.asarray(x)[None], carry)

  monkeypatch.setattr(parallel, "fold", on_one)
  found = prune.nearest_images(*arguments)
  np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-5)
  np.testing.assert_array_equal(found.images, expected.images)
  np.testing.assert_array_equal(found.labels, expected.labels)


def test_rule_on_lists_written_by_hand():
  labels = np.array(
    [
      [0, 0, 0, 1, 1, 1],  # exactly 3 of 6: lives
      [0, 0, 1, 1, 2, 2],  # 2: dies
      [1, 1, 1, 1, 1, 1],
      [0, 0, 0, 0, 0, 0],  # none of its own: dies
      [1, 1, 1, 1, 2, 2],  # the last class loses both
      [0, 2, 0, 2, 0, 0],
    ]
  )
  votes = prune.votes(labels, CLASS_OF)
  np.testing.assert_array_equal(votes, [3, 2, 6, 0, 2, 2])
  alive = prune.prune(labels, CLASS_OF, np.ones(6, bool), MANY)
  np.testing.assert_array_equal(alive, [1, 0, 1, 0, 0, 0])


def test_dead_stay_dead():
  labels = np.repeat(CLASS_OF[:, None], 6, axis=1)
  before = np.array([True, False, False, False, True, True])
  alive = prune.prune(labels, CLASS_OF, before, MANY)
  np.testing.assert_array_equal(alive, before)


def test_with_two_images_both_must_be_of_the_class():
  labels = np.full((6, 6), -1)
  labels[:, :2] = [[0, 0], [0, 1], [1, 1], [0, 0], [2, 2], [2, 0]]
  alive = prune.prune(labels, CLASS_OF, np.ones(6, bool), MANY)
  np.testing.assert_array_equal(alive, [1, 0, 1, 0, 1, 0])


def test_a_rare_class_needs_no_more_votes_than_it_has_images():
  """Of one, two and four training images; without the cap all but 5 die."""
  labels = np.array(
    [
      [0, 1, 1, 2, 2, 2],  # its only image is among the nearest
      [1, 1, 2, 2, 2, 2],  # and is not
      [1, 2, 1, 2, 2, 2],  # both images
      [1, 2, 2, 2, 2, 0],  # one of two
      [2, 2, 0, 1, 1, 2],  # three of four: as the threshold asks
      [2, 2, 0, 1, 1, 0],  # two of four: it could have three
    ]
  )
  alive = prune.prune(labels, CLASS_OF, np.ones(6, bool), FEW)
  np.testing.assert_array_equal(alive, [1, 0, 1, 0, 1, 0])
  # A class without an image has no vote, and no prototype of its own.
  none = prune.prune(labels[1:2], CLASS_OF[:1], np.ones(1, bool), FEW - 1)
  assert not none.any()
  assert prune.prune(labels, CLASS_OF, np.ones(6, bool), FEW, 0).all()


def test_a_rare_class_survives_the_sweep_and_an_empty_one_is_told(caplog):
  """In a stream: 2 of 11 images of the first class, none of the last."""
  images, _ = photographs()
  labels = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1], np.int32)
  images, state = images[:11], make_state()
  stream = ArrayStream(images, labels, 4)
  near = prune.nearest_images(embed, state, stream, LOG, k=6)
  # The images of class 0 are the nearest to its prototypes, as after a push.
  near = near.replace(
    labels=np.where(CLASS_OF[:, None] == 0, [0, 0, *[1] * 4], 1)
  )
  with caplog.at_level("WARNING", "absl"):
    state, metrics = prune.pruned(state, near, labels, CLASS_NAMES)
  np.testing.assert_array_equal(state.buffers["alive"], [1, 1, 1, 1, 0, 0])
  assert metrics == {"alive": 4, "classes_without": 1}
  assert "no prototype for cedar (it has no training image):" in caplog.text


def test_pruning_names_the_classes_it_empties(make_method, make_state, caplog):
  method = make_method(**{"prune.threshold": 6})
  state = make_state(method)
  with caplog.at_level("WARNING"):
    pruned, metrics = method.prune(state, method.stream("train"))
  alive = pruned.buffers["alive"]
  assert metrics["alive"] == alive.sum() < len(alive)
  emptied = [
    name
    for k, name in enumerate(method.network.class_names)
    if not alive[pruned.buffers["class_of"] == k].any()
  ]
  assert metrics["classes_without"] == len(emptied) > 0
  assert f"no prototype for {', '.join(emptied)}:" in caplog.text
  batch = next(method.stream("test").batches())
  rows = parallel.to_host(jax.jit(method.predict)(pruned, batch))
  unseen = pruned.params["head"]["weight"][:, ~alive]
  assert np.abs(unseen).max() > 0
  alone = (
    rows["similarities"][:, alive] @ pruned.params["head"]["weight"][:, alive].T
  )
  np.testing.assert_allclose(rows["logits"], alone, rtol=1e-4, atol=1e-4)
  solve = next(s for s in method.stages() if s.name == "last layer")
  solved, _ = solve.sweep(pruned, solve.data)
  weight = solved.params["head"]["weight"]
  assert np.all(np.isfinite(weight))
  np.testing.assert_array_equal(weight[:, ~alive], unseen)


@pytest.mark.parametrize("stale", [False, True])
def test_compaction_changes_neither_logits_nor_staleness(stale):
  images, _ = photographs()
  state = make_state()
  alive = np.array([True, True, False, True, False, True])
  state = state.replace(buffers={**state.buffers, "alive": alive})
  if stale:
    state = state.replace(statistics={"mean": np.ones(3, np.float32)})
  small = compact(jax.tree.map(jax.numpy.asarray, state))

  @jax.jit
  def logits(state):
    prototypes = state.params["prototypes"]["prototypes"]
    found = pooling.nearest(embed(state, {"image": images}), prototypes, LOG)
    return head.logits(
      LOG.activation(found.distances),
      state.params["head"]["weight"],
      state.buffers["alive"],
    )

  assert small.params["prototypes"]["prototypes"].shape == (4, 1, 1, 3)
  np.testing.assert_allclose(logits(small), logits(state), atol=1e-5)
  np.testing.assert_array_equal(small.buffers["class_of"], CLASS_OF[alive])
  source = small.buffers["provenance"]
  np.testing.assert_array_equal(source.image, [0, 1, 3, 5])
  current = np.array_equal(
    source.embedder, push.embedder_digest(small.params, small.statistics)
  )
  assert current is not stale

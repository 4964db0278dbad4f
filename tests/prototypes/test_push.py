"""Push against a loop over images and cells, and the claims it makes."""

import jax
import numpy as np
import pytest

from protojax import parallel
from protojax.data import images as images_lib
from protojax.prototypes import pooling, push, similarity
from protojax.prototypes.bank import Provenance, bank_of, with_bank
from protojax.types import State
from tests.prototypes.streams import ArrayStream, embed, photographs

CLASS_OF = np.array([0, 0, 1, 1, 2, 2], np.int32)


def make_state(size=(1, 1), alive=None):
  generator = np.random.default_rng(1)
  prototypes = generator.uniform(size=(6, *size, 3)).astype(np.float32)
  return State(
    params={
      "add_on": {"gain": np.float32(1.5)},
      "prototypes": {"prototypes": prototypes},
      "head": {"weight": np.zeros((3, 6), np.float32)},
    },
    statistics={"mean": np.zeros(3, np.float32)},
    buffers={
      "class_of": CLASS_OF,
      "alive": np.ones(6, bool) if alive is None else alive,
      "provenance": Provenance.empty(6),
    },
  )


def after(state, prototypes, provenance):
  bank = bank_of(state)
  return with_bank(
    state, bank.replace(vectors=prototypes, provenance=provenance)
  )


def loop(state, images, labels, metric, own_class=True):
  """(distance, image, cell, patch) of each prototype, one patch at a time."""
  features = np.asarray(embed(state, {"image": images}))
  prototypes = state.params["prototypes"]["prototypes"]
  _, height, width, _ = prototypes.shape
  rows, columns = features.shape[1] - height + 1, features.shape[2] - width + 1
  best = []
  for p, prototype in enumerate(prototypes):
    found = (np.inf, -1, 0, None)
    for i, y, x in np.ndindex(len(images), rows, columns):
      patch = features[i, y : y + height, x : x + width]
      distance = metric(patch, prototype)
      if (labels[i] == CLASS_OF[p] or not own_class) and distance < found[0]:
        found = (distance, i, y * columns + x, patch)
    best.append(found)
  return best


def l2(z, p):
  return np.sum((z - p) ** 2)


def cosine(z, p):
  return 1 - np.sum(z * p) / np.linalg.norm(z) / np.linalg.norm(p)


@pytest.mark.parametrize("own_class", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
@pytest.mark.parametrize(("name", "metric"), [("log", l2), ("cosine", cosine)])
def test_push_equals_a_loop_over_patches(name, metric, size, own_class):
  images, labels = photographs()
  state = make_state(size)
  new, source, metrics = push.push(
    embed, state, ArrayStream(images, labels), similarity.load(name), own_class
  )
  expected = loop(state, images, labels, metric, own_class)
  np.testing.assert_array_equal(source.image, [e[1] for e in expected])
  np.testing.assert_array_equal(source.cell, [e[2] for e in expected])
  np.testing.assert_allclose(
    source.distance, [e[0] for e in expected], atol=1e-6
  )
  np.testing.assert_allclose(new, [e[3] for e in expected], rtol=1e-6)
  assert metrics["pushed"] == 6
  assert metrics["without_image"] == 0
  for j in range(6):
    np.testing.assert_array_equal(
      source.content[j], images_lib.digest(images[source.image[j]])
    )


@pytest.mark.parametrize("name", ["log", "cosine"])
def test_pushed_prototypes_are_at_distance_zero_and_stay(name):
  images, labels = photographs()
  metric = similarity.load(name)
  stream = ArrayStream(images, labels)
  state = make_state((2, 1))
  new, source, _ = push.push(embed, state, stream, metric)
  state = after(state, new, source)
  found = jax.jit(pooling.nearest, static_argnums=2)(
    embed(state, {"image": images}), new, metric
  )
  own = np.arange(6)
  distances = np.asarray(found.distances)[source.image, own]
  assert (distances < 1e-5).all()
  np.testing.assert_array_equal(
    np.asarray(found.cells)[source.image, own], source.cell
  )
  again, second, metrics = push.push(embed, state, stream, metric)
  np.testing.assert_array_equal(again, new)
  np.testing.assert_array_equal(second.image, source.image)
  np.testing.assert_array_equal(second.cell, source.cell)
  np.testing.assert_array_equal(second.embedder, source.embedder)
  # Cosine: the lengths are rounded once for the patch, once for the prototype.
  assert metrics["moved_max"] <= (0 if name == "log" else 1e-12)


@pytest.mark.parametrize("batch_size", [2, 6, 22])
def test_order_and_batches_do_not_matter(batch_size):
  images, labels = photographs()
  # Copies: the smallest index must win wherever it comes in the sweep.
  images[9:18], labels[9:18] = images[:9], labels[:9]
  metric = similarity.load("log")
  state = make_state()
  expected, first, _ = push.push(
    embed, state, ArrayStream(images, labels), metric
  )
  assert not ((first.image >= 9) & (first.image < 18)).any()
  order = np.random.default_rng(batch_size).permutation(22)
  new, source, _ = push.push(
    embed, state, ArrayStream(images, labels, batch_size, order), metric
  )
  np.testing.assert_array_equal(new, expected)
  np.testing.assert_array_equal(source.image, first.image)
  np.testing.assert_array_equal(source.cell, first.cell)


def looked_up(state, batch):
  """Features by number: a pixel's first two bytes say which."""
  images = batch["image"]
  number = images[..., 0].astype(np.int32) * 256 + images[..., 1]
  return state.params["add_on"]["features"][number]


def drawn(numbers):
  """Images whose pixels have these numbers."""
  return np.stack([numbers // 256, numbers % 256, numbers * 0], -1).astype("u1")


def with_features(features, bank, class_of):
  return State(
    params={
      "add_on": {"features": np.float32(features)},
      "prototypes": {"prototypes": np.float32(bank)[:, None, None]},
    },
    statistics={},
    buffers={"class_of": class_of, "alive": np.ones(len(bank), bool)},
  )


@pytest.mark.parametrize(
  ("name", "own_class", "pairs"),
  [("log", True, 1), ("log", False, 2**15), ("cosine", True, 2**15)],
)
def test_of_equal_patches_the_first_is_taken(
  name, own_class, pairs, monkeypatch
):
  """Whichever lane of the processor they are compared in."""
  monkeypatch.setattr(push, "_PAIRS", pairs)
  generator = np.random.default_rng(2)
  features = generator.normal(size=(13, 37))
  bank = generator.normal(size=(20, 37))
  class_of = np.repeat(np.arange(3, dtype=np.int32), [1, 6, 13])
  # 11 images of one patch each, and each image once more at the end.
  shown = np.tile(generator.integers(0, 13, 11), 2)
  images = drawn(np.broadcast_to(shown[:, None, None], (22, 5, 3)))
  labels = np.tile(generator.integers(0, 3, 11), 2).astype(np.int32)
  _, source, _ = push.push(
    # A function of its own, which is compiled anew for these pairs.
    lambda state, batch: looked_up(state, batch),
    with_features(features, bank, class_of),
    ArrayStream(images, labels),
    similarity.load(name),
    own_class,
  )
  allowed = labels[source.image][:, None] == labels[None]
  same = (shown[source.image][:, None] == shown[None]) & (
    allowed | (not own_class)
  )
  np.testing.assert_array_equal(source.image, np.argmax(same, axis=1))
  np.testing.assert_array_equal(source.cell, 0)


# Cosine: shorter differences are lost when lengths are rounded.
@pytest.mark.parametrize(
  ("name", "apart", "scale"),
  [("log", 1e-7, 1.0), ("log", 1e-7, 1e4), ("cosine", 1e-5, 1e4)],
)
def test_a_second_push_changes_nothing_among_near_ties(name, apart, scale):
  generator = np.random.default_rng(3)
  centres = generator.normal(size=(6, 64)) * scale
  noise = generator.normal(size=(22 * 15, 64)) * scale
  features = centres[np.arange(len(noise)) % 6] + apart * noise
  images = drawn(np.arange(len(noise)).reshape(22, 5, 3))
  state = with_features(features, centres * 1.01, CLASS_OF)
  stream = ArrayStream(images, photographs()[1])
  metric = similarity.load(name)
  new, source, _ = push.push(looked_up, state, stream, metric)
  taken = state.params["add_on"]["features"][source.image * 15 + source.cell]
  np.testing.assert_array_equal(new[:, 0, 0], taken)
  again, second, metrics = push.push(
    looked_up, after(state, new, source), stream, metric
  )
  np.testing.assert_array_equal(again, new)
  np.testing.assert_array_equal(second.image, source.image)
  np.testing.assert_array_equal(second.cell, source.cell)
  if name == "log":
    assert metrics["moved_max"] == 0


def test_a_label_without_prototypes_is_no_other_class():
  images, labels = photographs()
  labels = np.where(labels == 1, -1, labels * 5).astype(np.int32)
  _, source, metrics = push.push(
    embed, make_state(), ArrayStream(images, labels), similarity.load("log")
  )
  np.testing.assert_array_equal(labels[source.image[:2]], 0)
  np.testing.assert_array_equal(source.image[2:], -1)
  assert metrics["without_image"] == 4


def test_living_prototypes_by_class():
  class_of = np.array([2, 0, 2, 0, 2])
  alive = np.array([True, True, True, False, True])
  found = push.by_class(class_of, alive)
  np.testing.assert_array_equal(found, [[1, 5, 5], [5, 5, 5], [0, 2, 4]])
  assert push.by_class(class_of, ~alive & False).shape == (3, 0)


def test_one_device_finds_what_two_find(monkeypatch):
  images, labels = photographs()
  arguments = (
    embed,
    make_state(),
    ArrayStream(images, labels),
    similarity.load("log"),
  )
  expected, first, _ = push.push(*arguments)

  def on_one(step, state, carry, batches, split):
    assert not split
    for batch in batches:
      carry = jax.jit(step)(state, carry, batch)
    return jax.tree.map(lambda x: np.asarray(x)[None], carry)

  monkeypatch.setattr(parallel, "fold", on_one)
  new, source, _ = push.push(*arguments)
  np.testing.assert_allclose(new, expected, rtol=1e-6)
  np.testing.assert_array_equal(source.image, first.image)
  np.testing.assert_array_equal(source.cell, first.cell)


def test_dead_and_classless_prototypes_keep_their_values():
  images, labels = photographs()
  alive = np.array([True, False, True, True, True, True])
  state = make_state(alive=alive)
  known = Provenance.empty(6).replace(image=np.full(6, 7, np.int32))
  state = state.replace(buffers={**state.buffers, "provenance": known})
  kept = labels != 2
  new, source, metrics = push.push(
    embed,
    state,
    ArrayStream(images[kept], labels[kept]),
    similarity.load("log"),
  )
  old = state.params["prototypes"]["prototypes"]
  np.testing.assert_array_equal(new[[1, 4, 5]], old[[1, 4, 5]])
  assert source.image[1] == 7
  np.testing.assert_array_equal(source.image[[4, 5]], -1)
  assert metrics["pushed"] == 3
  assert metrics["without_image"] == 2


def test_features_that_are_no_numbers_are_never_taken():
  images, labels = photographs()
  images[0, 2, 2] = 255

  def broken(state, batch):
    features = embed(state, batch)
    white = (batch["image"] == 255).all(axis=-1, keepdims=True)
    return jax.numpy.where(white, jax.numpy.nan, features)

  new, source, _ = push.push(
    broken, make_state(), ArrayStream(images, labels), similarity.load("log")
  )
  assert np.isfinite(new).all()
  assert 0 not in source.image


def test_duplicates_count_living_repeats_only():
  source = Provenance.empty(6).replace(
    image=np.array([3, 3, 3, 5, -1, -1], np.int32),
    cell=np.array([1, 1, 1, 1, 0, 0], np.int32),
  )
  assert push.duplicates(source, np.ones(6, bool)) == 2
  alive = np.array([False, True, True, True, True, True])
  assert push.duplicates(source, alive) == 1


def test_digest_names_the_embedder_but_not_the_head():
  state = make_state()
  digest = push.embedder_digest(state.params, state.statistics)
  assert digest.dtype == np.uint8
  assert digest.shape == (16,)

  def with_group(name, value):
    params = {**state.params, name: value}
    return push.embedder_digest(params, state.statistics)

  head = with_group("head", {"weight": np.ones((3, 6), np.float32)})
  np.testing.assert_array_equal(head, digest)
  assert (with_group("add_on", {"gain": np.float32(1.6)}) != digest).any()
  moved = state.params["prototypes"]["prototypes"] + 1e-6
  assert (with_group("prototypes", {"prototypes": moved}) != digest).any()
  other = push.embedder_digest(state.params, {"mean": np.ones(3, np.float32)})
  assert (other != digest).any()


def test_provenance_is_current_after_a_push_until_training_goes_on():
  images, labels = photographs()
  state = make_state()
  new, source, _ = push.push(
    embed, state, ArrayStream(images, labels), similarity.load("log")
  )
  state = jax.tree.map(jax.numpy.asarray, after(state, new, source))
  np.testing.assert_array_equal(
    push.embedder_digest(state.params, state.statistics), source.embedder
  )


def test_prototypes_of_another_asset_are_stale():
  """A backbone that is an asset embeds images as a trained one does."""
  lens = {"lens": {"kernel": np.ones(3, np.float32)}}
  state = State(
    params={"prototypes": {"prototypes": np.ones((2, 1, 1, 3), np.float32)}},
    statistics={},
    buffers={"class_of": np.zeros(2, np.int32), "alive": np.ones(2, bool)},
    assets=lens,
  )
  digest = push.embedder_digest(state.params, state.statistics, state.assets)
  pushed = Provenance.empty(2).replace(embedder=digest)
  state = state.replace(buffers={**state.buffers, "provenance": pushed})
  assert not push.stale(state)
  other = {"lens": {"kernel": np.zeros(3, np.float32)}}
  assert push.stale(state.replace(assets=other))

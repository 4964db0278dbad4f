"""A classifier through a rotation: the same logits, channel by channel."""

import functools

import jax
import numpy as np
import pytest

from protojax.backbones import classifier
from protojax.explain import sweep
from protojax.methods.epic import channels, folding, losses, rotation
from protojax.methods.epic.network import RotatedNetwork
from protojax.modify import presets
from protojax.types import UserError

CHANNELS, CLASSES, SIZE = 6, 4, 8


def _features(variables, x):
  """Pixels of 2 x 2 squares through a layer: a map of 4 x 4 cells."""
  cells = x.reshape(len(x), 4, 2, 4, 2, 3).swapaxes(2, 3).reshape(-1, 4, 4, 12)
  return jax.nn.relu(cells @ variables - 0.5)


@pytest.fixture(scope="module")
def network():
  rng = np.random.default_rng(0)
  variables = rng.normal(size=(12, CHANNELS)).astype(np.float32)
  backbone = classifier.from_function(
    _features, variables, channels=CHANNELS, stride=2
  )
  names = tuple(f"class {k}" for k in range(CLASSES))
  return RotatedNetwork(backbone, SIZE, names)


@functools.cache
def _compiled(network, name):
  return jax.jit(getattr(network, name))


def _of(network, name, *arguments):
  """What a function of the network gives, on the host."""
  return jax.tree.map(np.asarray, _compiled(network, name)(*arguments))


def _images(count=7, seed=1):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def _turn(kind="orthogonal", seed=2):
  rng = np.random.default_rng(seed)
  generator = rng.normal(0, 0.4, (CHANNELS, CHANNELS))
  return rotation.exact(generator, kind)


@pytest.fixture(scope="module")
def state(network):
  rng = np.random.default_rng(3)
  weight = rng.normal(size=(CLASSES, CHANNELS)).astype(np.float32)
  bias = rng.normal(size=CLASSES).astype(np.float32)
  fresh = network.init(jax.random.key(0), most=3)
  fresh = folding.with_head(fresh, classifier.Head(weight, bias))
  return folding.folded(fresh, np.eye(CHANNELS))


@pytest.mark.parametrize("kind", rotation.KINDS)
def test_logits_stay_and_are_the_sum_of_points(network, state, kind):
  turned = folding.folded(state, *_turn(kind))
  embedded = _of(network, "embed", turned, _images())
  own = _of(network, "own_logits", turned, embedded)
  logits = _of(network, "logits", turned, embedded)
  assert classifier.difference(own, logits) < 1e-5
  folding.require_same(turned)
  answers = _of(network, "answers", turned, {"image": _images()})
  predicted = np.argmax(logits, axis=1)
  total = (
    answers["points"].sum(axis=1) + turned.params["head"]["bias"][predicted]
  )
  np.testing.assert_allclose(total, np.max(logits, axis=1), rtol=1e-4)
  batch = {"features": embedded, "label": predicted}
  compared = _of(network, "compared", turned, batch)
  assert np.all(compared["correct"])
  assert not np.any(compared["changed"])
  scores = _of(network, "scores", turned, embedded, answers["similarities"])
  weight = turned.params["head"]["weight"][predicted]
  kept = np.sum(weight * np.maximum(scores, 0), axis=1)
  np.testing.assert_allclose(
    kept + compared["dropped"], answers["points"].sum(axis=1), rtol=1e-4
  )


def test_similarities_are_largest_values_of_their_maps(network, state):
  turned = folding.folded(state, *_turn())
  embedded = _of(network, "embed", turned, _images())
  prototypes = turned.params["prototypes"]["prototypes"]
  similar = network.similarity
  maps = jax.jit(lambda z, p: similar.activation(similar.distance(z, p)))(
    embedded, prototypes
  )
  maps = np.asarray(maps).reshape(len(maps), -1, CHANNELS)
  similarity, cells = _of(network, "nearest", turned, embedded)
  np.testing.assert_allclose(similarity, maps.max(axis=1), rtol=1e-5)
  np.testing.assert_array_equal(cells, maps.argmax(axis=1))
  np.testing.assert_allclose(
    _of(network, "at", turned, embedded, cells), similarity, rtol=1e-6
  )
  np.testing.assert_allclose(
    _of(network, "scores", turned, embedded, similarity),
    maps.mean(axis=1),
    rtol=1e-4,
  )


def _batches(images, size):
  for start in range(0, len(images), size):
    index = np.arange(start, start + size)
    mask = index < len(images)
    index = np.minimum(index, len(images) - 1).astype(np.int32)
    label = np.zeros(size, np.int32)
    yield {
      "image": images[index],
      "index": index,
      "valid": mask,
      "label": label,
    }


def test_chosen_images_fire_most_and_depend_on_no_batch(network, state):
  turned = folding.folded(state, *_turn())
  images = _images(11)
  images[[2, 5, 8]] = images[9]  # equal ones: the first come first
  maps = _of(network, "embed", turned, images).astype(np.float64)
  u = np.asarray(folding.basis(turned), np.float64)
  # By whole maps, one image and one channel at a time, as the paper sums them.
  fired = np.zeros((len(images), CHANNELS))
  for i, image in enumerate(maps):
    for k in range(CHANNELS):
      fired[i, k] = sum(u[k] @ z for row in image for z in row)
  fired[[2, 5, 8]] = fired[9]
  expected = np.argsort(-fired, axis=0, kind="stable")[:4].T
  for size in (4, 12):
    found = channels.ranked(network, turned, _batches(images, size), 4)
    np.testing.assert_array_equal(found, expected)
    strong = channels.strongest(network, turned, _batches(images, size), 4)
    np.testing.assert_array_equal(strong.images, expected)
    purity = np.asarray(
      jax.jit(losses.purity)(maps.astype(np.float32), np.float32(u))
    )
    rows = np.arange(CHANNELS)[:, None]
    np.testing.assert_allclose(
      strong.more["purity"], purity[expected, rows], rtol=1e-5
    )
  few = channels.strongest(network, turned, _batches(images[:2], 4), 4)
  assert np.all(few.images[:, 2:] == -1)
  mean = channels.purities(few)
  np.testing.assert_allclose(mean, few.more["purity"][:, :2].mean(axis=1))


def _alignment(network, state, images, chosen, white):
  """Mean directions of the chosen pixels, and the mean purity, by loops."""
  u = np.asarray(folding.basis(state), np.float64)
  maps = _of(network, "embed", state, images).astype(np.float64)
  expected, purity = np.zeros((CHANNELS, CHANNELS)), []
  for k, row in enumerate(chosen):
    for i in row[row >= 0]:
      cells = maps[i].reshape(-1, CHANNELS)
      z = cells[np.argmax(cells @ u[k])]
      y = white @ z
      expected[k] += y / np.linalg.norm(y) / np.sum(row >= 0)
      purity.append(u[k] @ z / np.linalg.norm(u @ z))
  return expected, np.mean(purity)


@pytest.mark.parametrize("kind", rotation.KINDS)
@pytest.mark.parametrize("inertia", [0.0, 2.0])
def test_u_turns_to_the_directions_of_the_chosen_pixels(
  network, state, kind, inertia
):
  images, white = _images(9), np.eye(CHANNELS)
  if kind == "invertible":
    state, condition = channels.whitened(
      network, state, _batches(images, 4), 0.1
    )
    white = np.asarray(folding.basis(state), np.float64)
    cells = _of(network, "embed", state, images).reshape(-1, CHANNELS)
    expected, _ = rotation.whitening(cells.T @ cells / len(cells), 0.1)
    np.testing.assert_allclose(white, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(condition, np.linalg.cond(expected), rtol=1e-3)
  chosen = np.array([[k, k + 1, -1] for k in range(CHANNELS)], np.int32)
  state = state.replace(buffers={**state.buffers, "chosen": chosen})
  expected, purity = _alignment(network, state, images, chosen, white)
  turned, mean = losses.procrustes(network, state, _batches(images, 4), inertia)
  turn = losses.polar(expected + max(inertia, 1e-4) * np.eye(CHANNELS))
  np.testing.assert_allclose(folding.basis(turned), turn @ white, atol=1e-3)
  np.testing.assert_allclose(mean, purity, rtol=1e-4)
  folding.require_same(turned)
  # And once more, from a basis that is turned already.
  again, _ = losses.procrustes(network, turned, _batches(images, 4), inertia)
  folding.require_same(again)


def test_the_purest_basis_is_remembered(network, state):
  empty = network.init(jax.random.key(0), most=3, remember=True).buffers["best"]
  state = state.replace(buffers={**state.buffers, "best": empty})
  first = folding.remember_purest(folding.folded(state, *_turn()), 0.4)
  worse = folding.remember_purest(folding.folded(first, *_turn(seed=5)), 0.3)
  for name in ("prototypes", "head"):
    jax.tree.map(
      np.testing.assert_array_equal,
      folding.purest(worse).params[name],
      first.params[name],
    )
  np.testing.assert_array_equal(
    folding.purest(worse).buffers["class_of"], first.buffers["class_of"]
  )


def test_another_head_is_refused(state):
  head = state.params["head"]
  moved = {**head, "weight": head["weight"] * 1.001}
  changed = state.replace(params={**state.params, "head": moved})
  with pytest.raises(
    UserError, match="not the classifier: its weights are off"
  ):
    folding.require_same(changed)
  with pytest.raises(UserError, match=r"logits by 0\.02"):
    folding.require_same(state, 0.02)


def test_an_image_is_told_by_the_channels_with_most_points(network, state):
  own = state.params["classifier"]
  head = classifier.Head(np.abs(own["weight"]), own["bias"])
  turned = folding.folded(folding.with_head(state, head), np.eye(CHANNELS))
  images = _images(8)
  answers = _of(network, "answers", turned, {"image": images})
  embedded = _of(network, "embed", turned, images)
  scores = _of(network, "scores", turned, embedded, answers["similarities"])
  points = np.abs(answers["points"])
  rows, _ = sweep.sweep(
    network,
    turned,
    _batches(images, 8),
    presets.load("contrast=0.5"),
    provenance=np.full(CHANNELS, -1),
    top=3,
    replicates=1,
  )
  expected = np.argsort(-points, axis=1, kind="stable")[:, :3]
  # Those without points are in no order.
  told = np.take_along_axis(points, expected, axis=1) > 0
  assert told[:, 0].all()
  np.testing.assert_array_equal(rows.prototypes[told], expected[told])
  np.testing.assert_allclose(rows.logits, answers["logits"], rtol=1e-5)
  taken = np.take_along_axis(np.asarray(scores), rows.prototypes, axis=1)
  np.testing.assert_allclose(rows.score, taken, rtol=1e-4, atol=1e-6)

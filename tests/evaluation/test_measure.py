"""One measuring function for every model: what is there, and what is not."""

import copy
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.data import stream
from protojax.data.places import Places
from protojax.evaluation import decisions, explanations, heat_checks, heats
from protojax.evaluation.measure import over_seeds
from protojax.explain import familiarity
from protojax.heat import similarity_map
from protojax.metrics import sizes
from protojax.metrics.means import Mean
from tests.conftest import ArraySource
from tests.explain import explain_fakes as fakes


class _Source(ArraySource):
  """Coloured tiles, of the fake model's classes."""

  def __init__(self, count=12, classes=3):
    super().__init__(count, 32, classes)
    self.images = fakes.photographs(count)


class _Known(_Source):
  """Of each image the object and two parts are known.

  The object is the left upper quarter, but the first image has none. One part
  lies in a cell of it, the other, which few images show, elsewhere.
  """

  def places(self, i):
    boxes = np.array([[0, 0, 0.5, 0.5]])[: int(i > 0)]
    return Places(np.zeros(len(boxes), int), boxes)

  def parts(self, i):
    return np.array([[1 / 8, 1 / 8, 1], [5 / 8, 3 / 8, i % 3 == 0]])


def _stream(source):
  return stream.ordered(source, 32, 4)


@pytest.fixture(scope="module")
def trained():
  """The model of mean colours, and its state."""
  model, state = fakes.trained()
  model = copy.copy(model)  # Other tests share it.
  model.backbone = types.SimpleNamespace(
    layers=model.backbone.layers, mean=(0.485, 0.456, 0.406)
  )
  return model, state


def test_decisions_by_hand(trained):
  model, state = trained
  source = _Source()
  similarity = np.asarray(
    jax.jit(lambda x: model.nearest(state, model.features(x))[0])(source.images)
  )
  weights = np.asarray(model.weights(state))
  logits = similarity @ weights.T
  best = similarity[:, np.asarray(state.buffers["alive"])].max(axis=1)
  known = familiarity.Familiarity("test", np.full(99, np.median(best)))
  found = decisions.measure(
    model, state, _stream(source), _stream(_Source(5)), known
  )
  assert_allclose(found["unfamiliar"].value, np.mean(best < np.median(best)))
  assert 0 <= found["unfamiliar_outliers"].value <= 1
  assert 0 < found["outlier_auroc_best"].value < 1
  assert_allclose(
    found["accuracy"].value, np.mean(logits.argmax(1) == source.labels)
  )
  # Five of the images are the same in both: a tie of the largest logits.
  assert 0 < found["outlier_auroc"].value < 1
  alive = state.buffers["alive"]
  assert_allclose(
    found["local_size"].value,
    np.mean(sizes.local_size(similarity, weights)),
    rtol=1e-6,
  )
  assert found["global_size"].value == alive.sum()
  # One living prototype of eleven is another's patch once more.
  assert_allclose(found["uniqueness"].value, 10 / 11)


@pytest.mark.parametrize("name", ["logits", "score"])
def test_outliers_by_the_logits_of_any_classifier(name, trained):
  """The largest logit is the mean of the image."""

  def predict(state, batch):
    del state
    found = jnp.mean(batch["image"], axis=(1, 2, 3))
    return {name: jnp.stack([found, found - 1000], axis=1)}

  dark, light = _Source(6), _Source(4)
  dark.images, light.images = np.zeros_like(dark.images), light.images * 0 + 99
  known = familiarity.Familiarity("test", np.full(99, 50.0), by="largest logit")
  given = trained[1], _stream(light), _stream(dark)
  found = decisions.apart(predict, *given, known)
  if name == "score":
    assert not found
  else:
    assert (found["outlier_auroc"].value, found["abstention"].value) == (1, 1)
    assert found["outlier_auroc"].count == 10
    assert found["unfamiliar"].value == 0
    assert found["unfamiliar_outliers"].value == 1
    assert "unfamiliar" not in decisions.apart(predict, *given)


def test_what_does_not_apply_is_absent(trained):
  model, state = trained
  found = decisions.measure(model, state, _stream(_Source(classes=2)))
  assert not {"accuracy", "calibration_error", "abstention"} & set(found)
  found = explanations.measure(model, state, _stream(_Source()), 4)
  assert set(found) == {
    *("deletion", "insertion", "drop_focus", "drop_dual", "same_cells")
  }


def test_prototypes_that_stand_for_a_part(trained):
  """All become the colour of the cell in which the first part lies."""
  model, state = trained
  source = _Known()
  source.images[:, :8, :8] = 250
  white = np.full_like(state.params["prototypes"]["prototypes"], 250 / 255)
  params = {**state.params, "prototypes": {"prototypes": white}}
  state = state.replace(params=params)
  found = explanations.measure(model, state, _stream(source), 6)
  # One prototype of twelve is dead.
  for name in ("purity", "consistency", "stability", "same_cells"):
    assert found[name].value == 1
    assert (found[name].count, found[name].left_out) == (11, 0)
  # Of six images the first has no object; three prototypes are asked of each.
  for name, each in (("content", 1), ("energy", 3), ("coverage", 1)):
    assert (found[name].count, found[name].left_out) == (5 * each, each)
  assert_allclose(found["coverage"].value, 0.25)
  assert found["hits"].value == 1
  assert found["outside_inside"].value < 1


def test_the_heat_of_a_class_is_the_mean_map_of_its_prototypes(trained):
  """With the weights that ProtoPNet's head starts from."""
  model, state = trained
  own = np.arange(3)[:, None] == state.buffers["class_of"][None]
  weights = np.where(own, 1.0, -0.5).astype(np.float32)

  @jax.jit
  def heat(photographs, classes):
    seen = decisions.decide(model, state, photographs)
    maps = heats._maps(model, state, seen)
    return maps, heats._class_map(maps, weights, classes)

  maps, found = map(np.asarray, heat(fakes.photographs(2), np.array([2, 0])))
  assert_allclose(found[0], np.mean(maps[0, own[2]], axis=0) * 4, rtol=1e-5)
  assert_allclose(found[1], np.mean(maps[1, own[0]], axis=0) * 4, rtol=1e-5)


@pytest.mark.slow
def test_checks_of_heat(trained):
  model, state = trained
  check = jax.jit(functools.partial(heat_checks.checked, model))
  batch = next(iter(_stream(_Source()).batches()))
  found = check(state, batch)
  assert set(found) == {"max_sensitivity", "road", "mprt"}
  assert {x.shape for x in found.values()} == {(4,)}
  assert np.all(found["max_sensitivity"] > 0)
  assert np.all((found["road"] >= 0) & (found["road"] <= 1))
  assert np.all(np.abs(found["mprt"]) < 1)
  # A network that ignores its image never changes the class, and its maps of
  # zeros have no size to compare with, and no order of pixels.
  weight = np.zeros_like(state.params["head"]["weight"])
  params = {**state.params, "head": {"weight": weight}}
  found = check(state.replace(params=params), batch)
  assert_array_equal(found["road"], 1)
  for name in ("max_sensitivity", "mprt"):
    assert np.all(np.isnan(found[name]))


def _softmax(logits):
  return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_probabilities_by_branch_are_means_of_softmaxes():
  """Scores of the prototypes, half of them in each branch."""
  model, state = fakes.trained()
  weights = np.float64(model.weights(state))
  scores = np.linspace(-2, 3, 24).reshape(2, 12).astype(np.float32)
  logits = (scores @ weights.T).astype(np.float32)
  cells = np.zeros((2, 12), np.int32)
  embedded = np.zeros((2, 1, 1, 1), np.float32)
  seen = decisions.Decision(
    *(jnp.asarray(x) for x in (embedded, scores, cells, scores, logits))
  )
  halves = [
    _softmax(scores[:, own] @ weights[:, own].T)
    for own in (slice(0, 6), slice(6, 12))
  ]
  whole = _softmax(logits)
  for branches, by_branch, expected in (
    (None, True, whole),
    (2, False, whole),
    (2, True, np.mean(halves, axis=0)),
  ):
    if branches:
      model.branches = branches
    found = decisions.probabilities(model, state, seen, by_branch)
    assert_allclose(found, expected, rtol=1e-5)
  assert np.abs(whole - np.mean(halves, axis=0)).max() > 0.01


def test_deletion_by_branch_of_an_image_without_content():
  """Nothing changes if the image is grey: the area is the probability."""
  model, state = fakes.trained()
  model = copy.copy(model)
  model.branches = 2
  mean = (0.485, 0.456, 0.406)
  model.backbone = types.SimpleNamespace(mean=mean)
  images = np.round(np.full((1, 32, 32, 3), mean) * 255).astype(np.uint8)

  @jax.jit
  def both(images):
    seen = decisions.decide(model, state, images)
    asked = model, state, images, jnp.zeros((1, 32, 32))
    return [
      (
        decisions.probabilities(model, state, seen, by_branch),
        heats._deleted(*asked, by_branch),
      )
      for by_branch in (False, True)
    ]

  (whole, _), *_ = found = both(images)
  for probabilities, areas in found:
    for area in areas.values():
      assert_allclose(area, np.max(probabilities, axis=1), rtol=1e-5)
  assert abs(np.max(found[1][0]) - np.max(whole)) > 1e-3


class _Oblong(_Known):
  """Images of 40 x 20 pixels; the object covers 0.3 of each side."""

  def __init__(self):
    super().__init__()
    self.images = fakes.photographs(12).repeat(2, axis=1)[:, :40, :20]

  def places(self, i):
    return Places(np.zeros(1, int), np.array([[0, 0, 0.3, 0.3]]))


def test_heat_comes_to_the_size_of_each_image():
  """The object has 12 x 6 of 40 x 20 pixels, the warm half is the right one."""
  step = np.tile(np.float32([0, 0, 1, 1]), (2, 4, 1))
  found = explanations._at_own_size(
    _stream(_Oblong()), np.array([3, 5]), step, step[:, None]
  )
  assert_allclose(found["coverage"], 0.3**2)
  assert_allclose(found["hits"], 0)
  columns = np.asarray(similarity_map.upsample(step[:1], 40, 20))[0, 0]
  columns = (columns - columns.min()) / np.ptp(columns)
  on, whole = columns[:6].mean(), columns.mean()
  assert_allclose(found["content"][:, 0], on, rtol=1e-5)
  off = (whole * 800 - on * 72) / (800 - 72)
  assert_allclose(found["outside_inside"][:, 0], off / on, rtol=1e-4)


@pytest.mark.slow
def test_heat_is_measured_at_the_size_of_images(trained):
  """12 x 6 pixels of 40 x 20; at the network's 32 x 32 they are 10 x 10."""
  model, state = trained
  source = _Oblong()
  found = {
    own: explanations.measure(model, state, _stream(source), 2, own_size=own)
    for own in (False, True)
  }
  assert_allclose(found[False]["coverage"].value, (10 / 32) ** 2)
  assert_allclose(found[True]["coverage"].value, 0.3**2)
  assert found[True].keys() == found[False].keys()
  same = {n for n in found[True] if found[True][n] == found[False][n]}
  assert {"deletion", "insertion", "same_cells", "stability"} <= same
  # The same heat, at another size.
  for name in "content", "outside_inside", "energy":
    assert name not in same
    values = [np.float64(found[own][name].value) for own in (False, True)]
    assert_allclose(*values, rtol=0.2)


def _mean(value, count=10, left_out=0):
  return jax.tree.map(np.asarray, Mean(np.float32(value), count, left_out))


def test_over_seeds():
  rows = [
    {"accuracy": _mean(0.5), "overlap": _mean(0.25, 6, 4)},
    {"accuracy": _mean(0.75), "overlap": _mean(np.nan, 0, 10)},
  ]
  found = over_seeds(rows)
  assert found["accuracy"] == {
    "mean": 0.625,
    "std": pytest.approx(0.125 * 2**0.5),
    "n": 2,
    "left_out": 0,
  }
  assert found["overlap"] == {
    "mean": 0.25,
    "std": None,
    "n": 1,
    "left_out": 0.7,
  }
  assert set(found) == {"accuracy", "overlap"}

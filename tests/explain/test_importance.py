import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pandas
import pytest
from skimage import data
from sklearn.cluster import KMeans

from protojax import backbones
from protojax.explain.importance import Local, from_maps, importance, of_batch
from protojax.explain.sweep import Rows, Totals, sweep
from protojax.explain.totals import Replicates, Sums
from protojax.modify import modification, presets
from protojax.prototypes import similarity as similarities
from protojax.prototypes.layer import AddOn, PrototypeLayer
from protojax.prototypes.network import Network
from tests import starts
from tests.explain import explain_fakes as fakes
from tests.modify import plain_script as script

NAMES = fakes.FEW
MODIFICATIONS = fakes.PRESET.modifications

compiled = jax.jit(importance, static_argnums=(0, 1, 3, 4, 5))


def _bound(model, state):
  return (
    lambda images: model.nearest(state, model.features(images)),
    lambda images, cells: model.at(state, model.features(images), cells),
  )


def _run(model, state, batches, **options):
  # The same for all tests, so that they share compiled programs.
  options = {"top": 11, "keep_all": True, **options}
  provenance = options.pop("provenance", np.full(12, -1, np.int32))
  *rows, totals = sweep(
    model, state, batches, fakes.PRESET, provenance=provenance, **options
  )
  assert all(isinstance(row, Rows) for row in rows)
  assert isinstance(totals, Totals)
  return rows, totals


@functools.cache
def _eight(names=NAMES):
  """Scores of eight images, in a program that several tests share."""
  order = tuple(MODIFICATIONS[NAMES.index(name)] for name in names)
  images = fakes.photographs(8, seed=5)
  found = compiled(*_bound(*fakes.trained()), images, order)
  return images, jax.tree.map(np.asarray, found)


def test_stack_equals_separate_calls():
  model, state = fakes.trained()
  nearest, at = _bound(model, state)
  images = fakes.photographs(5, seed=3)
  modifications = presets.REFERENCE.modifications
  local = jax.tree.map(np.asarray, compiled(nearest, at, images, modifications))
  similarity, cell = map(np.asarray, jax.jit(nearest)(images))
  assert_array_equal(local.place, cell)
  assert_allclose(local.similarity, similarity, rtol=1e-6)
  at = jax.jit(at)
  for m, one in enumerate(modifications):
    changed = at(modification.modify(images, one), cell)
    assert_allclose(
      local.delta[:, m], similarity - changed, rtol=1e-5, atol=1e-5
    )


def test_features_made_once_change_no_score():
  model, state = fakes.trained()
  images, apart = jax.tree.map(lambda x: x[:5], _eight())
  runs = []

  def embed(images):
    jax.debug.callback(lambda: runs.append(len(images)))
    return model.features(images)

  shared = compiled(
    lambda features: model.nearest(state, features),
    lambda features, cells: model.at(state, features, cells),
    images,
    MODIFICATIONS,
    embed,
  )
  assert_array_equal(shared.place, apart.place)
  assert_allclose(shared.delta, apart.delta, atol=1e-5)
  # M + 1 images (the control is the unchanged image), padded to fours.
  jax.effects_barrier()
  assert runs == [4] * math.ceil(5 * len(NAMES) / 4)


def test_scores_of_a_backbone_in_bfloat16_are_of_float32():
  layer = PrototypeLayer(6, 16, similarities.load("log"))
  nets = {
    dtype: Network(
      backbones.load("convnet", dtype), AddOn(16), layer, 32, ("a", "b")
    )
    for dtype in ("float32", "bfloat16")
  }
  state = jax.device_put(starts.begun(nets["float32"].init, np.arange(6) % 2))
  batch = {"image": fakes.photographs(2, seed=3)}
  found = {}
  for dtype, net in nets.items():
    nearest, at, embed = (
      functools.partial(f, state) for f in (net.nearest, net.at, net.embed)
    )
    local, features = jax.tree.map(
      np.asarray,
      jax.jit(of_batch, static_argnums=(0, 1, 3, 4))(
        nearest, at, batch, fakes.PRESET, embed
      ),
    )
    assert local.similarity.dtype == local.delta.dtype == np.float32
    assert_array_equal(local.delta[:, 0], 0.0)
    # Exact to the last digits: nothing after the features is rounded.
    z = np.asarray(features, np.float64).reshape(2, -1, 1, 16)
    prototypes = np.asarray(state.params["prototypes"]["prototypes"])
    far = ((z - prototypes.reshape(1, 1, 6, 16)) ** 2).sum(axis=-1).min(axis=1)
    assert_allclose(local.similarity, script.similarity(far), rtol=1e-5)
    found[dtype] = np.asarray(local.similarity)
  assert_allclose(found["bfloat16"], found["float32"], rtol=0.02)
  assert np.any(found["bfloat16"] != found["float32"])


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ("hue", "identity")])
def test_control_is_exactly_zero(names):
  _, local = _eight(names)
  assert local.delta.shape == (8, len(names), 12)
  assert not local.delta[:, names.index("identity")].any()
  assert np.all(np.abs(local.delta[:, names.index("hue")]).max(axis=1) > 0.01)


def test_what_changes_no_pixel_scores_exactly_zero():
  # Not the first of the stack: the program is the same at every row.
  model, state = fakes.trained()
  grey = fakes.photographs(4, seed=4)[..., :1].repeat(3, axis=3)
  _, totals = _run(model, state, [_batch(grey)])
  for name in ("identity", "hue", "saturation"):
    assert not totals.all.importance[NAMES.index(name)].any()
  assert totals.all.importance[NAMES.index("contrast")].any()


def _batch(images, pad=0):
  n = len(images) + pad
  index = np.r_[np.arange(len(images)), np.zeros(pad, np.int64)]
  return {
    "image": images[index],
    "label": np.zeros(n, np.int32),
    "index": index.astype(np.int32),
    "valid": np.arange(n) < len(images),
  }


def test_same_cell_rule():
  # A model whose map moves down by a cell where contrast is low.
  def maps(images):
    spread = jnp.std(jnp.asarray(images, jnp.float32), axis=(1, 2, 3))
    ramp = jnp.array([0.0, 3.0, 1.0, 0.0])[None, :, None, None]
    moved = jnp.roll(ramp, 1, axis=1)
    return jnp.where(spread[:, None, None, None] > 90, ramp, moved)

  images = np.zeros((1, 8, 8, 3), np.uint8)
  images[:, :4] = 255
  nearest, at, embed = from_maps(maps)
  local = compiled(nearest, at, images, MODIFICATIONS[:2], embed)
  assert_array_equal(local.place, [[1]])
  assert_array_equal(local.delta[0], [[0.0], [3.0]])
  # The best cell of the copy is as similar as before; the same cell is not.
  own = compiled(nearest, at, images, MODIFICATIONS[:2], embed, True)
  assert_array_equal(own.place, [[1]])
  assert_array_equal(own.delta[0], [[0.0], [0.0]])


def test_a_model_of_another_library():
  """Cluster centres of scikit-learn as prototypes, called on the host."""
  images = np.stack([data.chelsea()[:96, 60:156], data.coffee()[200:296, :96]])
  calls = []

  def patches(images):
    tiles = np.asarray(images).reshape(-1, 12, 8, 12, 8, 3).swapaxes(2, 3)
    return tiles.reshape(len(images), 12, 12, 192) / 255

  kinds = KMeans(5, n_init=1, random_state=0)
  kinds.fit(patches(images).reshape(-1, 192))

  def likeness(images):
    calls.append(len(images))
    found = patches(images)
    distance = kinds.transform(found.reshape(-1, 192))
    return -distance.reshape(*found.shape[:3], 5).astype(np.float32)

  def maps(images):
    shape = jax.ShapeDtypeStruct((len(images), 12, 12, 5), np.float32)
    return jax.pure_callback(likeness, shape, images)

  nearest, at, embed = from_maps(maps)
  local = compiled(nearest, at, images, MODIFICATIONS, embed)
  jax.block_until_ready(local)
  assert sum(calls) == 2 * len(MODIFICATIONS)
  before = likeness(images).reshape(2, 144, 5)
  cell = before.argmax(axis=1)
  assert_array_equal(local.place, cell)
  for m, one in enumerate(MODIFICATIONS):
    after = likeness(modification.modify(images, one)).reshape(2, 144, 5)
    for b in range(2):
      for p in range(5):
        fall = before[b, cell[b, p], p] - after[b, cell[b, p], p]
        assert_allclose(local.delta[b, m, p], fall, atol=1e-5)
  assert np.abs(local.delta[:, NAMES.index("brightness")]).min() > 1e-3


def test_score_by_strength():
  """A planted toy: prototypes are colours, the images of full saturation."""
  images = np.array([[[[255, 0, 0]]], [[[0, 0, 255]]]], np.uint8)
  images = images.repeat(8, axis=1).repeat(8, axis=2)
  colours = np.float32([[255, 0, 0], [0, 0, 255]])

  def maps(images):
    apart = (
      jnp.asarray(images, jnp.float32)[..., None, :] - colours[None, None, None]
    )
    return -jnp.abs(apart).mean(axis=-1)

  nearest, at, embed = from_maps(maps)
  by_name, every = dict(zip(NAMES, MODIFICATIONS, strict=True)), {}
  for name, strengths in (
    ("saturation", (1, 0.8, 0.5, 0.2, 0)),
    ("hue", (0, 0.1, 0.2, 0.3)),
    ("brightness", (1, 0.6, 0.3, 0)),
  ):
    every[name] = presets.over(by_name[name], strengths).modifications
  # In one program.
  local = compiled(nearest, at, images, sum(every.values(), ()), embed)
  delta = np.asarray(local.delta)[np.arange(2), :, np.arange(2)]
  ends = np.cumsum([len(one) for one in every.values()])
  for name, own in zip(every, np.split(delta, ends[:-1], axis=1), strict=True):
    own = own[:, 1:]
    assert not own[:, 0].any()
    assert np.all(np.diff(own, axis=1) > 1), name


def test_sums_equal_groupby_of_the_whole_table():
  model, state = fakes.trained()
  stream = fakes.Images(fakes.photographs(11, seed=5), np.zeros(11))
  rows, totals = _run(model, state, stream.batches())
  similarity = np.concatenate([r.all_scores.similarity for r in rows])
  delta = np.concatenate([r.all_scores.delta for r in rows])
  assert delta.shape == (11, len(NAMES), 12)
  table = pandas.DataFrame(
    (k, j, name, delta[k, m, j], similarity[k, j])
    for k in range(11)
    for j in range(12)
    for m, name in enumerate(NAMES)
  )
  table.columns = ["image", "prototype", "modification", "delta", "g"]
  table["product"] = table.delta * table.g
  groups = table.groupby(["modification", "prototype"])
  expected = groups["product"].sum() / groups["g"].sum()
  for m, name in enumerate(NAMES):
    assert_allclose(
      totals.all.importance[m], expected[name], rtol=1e-5, atol=1e-6
    )
  weighted = (similarity.astype(float) ** 2).sum(0) / similarity.sum(0)
  assert_allclose(totals.all.similarity, weighted, rtol=1e-5)
  assert totals.all.images == 11


def test_all_devices_together_equal_one():
  images, alone = _eight()
  rows, _ = _run(*fakes.trained(), [_batch(images)])
  for found, expected in zip(rows[0].all_scores, alone, strict=True):
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_padding_batches_and_order_do_not_matter():
  model, state = fakes.trained()
  images = fakes.photographs(8, seed=6)
  _, expected = _run(model, state, [_batch(images)])
  _, padded = _run(model, state, [_batch(images, pad=4)])
  _, turned = _run(model, state, [_batch(images[::-1])])
  _, small = _run(model, state, fakes.Images(images, np.zeros(8)).batches())
  for totals in (padded, turned, small):
    assert_allclose(
      totals.all.importance, expected.all.importance, rtol=1e-5, atol=1e-6
    )
    assert totals.all.images == 8


def test_global_of_one_image_is_local():
  model, state = fakes.trained()
  rows, totals = _run(model, state, [_batch(fakes.photographs(1), pad=3)])
  assert_allclose(
    totals.all.importance, rows[0].all_scores.delta[0], rtol=1e-5, atol=1e-6
  )


def test_constant_delta_is_that_constant():
  rng = np.random.default_rng(0)
  similarity = rng.uniform(0.1, 9, (6, 4)).astype(np.float32)
  delta = np.full((6, 2, 4), 0.7, np.float32)
  mask = np.ones(6, bool)
  local = Local(similarity, np.zeros((6, 4), np.int32), delta)
  log, draws = similarities.load("log"), Replicates.empty(0, 2, 4)
  of = jax.jit(lambda similarity: Sums.of(local, similarity, mask, log))
  scores = of(similarity).scores(draws)
  assert_allclose(scores.importance, 0.7, rtol=1e-6)
  assert scores.replicates.shape == (0, 2, 4)
  none = of(np.zeros_like(similarity)).scores(draws)
  assert np.isnan(none.importance).all()


def test_the_head_does_not_matter_to_scores():
  model, state = fakes.trained()
  images = [_batch(fakes.photographs(4, seed=7))]
  head = {"weight": 5 - 3 * state.params["head"]["weight"]}
  other = state.replace(params={**state.params, "head": head})
  rows, totals = _run(model, state, images)
  changed, same = _run(model, other, images)
  assert_array_equal(totals.all.importance, same.all.importance)
  for each, again in zip(
    rows[0].all_scores, changed[0].all_scores, strict=True
  ):
    assert_array_equal(each, again)
  assert np.any(rows[0].logits != changed[0].logits)


def test_source_image_is_left_out():
  model, state = fakes.trained()
  stream = model.train
  provenance = state.buffers["provenance"].image
  rows, totals = _run(model, state, stream.batches(), provenance=provenance)
  similarity = np.concatenate([r.all_scores.similarity for r in rows])
  delta = np.concatenate([r.all_scores.delta for r in rows])
  for j in range(12):
    kept = np.arange(12) != provenance[j]
    weight = similarity[kept, j].astype(float)
    expected = (delta[kept, :, j] * weight[:, None]).sum(0) / weight.sum()
    assert_allclose(
      totals.without_own.importance[:, j], expected, rtol=1e-4, atol=1e-5
    )
  assert np.all(similarity[provenance, np.arange(12)] > 9.2)


def test_rows_are_the_living_prototypes_of_most_points():
  model, state = fakes.trained(dead=(5, 6))
  batch = _batch(fakes.photographs(4, seed=8))
  rows, _ = _run(model, state, [batch])
  row = rows[0]
  assert row.prototypes.shape == (4, 11)
  assert_array_equal(row.prototypes[:, 10], -1)
  alive = row.prototypes[:, :10]
  assert not np.isin(alive, (5, 6)).any()
  for b in range(4):
    assert_array_equal(
      row.delta[b, :, :10], row.all_scores.delta[b][:, alive[b]]
    )
  weight = np.asarray(model.weights(state))
  of_answer = weight[row.logits.argmax(1)]
  points = np.abs(
    row.score[:, :10] * np.take_along_axis(of_answer, alive, axis=1)
  )
  assert np.all(np.diff(points, axis=1) <= 1e-6)
  score = np.where(state.buffers["alive"], row.all_scores.similarity, 0)
  assert_allclose(row.logits, score @ weight.T, rtol=1e-5)


@pytest.mark.parametrize("similarity", ["linear", "cosine"])
def test_weights_are_never_negative(similarity):
  model, state = fakes.trained(similarity=similarity)
  _, totals = _run(model, state, [_batch(fakes.photographs(4))])
  assert np.isfinite(totals.all.importance).all()
  assert not totals.all.importance[0].any()

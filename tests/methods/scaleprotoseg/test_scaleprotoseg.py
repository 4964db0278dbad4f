"""ScaleProtoSeg: its head, prototypes, push and pruning, on small mosaics."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
import pytest
from scipy import ndimage

from configs import scaleprotoseg_folder
from protojax import methods, parallel
from protojax.data import stream
from protojax.data.source import subset
from protojax.engine.stage import Fit
from protojax.explain.request import Request
from protojax.methods.scaleprotoseg import (
  judging,
  part_scores,
  pixel_push,
  prune,
  regions,
)
from protojax.methods.scaleprotoseg import network as network_lib
from protojax.prototypes import neighbours, push
from protojax.prototypes.bank import with_bank
from protojax.types import UserError
from tests.common.terms import total

VOID = 255


def _load(variants="debug", **keys):
  config = scaleprotoseg_folder.get_config(variants).unlock()
  for key, value in keys.items():
    group, name = key.split("_", 1)
    config[group][name] = value
  return methods.load(config)


@pytest.fixture(scope="module")
def method():
  return _load()


@pytest.fixture(scope="module")
def state(method):
  return parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))


@pytest.fixture(scope="module")
def batch(method):
  return next(method.stream("train").batches())


@pytest.fixture(scope="module")
def features(method, state, batch):
  embed = jax.jit(method.network.embed)
  return np.asarray(embed(state, batch["image"]))


@pytest.fixture(scope="module")
def logits(method):
  """Function: (state, features) -> logits."""
  return jax.jit(method.network.logits)


def test_the_head_starts_as_in_the_paper(state):
  head = state.params["head"]
  for name, rest in (("of_prototypes", (2, 6, 3)), ("of_groups", (6, 3))):
    weights = head[name].reshape(6, *rest)
    own = (
      np.eye(6)[:, None, :, None] if len(rest) == 3 else np.eye(6)[..., None]
    )
    expected = np.where(np.broadcast_to(own, weights.shape) > 0, 1, -0.5)
    assert_array_equal(weights, expected)


def test_prototypes_may_change_places_within_scale_and_class(
  method, state, features, logits
):
  bank = method.network.bank(state)
  vectors = np.asarray(bank.vectors).reshape(2, 6, 3, -1)[:, :, ::-1]
  turned = with_bank(
    state, bank.replace(vectors=vectors.reshape(bank.vectors.shape))
  )
  expected = logits(state, features)
  assert_allclose(logits(turned, features), expected, atol=1e-4)


def test_dead_prototypes_are_as_if_they_were_not_there(
  method, state, features, logits
):
  bank = method.network.bank(state)
  alive = np.tile([True, False, False], 12)
  found = logits(with_bank(state, bank.replace(alive=alive)), features)
  network = dataclasses.replace(method.network, per_class=1, groups=0)
  params = {
    **state.params,
    "prototypes": {"prototypes": np.asarray(bank.vectors)[::3]},
    "head": {"of_prototypes": state.params["head"]["of_prototypes"][..., :1]},
  }
  buffers = {"class_of": bank.class_of[::3], "alive": alive[::3]}
  pruned = state.replace(params=params, buffers=buffers)
  expected = jax.jit(network.logits)(pruned, features)
  assert_allclose(found, expected, atol=1e-4)


def test_distances_are_sums_of_squares(method, state, features):
  found = jax.jit(method.network.distances)(state.params, features)
  vectors = np.asarray(method.network.vectors(state), np.float64)
  apart = features[:, :, :, :, None, None].astype(np.float64) - vectors
  assert_allclose(found, (apart**2).sum(-1), atol=2e-6)


def test_what_void_pixels_show_changes_no_loss(method, state, features):
  """Nor do images of padding, of which no pixel has a class."""
  labels = np.arange(6 * 16 * 16).reshape(6, 16, 16) % 7
  labels = np.where(labels == 6, VOID, labels)
  of_map = jax.jit(
    lambda x: total(method._of_map(state.params, state, x, labels))
  )
  loss = of_map(features)
  other = np.where((labels == VOID)[..., None, None], 0.7, features)
  assert_allclose(of_map(other.astype(np.float32)), loss, rtol=1e-6)
  assert abs(of_map(np.flip(features, axis=1)) - loss) > 1e-6


def test_every_prototype_becomes_a_pixel_of_its_class(method, state):
  data = method.stream("train")
  pushed, metrics = method.push(state, data)
  network = method.network
  bank = network.bank(pushed)
  origin, vectors = bank.provenance, np.asarray(bank.vectors)[:, 0, 0]
  assert metrics["pushed"] == 36
  read = data.examples(np.asarray(origin.image))
  rows = jax.jit(network.rows)(pushed, read)
  for p in range(36):
    scale = p // 18
    y, x = divmod(int(origin.cell[p]), network.grid[1])
    pixel = rows["features"][p, y, x, scale]
    assert_allclose(vectors[p], pixel, atol=1e-6)
    assert rows["cells"][p, y, x] == bank.class_of[p]
  # Again, it moves none: each has distance 0 to its own pixel.
  again, metrics = pixel_push.push(network, pushed, data)
  assert metrics["moved_max"] == 0
  assert_array_equal(network.bank(again).vectors, bank.vectors)
  assert not push.stale(again)
  activations = np.log((0 + 1) / (0 + 1e-4))
  seen = jax.jit(network.see)(pushed.params, pushed, rows["features"])
  place = np.asarray(seen.activations).reshape(36, -1, 36)
  best = place[np.arange(36), np.asarray(origin.cell), np.arange(36)]
  alive = np.asarray(bank.alive)
  assert_allclose(best[alive], activations, atol=0.02)
  assert (best[~alive] == 0).all()


def test_equal_prototypes_of_a_class_are_one(method, state):
  bank = method.network.bank(state)
  vectors = np.array(bank.vectors)
  vectors[1] = vectors[0]
  vectors[18] = vectors[0]  # Of another scale: it stays.
  same = with_bank(state, bank.replace(vectors=vectors))
  pushed, metrics = method.push(same, method.stream("train"))
  assert metrics["duplicates"] >= 1
  alive = np.asarray(method.network.bank(pushed).alive)
  assert not alive[1]
  assert alive[[0, 18]].all()


def test_classes_that_no_image_shows_are_named_and_dead(
  method, state, monkeypatch
):
  said = []
  monkeypatch.setattr(parallel, "say", said.append)
  source = method.dataset.source("train")
  without = [i for i in range(18) if not (source[i]["mask"] == 3).any()]
  small = stream.ordered(subset(source, without[:4]), 64, 4)
  started, metrics = method.start(state, small)
  assert "no training image shows" in said[0]
  assert "grass 2x" in said[0]
  assert metrics["classes_without_pixels"] >= 1
  bank = method.network.bank(started)
  assert not np.asarray(bank.alive)[np.asarray(bank.class_of) == 3].any()


def test_protosegs_pruning_asks_for_any_pixel_of_the_box():
  rng = np.random.default_rng(0)
  masks = rng.integers(0, 3, (2, 9, 9)).astype(np.int32)
  masks[:, 2] = VOID
  found = prune.patches(masks, 4, 4, 3)
  for b, y, x, k in np.ndindex(2, 4, 4, 3):
    rows = slice(y * 9 // 4, (y + 1) * 9 // 4)
    columns = slice(x * 9 // 4, (x + 1) * 9 // 4)
    inside = masks[b][rows, columns]
    assert found[b, y, x, k] == (inside == k).any()


def test_pruning_asks_no_patch_of_void(method, state, batch, features):
  """An image without a class is no neighbour; of a half, its other half is."""
  bank = method.network.bank(state)
  vectors = np.array(bank.vectors)
  vectors[0, 0, 0] = features[0, 2, 3, 0]  # A pixel of the upper half.
  near = with_bank(state, bank.replace(vectors=vectors))
  mask = np.full_like(batch["mask"], VOID)
  mask[0, 32:] = 1
  empty = neighbours.empty(36, 2, {"own": np.zeros((), bool)})
  add = jax.jit(functools.partial(prune._add, method.network))
  found = add(near, empty, {**batch, "mask": mask})
  assert_array_equal(found.images[:, 0], batch["index"][0])
  assert np.isinf(found.distances[:, 1]).all()
  lower = ((features[0, 8:, :, 0] - vectors[0, 0, 0]) ** 2).sum(-1)
  assert lower.min() > 1e-5
  assert_allclose(found.distances[0, 0], lower.min(), atol=2e-6)
  assert_array_equal(found.more["own"][:, 0], np.asarray(bank.class_of) == 1)


def test_labels_of_cells_are_pillows_nearest():
  plane = np.arange(13 * 13, dtype=np.int32).reshape(13, 13)
  found = network_lib.nearest(plane[None], 5, 5)[0]
  picture = Image.fromarray(plane).resize((5, 5), Image.Resampling.NEAREST)
  assert_array_equal(found, np.asarray(picture))


def test_the_largest_value_of_all_sizes_counts(method, state, batch):
  network = dataclasses.replace(method.network, sizes=(0.5,))
  maps, _ = jax.jit(network.features)(
    state.params, state.statistics, batch["image"]
  )
  assert len(maps) == 3
  whole, half, largest = (np.asarray(x) for x in maps)
  assert half.shape[1] * 2 == whole.shape[1]
  assert largest.shape == whole.shape
  assert (largest >= whole - 1e-6).all()
  assert (largest > whole + 1e-6).any()


def test_smaller_images_lie_as_pytorchs_interpolate_puts_them():
  """Output i is at (i + 0.5) / size - 0.5 of the input; sides round down."""
  rng = np.random.default_rng(0)
  images = rng.uniform(0, 255, (1, 7, 11, 3)).astype(np.float32)
  found = jax.jit(network_lib.scaled, static_argnums=1)(images, 0.75)
  assert found.shape == (1, 5, 8, 3)
  rows, columns = ((np.arange(n) + 0.5) / 0.75 - 0.5 for n in (5, 8))
  expected = ndimage.map_coordinates(
    images[0, ..., 0], np.meshgrid(rows, columns, indexing="ij"), order=1
  )
  assert_allclose(found[0, ..., 0], expected, rtol=1e-5, atol=1e-3)


def test_stages_are_those_of_the_paper_and_of_its_variants():
  def names(variants):
    return [stage.name for stage in _load(variants).stages()]

  start = ["start", "warm", "joint"]
  whole = [*start, "push", "last", "group", "sort", "refine", "threshold"]
  assert names("debug") == whole
  assert names("protoseg,debug") == [*start, "push", "prune", "last"]
  assert names("plain,debug") == start
  fits = [s for s in _load("deeplab,debug").stages() if isinstance(s, Fit)]
  assert [fit.accumulate for fit in fits] == [1] * 5
  c = scaleprotoseg_folder.get_config("deeplab")
  assert (c.warm.steps, c.joint.steps, c.accumulate) == (3_000, 30_000, 5)


def test_a_map_of_classes_falls_into_regions():
  classes = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 2, 2, 1], [3, 3, 0, 1]])
  found = regions.found(classes)
  assert found.classes.tolist() == [1, 2, 0, 3, 0, -1]
  assert_array_equal(found.cells == 0, classes == 1)
  assert regions.box(found, 1, 8) == (2, 2, 6, 6)


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"loss_on": "map"}, r"loss\.on='map': choose distance or similarity"),
    ({"aspp_rates": ()}, r"aspp\.rates is \(\): give one dilation or more"),
    ({"prune_least": 2}, r"prune\.least is 2; of .*nearest=0 images no more"),
    ({"backbone_levels": ("x",)}, "no level 'x'; choose"),
  ],
)
def test_settings_that_cannot_be_are_refused(keys, message):
  with pytest.raises(UserError, match=message):
    _load(**keys).network  # noqa: B018


def test_a_linear_head_gives_no_reasons():
  method = _load("plain,debug")
  state = jax.eval_shape(method.init, parallel.init_key(0))
  assert "prototypes" not in state.params
  explains = method.capabilities.explains(method)
  with pytest.raises(UserError, match="linear head, which compares with noth"):
    next(explains.explain(state, method.stream("test"), Request()))
  assert not explains.stale(state)
  found = jax.eval_shape(
    method.predict, state, {"image": jnp.zeros((1, 64, 64, 3), jnp.uint8)}
  )
  assert found["classes"].shape == (1, 64, 64)


def test_shared_tops_are_those_of_a_loop(method, state, batch):
  """Of each image and class in it, pairs of prototypes of two scales."""
  bank = method.network.bank(state)
  alive = np.array(bank.alive)
  alive[[1, 20]] = False
  some = with_bank(state, bank.replace(alive=alive))
  found = jax.jit(functools.partial(judging._tops, method.network))(some, batch)
  rows = jax.jit(method.network.rows)(some, batch)
  seen = jax.jit(method.network.see)(some.params, some, rows["features"])
  values = np.asarray(seen.activations).reshape(len(found), 256, 36)
  tops = values >= -np.sort(-values, axis=1)[:, 12:13]  # 5 % of 256 cells
  for i, of_image in enumerate(np.asarray(rows["cells"])):
    shares = []
    for p, q in itertools.combinations(np.flatnonzero(alive), 2):
      k = bank.class_of[p]
      apart = p // 18 != q // 18 and k == bank.class_of[q]
      if apart and (of_image == k).any():
        a, b = tops[i, :, p], tops[i, :, q]
        shares.append((a & b).sum() / (a | b).sum())
    assert_allclose(found[i], [sum(shares), len(shares)], rtol=1e-5)


@pytest.mark.parametrize("rescaled", [False, True])
def test_small_weights_of_groups_become_0(method, state, rescaled):
  """0.04 and 0.05 - 1e-6 go, 0.05 stays; the others keep their shares."""
  own = _load(groups_rescaled=rescaled)
  weights = np.zeros((6, 3, 6), np.float32)
  weights[..., :4] = 0.86, 0.05, 0.05 - 1e-6, 0.04
  params = {**state.params, "head": {**state.params["head"]}}
  params["head"]["weights"] = weights
  buffers = {**state.buffers, "grouped": np.ones((), bool)}
  before = state.replace(params=params, buffers=buffers)
  after, found = own.threshold(before, method.stream("test"))
  kept = np.array([0.86, 0.05, 0, 0, 0, 0]) / (0.91 if rescaled else 1)
  got = after.params["head"]["weights"]
  assert_allclose(got, np.broadcast_to(kept, got.shape), rtol=1e-6)
  assert found["used"] == 12
  assert 0 <= found["changed"] <= 1


def test_consistency_and_stability_are_measured_where_parts_are_known(
  method, state, monkeypatch
):
  data = method.stream("test")
  measure = functools.partial(part_scores.measure, method.network, state)
  assert measure(data) == {}

  def part_plane(self, i):
    """Its upper and its lower half."""
    del self, i
    return np.repeat([1, 2], 32)[:, None].repeat(64, axis=1)

  kind = type(method.dataset.source("test"))
  monkeypatch.setattr(kind, "part_plane", part_plane, raising=False)
  # Without noise a prototype is where it was.
  monkeypatch.setattr(
    part_scores.parts, "noisy", lambda images, *_, **__: images
  )
  found = measure(data)
  assert set(found) == {"consistency", "stability"}
  assert 0 <= found["consistency"] <= 1
  assert found["stability"] == 1

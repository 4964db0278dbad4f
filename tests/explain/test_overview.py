"""Neighbours, intervals and redundancy of a sweep over fake images."""

import dataclasses

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax import backbones
from protojax.explain import overview as overviews
from protojax.explain import prototypical
from protojax.explain.context import Context
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.request import Request
from protojax.explain.sweep import Totals
from protojax.explain.totals import Scores
from protojax.modify import modification
from protojax.prototypes import head, neighbours
from protojax.prototypes import similarity as similarities
from protojax.prototypes.bank import bank_of, with_bank
from protojax.prototypes.layer import AddOn, PrototypeLayer
from protojax.prototypes.network import Network
from tests import starts
from tests.explain import explain_fakes as fakes

COUNT = 10


def _images():
  labels = np.arange(COUNT) % 3
  return fakes.Images(fakes.photographs(COUNT, seed=9), labels)


@pytest.fixture(scope="module")
def explained():
  """All results of a sweep over a few images."""
  model, state = fakes.trained()
  asked = []

  def evaluate(state):
    asked.append(state)
    return float(state.buffers["alive"].sum())

  found = list(
    prototypical.explain(
      model,
      state,
      _images(),
      Request(
        preset=fakes.PRESET, nearest=3, keep_all=True, prototypes_shown=4
      ),
      training=lambda: model.train,
      evaluate=evaluate,
    )
  )
  images = [e for e in found if isinstance(e, LocalExplanation)]
  prototypes = [e for e in found if isinstance(e, GlobalExplanation)]
  return model, state, images, found[len(images)], prototypes, asked


def test_neighbours_are_the_most_similar_images(explained):
  _, _, images, _, prototypes, _ = explained
  similarity = np.stack([e.all_scores.similarity for e in images])
  delta = np.stack([e.all_scores.delta for e in images])
  cell = np.stack([e.all_scores.cell for e in images])
  for e in prototypes:
    j, near = e.prototype, e.nearest["test"]
    order = np.argsort(-similarity[:, j], kind="stable")[:3]
    assert [n.index for n in near] == order.tolist()
    assert [n.label for n in near] == [f"class {i % 3}" for i in order]
    assert_array_equal([n.cell for n in near], cell[order, j])
    assert_allclose([n.similarity for n in near], similarity[order, j])
    for n, i in zip(near, order, strict=True):
      assert_allclose(list(n.because.values()), delta[i, :, j])
    shown = j < 4
    assert all((n.picture is not None) == shown for n in near)
    if shown:
      assert_array_equal(near[0].picture, _images().images[order[0]])
      assert near[0].crop.shape == (48, 48, 3)


def test_moved_prototypes_are_stale(explained):
  # The fake state holds nothing of the push, so its prototypes count as stale.
  *_, prototypes, _ = explained
  assert all(e.stale for e in prototypes)


def test_intervals_hold_the_scores(explained):
  *_, prototypes, _ = explained
  for e in prototypes:
    because = e.because["test"]
    assert because.intervals["identity"] == (0, 0)
    inside = [
      low <= because.scores[name] <= high
      for name, (low, high) in because.intervals.items()
    ]
    assert np.mean(inside) > 0.8
    assert because.intervals["hue"].high > because.intervals["hue"].low


def test_histogram_and_samples(explained):
  *_, overview, _, _ = explained
  assert overview.images == COUNT
  assert overview.without_own is None
  for edges, counts in overview.local.values():
    assert counts.sum() == COUNT * 11  # one of the twelve is dead
    assert len(edges) == len(counts) + 1
  assert [s.image for s in overview.samples] == [
    "image-0",
    "image-4",
    "image-9",
  ]
  images = _images().images
  for sample, index in zip(overview.samples, (0, 4, 9), strict=True):
    for m in fakes.PRESET.modifications:
      changed = modification.modify(images[index][None], m)[0]
      assert_array_equal(sample.pictures[m.name], changed)


def test_images_of_the_networks_size_are_modified_alike_in_both_modes():
  model, state = fakes.trained()
  found = {}
  for mode in ("fast", "reference"):
    preset = dataclasses.replace(fakes.PRESET, mode=mode)
    request = Request(scope="global", preset=preset)
    first, *rest = prototypical.explain(
      model, state, _images(), request, training=lambda: model.train
    )
    scores = [list(e.because["test"].scores.values()) for e in rest]
    found[mode] = np.array(scores), first
  (fast, one), (reference, other) = found.values()
  assert_allclose(reference, fast, rtol=1e-5, atol=1e-6)
  for a, b in zip(one.samples, other.samples, strict=True):
    for name in fakes.PRESET.names:
      assert_array_equal(a.pictures[name], b.pictures[name])


def _no_scores(count):
  """Totals that tell no two prototypes apart."""
  none = np.zeros((len(fakes.FEW), count))
  scores = Scores(none, none, none, none[0], COUNT, none[None])
  counts = np.zeros((len(fakes.FEW), 1), np.int64)
  near = neighbours.empty(count, 0)
  return Totals(scores, scores, near, counts, np.zeros(2))


@pytest.mark.parametrize("kind", head.KINDS)
def test_prototypes_are_merged_in_a_head_of_either_form(kind):
  layer = PrototypeLayer(6, 8, similarities.load("log"))
  net = Network(
    backbones.load("convnet", "float32"),
    AddOn(8),
    layer,
    32,
    ("a", "b"),
    head_kind=kind,
  )
  state = starts.begun(net.init, np.arange(6) % 2)
  bank = bank_of(state)
  vectors, image = bank.vectors.copy(), np.arange(6, dtype=np.int32)
  vectors[4], image[4] = vectors[0], image[0]
  provenance = bank.provenance.replace(image=image)
  bank = bank.replace(vectors=vectors, provenance=provenance)
  state = with_bank(state, bank)
  features = np.random.default_rng(3).random((COUNT, 4, 4, 8), np.float32)
  stream, answers = _images(), jax.jit(net.answers)
  asked = []

  def evaluate(state):
    asked.append(answers(state, {"embedded": features}))
    return float(bank_of(state).alive.sum())

  context = Context(net, state, stream, "test", fakes.PRESET)
  nothing = overviews.correlation(context)
  found = overviews.redundancy(context, _no_scores(6), nothing, evaluate)
  assert [g.prototypes for g in found.groups] == [(0, 4)]
  assert (found.accuracy, found.merged_accuracy) == (6, 5)
  before, after = asked
  assert_allclose(after["logits"], before["logits"], rtol=1e-5, atol=1e-5)


def test_the_same_patch_is_redundant(explained):
  model, state, _, overview, prototypes, asked = explained
  found = overview.redundancy
  assert [g.prototypes for g in found.groups if g.kind == "exact"] == [(0, 1)]
  assert prototypes[0].redundant_with == (1,)
  assert prototypes[1].redundant_with == (0,)
  before, after = asked
  assert (found.accuracy, found.merged_accuracy) == (11, 10)
  # Merging two of the same patch changes no logit.
  features = model.features(_images().images)
  similarity, _ = model.nearest(state, features)
  logits, merged = (
    np.asarray(similarity) @ np.asarray(model.weights(s)).T
    for s in (before, after)
  )
  assert_allclose(merged, logits, rtol=1e-5, atol=1e-5)

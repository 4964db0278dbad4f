"""ProtoPNet: what each stage moves, and what must hold after it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.data import stream, views
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.engine.summary import milestones
from protojax.methods.protopnet import last_layer
from protojax.prototypes import head, push
from protojax.prototypes.bank import bank_of, with_vectors
from protojax.types import UserError
from tests.common import terms


def _stage(method, name, length=2):
  found = next(s for s in method.stages() if s.name == name)
  # Images as they are compile sooner.
  plain = dataclasses.replace(found.data, views=views.one(""))
  return dataclasses.replace(found, data=plain, length=stages.steps(length))


def _train(fit, state, **kwargs):
  moments = fit.optimizer.init(state.params)
  updates = descent.fit(fit, state, moments, parallel.key(1), **kwargs)
  return [parallel.to_host(update) for update in updates][-1].state


def _solved(method, state):
  solve = next(s for s in method.stages() if s.name == "last layer")
  return solve.sweep(state, solve.data)[0]


def _moved(before, after):
  """Groups of parameters in which anything changed."""
  return {
    name
    for name in before.params
    if any(
      np.any(a != b)
      for a, b in zip(
        jax.tree.leaves(before.params[name]),
        jax.tree.leaves(after.params[name]),
        strict=True,
      )
    )
  }


def _same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_stages_are_the_papers(make_method):
  names = [s.name for s in make_method(rounds=2).stages()]
  assert names == [
    "start",
    "warm",
    "joint",
    "push",
    "last layer",
    "joint",
    "push",
    "last layer",
    "prune",
    "last layer after prune",
  ]


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"last.solver": "newton"}, "last.solver='newton': choose convex or adam"),
    ({"prototypes.per_class": 3}, "36 images for 9 prototypes take"),
  ],
)
def test_a_last_layer_that_cannot_be_is_told_of_before_training(
  make_method, monkeypatch, changes, told
):
  monkeypatch.setattr(last_layer, "_BYTES", 1000)
  with pytest.raises(UserError, match=told):
    list(make_method(**changes).stages())


@pytest.mark.parametrize(
  ("name", "groups"),
  [
    ("warm", {"add_on", "prototypes"}),
    ("joint", {"backbone", "add_on", "prototypes"}),
    ("last layer", {"head"}),
  ],
)
def test_a_stage_moves_its_groups_alone(make_method, make_state, name, groups):
  method = make_method(**{"last.solver": "adam"})
  before = make_state(method)
  after = _train(_stage(method, name), before)
  assert _moved(before, after) == groups
  # BatchNorm goes by its running averages, and leaves them alone.
  _same(before.statistics, after.statistics)
  _same(before.buffers, after.buffers)


@pytest.mark.parametrize(
  ("name", "groups"),
  [("pretrain", {"backbone"}), ("joint", {"backbone", "add_on", "prototypes"})],
)
def test_stages_that_norm_by_the_batch_move_the_running_averages(
  make_method, make_state, name, groups
):
  """In mixed precision: all that is kept is float32."""
  method = make_method(
    **{
      "backbone.dtype": "bfloat16",
      "joint.train_norm": True,
      "pretrain.epochs": 1,
    }
  )
  before = make_state(method)
  after = _train(_stage(method, name), before)
  assert _moved(before, after) == groups
  changed = jax.tree.map(
    lambda a, b: bool(np.any(a != b)),
    before.statistics["backbone"],
    after.statistics["backbone"],
  )
  assert all(jax.tree.leaves(changed))
  kept = jax.tree.leaves((after.params, after.statistics))
  assert {x.dtype for x in kept} == {np.dtype(np.float32)}


def test_mixed_precision_changes_the_loss_little(make_method, make_state):
  state = make_state(make_method())
  found = []
  for dtype in ("float32", "bfloat16"):
    method = make_method(**{"backbone.dtype": dtype})
    batch = next(method.stream("train").batches())
    given = state.params, state, batch, terms.now()
    found.append(float(terms.total(jax.jit(method.loss)(*given)[0])))
  assert found[0] != found[1]
  np.testing.assert_allclose(found[1], found[0], rtol=0.02)


def test_batch_norm_parity_trains_frozen_stages_by_the_batch(
  make_method, make_state
):
  method = make_method(batch_norm_parity=True)
  fit = _stage(method, "warm")
  assert fit.cached is None
  before = make_state(method)
  after = _train(fit, before)
  assert _moved(before, after) == {"add_on", "prototypes"}
  with pytest.raises(AssertionError):
    _same(before.statistics, after.statistics)


@pytest.mark.parametrize("name", ["warm", "last layer"])
def test_cached_rows_change_no_step(make_method, make_state, name):
  method = make_method(**{"last.solver": "adam"})
  state, fit = make_state(method), _stage(method, name, 4)
  cached = _train(fit, state)
  whole = _train(dataclasses.replace(fit, cached=None), state)
  for a, b in zip(
    jax.tree.leaves(cached.params), jax.tree.leaves(whole.params), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_loss_is_the_sum_of_its_terms(make_method, make_state):
  """Against the formula of section 2.2, written out in NumPy."""
  method = make_method()
  state = make_state(method)
  batch = next(method.stream("train").batches())
  found_terms, _ = jax.jit(method.loss)(state.params, state, batch, terms.now())
  found, _ = jax.jit(method.network.forward)(state.params, state, batch)
  labels, class_of = batch["label"], state.buffers["class_of"]
  logits = np.asarray(found.logits, np.float64)
  own = labels[:, None] == class_of[None]
  near = np.asarray(found.distances, np.float64)
  entropy = np.log(np.exp(logits).sum(1)) - logits[range(len(labels)), labels]
  cluster = np.where(own, near, np.inf).min(1)
  separation = np.where(own, np.inf, near).min(1)
  weight = state.params["head"]["weight"]
  off = np.arange(3)[:, None] != class_of[None]
  l1 = np.abs(weight[off]).sum()
  expected = (entropy + 0.8 * cluster - 0.08 * separation + 1e-4 * l1).mean()
  np.testing.assert_allclose(terms.total(found_terms), expected, rtol=1e-5)
  found = found_terms["cluster"]
  assert found.count == len(labels)
  np.testing.assert_allclose(found.total, cluster.sum(), rtol=1e-5)


def test_class_block_starts_with_the_answers_of_a_dense_head(
  make_method, make_state
):
  method = make_method(**{"prototypes.head": "class_block"})
  state = make_state(make_method())
  start = head.initial("class_block", state.buffers["class_of"], 3)
  shapes = jax.eval_shape(method.init, parallel.init_key(0)).params["head"]
  assert jax.tree.structure(shapes) == jax.tree.structure(start)
  other = state.replace(params={**state.params, "head": start})
  rng = np.random.default_rng(0)
  batch = {
    "distances": rng.random((4, 6), np.float32),
    "cells": np.zeros((4, 6), np.int32),
    "label": np.array([2, 0, 1, 1], np.int32),
  }

  @jax.jit
  def found(state):
    found, _ = method.loss(state.params, state, batch, terms.now())
    total = terms.total(found)
    return method.predict(state, batch), total

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    found(other),
    found(state),
  )


def test_logits_are_the_points_of_the_scoring_sheet(make_method, make_state):
  method = make_method()
  state = make_state(method)
  batch = next(method.stream("test").batches())
  rows = jax.jit(method.predict)(state, batch)
  weights = np.asarray(method.network.weights(state))
  points = rows["similarities"][:, None] * weights[None]
  np.testing.assert_allclose(points.sum(-1), rows["logits"], rtol=1e-4)
  np.testing.assert_allclose(rows["probabilities"].sum(1), 1, rtol=1e-5)
  assert rows["cells"].max() < np.prod(method.network.grid)


def test_pushed_prototypes_lie_in_their_images(make_method, make_state):
  method = make_method()
  train = method.stream("train")
  before = make_state(method)
  assert push.stale(before)
  state, metrics = method.push(before, train)
  assert not push.stale(state)
  assert metrics["pushed"] == len(state.buffers["class_of"])
  source = state.buffers["provenance"]
  images = train.examples(source.image)
  np.testing.assert_array_equal(images["label"], state.buffers["class_of"])
  features = np.asarray(jax.jit(method.network.embed)(state, images["image"]))
  flat = features.reshape(len(features), -1, features.shape[-1])
  patches = flat[np.arange(len(flat)), source.cell]
  np.testing.assert_allclose(
    patches, state.params["prototypes"]["prototypes"][:, 0, 0], atol=1e-5
  )
  again, metrics = method.push(state, train)
  assert metrics["moved_max"] < 1e-5
  np.testing.assert_array_equal(again.buffers["provenance"].image, source.image)


def test_only_what_moves_the_patches_makes_them_stale(make_method, make_state):
  method = make_method()
  state, _ = method.push(make_state(method), method.stream("train"))
  assert not push.stale(_solved(method, state))
  assert push.stale(_train(_stage(method, "warm"), state))


def test_start_brings_features_to_unit_variance(make_method, make_state):
  method = make_method()
  train = method.stream("train")
  state, _ = method.start(make_state(method), train)
  rows = [
    r["features"][b["valid"]]
    for b, r in parallel.each(
      method.network.backbone_rows, state, train.batches()
    )
  ]
  features = np.concatenate(rows).reshape(-1, rows[0].shape[-1])
  features = features.astype(np.float64)
  np.testing.assert_allclose(
    state.statistics["shift"], features.mean(0), atol=1e-5
  )
  live = features.std(0) > 0.05
  assert live.any()
  standard = (features - state.statistics["shift"]) * state.statistics["scale"]
  np.testing.assert_allclose(standard.std(0)[live], 1, rtol=1e-2)


def test_evaluation_counts_padding_out(make_method, make_state):
  method = make_method()
  state, test = make_state(method), method.stream("test")
  assert len(test) % test.batch_size
  rows = list(parallel.each(method.predict, state, test.batches()))
  logits = np.concatenate([r["logits"][b["valid"]] for b, r in rows])
  accuracy = np.mean(logits.argmax(1) == test.labels)
  metrics = method.evaluate(state, "test")
  np.testing.assert_allclose(metrics["accuracy"], accuracy, rtol=1e-6)
  shifted = logits - logits.max(1, keepdims=True)
  entropy = (
    np.log(np.exp(shifted).sum(1)) - shifted[range(len(test)), test.labels]
  )
  np.testing.assert_allclose(
    metrics["cross_entropy"], entropy.mean(), rtol=1e-4
  )


def test_permuted_prototypes_change_no_logit(make_method, make_state):
  method = make_method()
  state = make_state(method)
  order = np.random.default_rng(0).permutation(len(state.buffers["alive"]))
  prototypes = state.params["prototypes"]["prototypes"]
  permuted = state.replace(
    params={
      **state.params,
      "prototypes": {"prototypes": prototypes[order]},
      "head": {"weight": state.params["head"]["weight"][:, order]},
    }
  )
  batch = next(method.stream("test").batches())
  predict = jax.jit(method.predict)
  np.testing.assert_allclose(
    predict(permuted, batch)["logits"],
    predict(state, batch)["logits"],
    atol=1e-4,
  )


def test_a_backbone_without_weights_cannot_start_pretrained(
  make_method, make_state
):
  method = make_method(**{"backbone.pretrained": True})
  with pytest.raises(UserError, match="twoconv' has no pretrained"):
    method.start(make_state(method), method.stream("train"))


def test_images_pass_a_frozen_backbone_once(
  make_method, make_state, monkeypatch
):
  method = make_method()
  train = method.stream("train")
  state, _ = method.start(make_state(method), train)
  state = with_vectors(state, bank_of(state).vectors + 0.1)  # Off the patches.
  before = method.evaluate(state, "train")
  # From here on an image that is read for the backbone is an error.
  monkeypatch.setattr(stream.Stream, "_read", None)
  state, _ = method.push(state, train)
  state, _ = method.prune(state, train)
  after = method.evaluate(state, "train")
  assert after["cross_entropy"] != before["cross_entropy"]
  moved = jax.tree.map(lambda x: x * 1.01, state.params["backbone"])
  other = state.replace(params={**state.params, "backbone": moved})
  with pytest.raises(TypeError):
    method.push(other, train)


def test_milestones_are_those_of_the_last_round():
  ids = [
    "01-warm",
    "02-joint",
    "03-push",
    "04-last-layer",
    "05-joint",
    "06-push",
    "07-last-layer",
    "08-prune",
    "09-last-layer-after-prune",
  ]
  found = milestones(
    [
      {"id": name, "metrics": {"accuracy": i / 10}}
      for i, name in enumerate(ids)
    ]
  )
  assert found == {
    "before_push": 0.4,
    "after_push": 0.5,
    "after_last_layer": 0.6,
    "after_prune": 0.8,
  }


def test_prototypes_larger_than_a_cell(make_method, make_state):
  method = make_method(**{"prototypes.height": 2, "prototypes.width": 3})
  state = make_state(method)
  assert state.params["prototypes"]["prototypes"].shape[1:3] == (2, 3)
  state, metrics = method.push(state, method.stream("train"))
  assert metrics["pushed"] == 6
  metrics = method.evaluate(state, "test")
  assert np.isfinite(metrics["cross_entropy"])
  assert jnp.isfinite(metrics["accuracy"])


def test_patience_needs_images_to_validate_on(make_method):
  method = make_method(**{"joint.patience": 3, "data.validation_fraction": 0.1})
  assert method.splits == ("train", "validation", "test")
  (joint,) = (stage for stage in method.stages() if stage.name == "joint")
  assert joint.patience == 3
  assert make_method().splits == ("train", "test")
  with pytest.raises(UserError, match="patience=3 needs images to validate on"):
    make_method(**{"joint.patience": 3})

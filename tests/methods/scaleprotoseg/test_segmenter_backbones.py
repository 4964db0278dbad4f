"""ScaleProtoSeg on a backbone that rests, and on a U-Net."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from configs import scaleprotoseg_folder
from protojax import methods, parallel
from protojax.engine import descent
from protojax.engine.stage import Fit
from protojax.prototypes import push
from tests import starts
from tests.common.terms import now, total


def _load(variants="debug", **keys):
  config = scaleprotoseg_folder.get_config(variants).unlock()
  for key, value in keys.items():
    group, name = key.split("_", 1)
    config[group][name] = value
  return methods.load(config)


def _fits(method):
  return {s.name: s for s in method.stages() if isinstance(s, Fit)}


def test_a_backbone_at_rest_is_cached():
  """In the warm-up, and in the joint stage if it has no rate there."""
  fits = _fits(_load(joint_backbone=0.0))
  assert fits["warm"].cached is fits["joint"].cached is not None
  fits = _fits(_load())
  assert fits["warm"].cached is not None
  assert fits["joint"].cached is None
  assert _fits(_load(backbone_train_norm=True))["warm"].cached is None


@pytest.mark.slow
def test_cached_maps_give_the_loss_of_their_images():
  method = _load()
  state = starts.begun(method.init)
  batch = next(method.stream("train").batches())
  rows = jax.jit(method._mapped)(state, batch)
  of = jax.jit(
    lambda state, batch: total(
      method.loss(state.params, state, batch, now())[0]
    )
  )
  known = {"index": batch["index"], "valid": batch["valid"]}
  assert_allclose(of(state, {**known, **rows}), of(state, batch), rtol=1e-5)


def _of_u_net():
  own = {"backbone_name": "unet_small", "backbone_levels": ()}
  return _load("em,debug", warm_steps=0, group_steps=0, **own)


def test_a_u_net_has_a_cell_for_each_pixel_and_no_warm_up():
  """As for electron microscopy in the authors' code."""
  method = _of_u_net()
  assert method.network.grid == (64, 64)
  found = [stage.name for stage in method.stages()]
  assert found[:3] == ["start", "joint", "push"]
  c = scaleprotoseg_folder.get_config("em")
  assert (c.backbone.name, c.joint.steps, c.group.steps) == ("unet", 10_000, 0)


@pytest.mark.slow
def test_a_u_net_learns_prototypes():
  """All of it moves but its norms, and its prototypes become pixels."""
  method = _of_u_net()
  state = starts.begun(method.init)
  joint = next(s for s in method.stages() if s.name == "joint")
  moments = joint.optimizer.init(state.params)
  before = jax.tree.map(np.array, state.params)
  for update in descent.fit(joint, state, moments, parallel.key(0)):
    assert np.isfinite(update.metrics["loss"])
  found, _ = update.on_host({})
  own, was = found.params["backbone"], before["backbone"]
  assert (
    own["join_0"]["conv_1"]["kernel"] != was["join_0"]["conv_1"]["kernel"]
  ).any()
  assert_array_equal(
    own["down_0"]["norm_1"]["scale"], was["down_0"]["norm_1"]["scale"]
  )
  pushed, metrics = method.push(found, method.stream("train"))
  assert metrics["pushed"] == 36
  assert not push.stale(pushed)

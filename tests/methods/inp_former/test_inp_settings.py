"""INP-Former: its threshold, and settings that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import inp_former_textures
from protojax import methods, parallel
from protojax.engine import assets, descent
from protojax.engine.stage import Fit
from protojax.explain.request import Request
from protojax.methods.inp_former import explanation
from protojax.types import UserError
from tests.methods.inp_former.inp_former_fakes import load


def test_the_threshold_is_chosen_on_images_held_out(fresh, monkeypatch):
  method = load()

  def brightness(state, batch):
    """Scores that are sums of whole numbers, and compile at once."""
    del state
    total = jnp.sum(batch["image"].astype(jnp.int32), axis=(1, 2, 3))
    return {"score": total.astype(jnp.float32)}

  monkeypatch.setattr(method, "predict", brightness)
  held_out = method.stream("calibration")
  scores = np.concatenate(
    [
      batch["image"][batch["valid"]].sum(axis=(1, 2, 3))
      for batch in held_out.batches()
    ]
  )
  state, said = method.choose_threshold(fresh, held_out)
  found = explanation.Inspector(method).threshold(state)
  # 45 images: of 46, two may be above at 5 %.
  assert len(scores) == 45
  np.testing.assert_allclose(found.value, np.sort(scores)[-2], rtol=1e-6)
  np.testing.assert_allclose(found.rate, 2 / 46, rtol=1e-6)
  assert found.images == 45
  assert said == {"threshold": found.value}
  jax.tree.map(np.testing.assert_array_equal, state.params, fresh.params)


@pytest.mark.parametrize(
  ("changes", "count", "notes"),
  [
    ({}, 19, []),
    ({}, 18, ["with 18 normal images the rate of false alarms is 5.3%"]),
    (
      {"threshold.false_positive_rate": 0.01},
      45,
      ["is 2.2% at best, not 1.0%"],
    ),
    # These data have a split to calibrate on.
    ({"data.calibration_fraction": 0.0}, 19, []),
    ({"data.shots": 2}, 40, ["chosen on the training images"]),
    # To hold out more would not help.
    ({"data.shots": 2}, 6, ["chosen on the training images"]),
  ],
)
def test_a_threshold_that_promises_less_is_noted(
  fresh, monkeypatch, capsys, changes, count, notes
):
  method = load(**changes)
  scores = np.linspace(0, 1, count, dtype=np.float32)
  monkeypatch.setattr(method, "_scores", lambda state, data: scores)
  held_out = method.stream("calibration")
  state, _ = method.choose_threshold(fresh, held_out)
  assert explanation.Inspector(method).threshold(state).images == count
  said = capsys.readouterr().out.splitlines()
  assert len(said) == len(notes)
  for line, words in zip(said, notes, strict=True):
    assert line.startswith("note: ")
    assert words in line


def test_a_threshold_without_images_held_out_is_noted(
  fresh, monkeypatch, capsys
):
  method = load(**{"data.calibration_fraction": 0.0})
  train = method.dataset.source("train")
  method.dataset.sources["calibration"] = train
  scores = np.linspace(0, 1, len(train), dtype=np.float32)
  monkeypatch.setattr(method, "_scores", lambda state, data: scores)
  data = method.stream("calibration")
  state, _ = method.choose_threshold(fresh, data)
  assert explanation.Inspector(method).threshold(state).images == len(train)
  (said,) = capsys.readouterr().out.splitlines()
  assert "no normal image is held out" in said


def test_before_a_threshold_is_chosen_there_is_none(method, fresh):
  inspector = explanation.Inspector(method)
  with pytest.raises(UserError, match="not chosen its threshold yet"):
    inspector.threshold(fresh)
  with pytest.raises(UserError, match="not chosen its threshold yet"):
    inspector.explain(fresh, method.stream("test"), Request())


def test_a_backbone_without_weights_cannot_start_pretrained():
  method = load(**{"backbone.pretrained": True})
  with pytest.raises(UserError, match="convnet' has no pretrained"):
    method.assets["backbone"].make()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"prototypes.count": 0}, "count is 0; .* from 1 to"),
    ({"decoder.blocks": 1}, "blocks is 1; .* from 2 to"),
    ({"encoder.grid": 0}, "grid is 0; .* from 1 to"),
    ({"epochs": -1}, "epochs is -1; .* from 0 to"),
    ({"decoder.blocks": 3}, "3 blocks of the decoder .* even number"),
    ({"decoder.heads": 5}, "5 heads do not divide the 96 channels"),
    ({"prototypes.heads": 7}, "prototypes.heads"),
    ({"decoder.attention": "tanh"}, "relu, softmax, self"),
    ({"map.kind": "x"}, "reconstruction or distance"),
    ({"encoder.levels": ("stage_9", "stage_1")}, "no level 'stage_9'.*stage_4"),
    ({"encoder.levels": ("stage_1",)}, "1 levels of the encoder"),
    ({"threshold.false_positive_rate": 0.0}, "rate is 0.0; .* above 0"),
    ({"threshold.false_positive_rate": 5.0}, "rate is 5.0; .* above 0"),
    ({"map.share": 1.5}, "share is 1.5; .* above 0 and at most 1"),
    ({"map.share": 0.0}, "share is 0.0"),
    ({"map.length": -1.0}, "length is -1.0; .* from 0 to"),
    ({"encoder.scales": ()}, r"scales is \(\); .* as shares"),
    ({"encoder.scales": (1.0, 0.0)}, r"scales is \(1.0, 0.0\)"),
    ({"backbone.name": "convnext"}, "Did you mean 'convnet'"),
  ],
)
def test_wrong_configs_are_a_users_error(changes, message):
  def shapes():
    method = load(**changes)
    state = jax.eval_shape(method.init, jax.random.key(0))
    state = state.replace(assets=assets.shapes(method.assets))
    images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    return jax.eval_shape(method.network.inspect, state, images)

  with pytest.raises(UserError, match=message):
    shapes()


@pytest.mark.slow
def test_a_frozen_backbone_costs_its_own_bytes_alone():
  """303 million parameters: by shapes, since nobody has the memory twice."""
  config = inp_former_textures.get_config("dinov2").unlock()
  config.backbone.update(name="dinov2_large", pretrained=False, weights="")
  config.data.image_size = 28
  config.encoder.update(levels=("block_1", "block_2"), grid=2)
  config.prototypes.heads = config.decoder.heads = 16
  method = methods.load(config.lock())
  asset = assets.shapes(method.assets)
  (fit,) = [s for s in method.stages() if isinstance(s, Fit)]
  state = jax.eval_shape(method.init, parallel.init_key(0))
  moments = jax.eval_shape(fit.optimizer.init, state.params)
  own = assets.size(asset)
  assert 4 * 303e6 < own < 4 * 305e6
  trained = assets.size(state.params)
  # Mean, square and largest square of each trained number, and counts.
  assert assets.size(moments) < 3 * trained + 1000
  assert not [name for name in state.params if name == "backbone"]
  devices = jax.device_count()
  images = jax.ShapeDtypeStruct((devices, 1, 28, 28, 3), np.uint8)
  batch = {"image": images}
  for name, dtype in (("index", np.int32), ("label", np.int32)):
    batch[name] = jax.ShapeDtypeStruct((devices, 1), dtype)
  whole = state.replace(assets=asset)
  step = descent.mapped(fit, whole, moments, parallel.key(0))
  number = jax.ShapeDtypeStruct((), np.int32)
  lowered = step.lower(state, moments, batch, number)
  taken = assets.size(jax.tree.map(lambda x: x, lowered.in_avals))
  left_over = taken - own - assets.size((state, moments))
  # Once as an argument; the rest is the batch, and no constant is in the text.
  assert 0 < left_over < 10_000
  assert len(lowered.as_text()) < 5_000_000
  given = assets.size(lowered.out_info)
  assert given < assets.size((state, moments)) + 1000

"""PEM as a method: its size, its stages, and what its config may say."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest

from configs import pem_cityscapes, pem_folder
from protojax import methods, parallel
from protojax.engine.stage import Fit
from protojax.explain.request import Request
from protojax.methods.pem import explanation, segment_evidence
from protojax.methods.pem.method import _decayed
from protojax.methods.pem.pixel_decoder import Gate, PixelDecoder
from protojax.types import Box, State, UserError
from tests import starts


def _load(variants="debug", names=None, **keys):
  config = pem_folder.get_config(variants).unlock()
  config.update_from_flattened_dict(keys)
  return methods.load(config, names)


def _fits(method):
  return (stage for stage in method.stages() if isinstance(stage, Fit))


def _sizes(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


# Parameters of a layer of the paper's decoder.
_LAYER = {"cross": 267_008, "among": 263_680, "forward": 1_051_392}


@pytest.mark.slow
def test_the_paper_network_has_as_many_parameters_as_the_paper():
  """With ResNet-50 and 19 classes; 35.6 M in its table."""
  names = tuple(map(str, range(19)))
  method = methods.load(pem_cityscapes.get_config(), names)
  state = jax.eval_shape(method.init, parallel.init_key(0))
  assert _sizes(state.params) == 35_532_581
  found = {name: _sizes(tree) for name, tree in state.params.items()}
  assert found["backbone"] == 23_508_032
  assert found["pixels"] == 2_178_001
  own = {k: _sizes(v) for k, v in state.params["decoder"].items()}
  assert tuple(own[f"{name}_0"] for name in _LAYER) == tuple(_LAYER.values())


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "count"), [("stdc1", 16_957_829), ("stdc2", 20_988_293)]
)
def test_with_stdc_it_is_as_small_as_in_the_paper(name, count):
  """17.0 M and 21.0 M in its table. Traced with the first of six layers."""
  levels = tuple(f"stage_{i}" for i in (2, 3, 4, 5))
  config = pem_folder.get_config("paper").unlock()
  config.data.image_size = 64
  config.backbone.update(name=name, levels=levels)
  assert config.decoder.layers == 6
  config.decoder.layers = 1
  method = methods.load(config, tuple(map(str, range(19))))
  state = jax.eval_shape(method.init, parallel.init_key(0))
  assert _sizes(state.params) + 5 * sum(_LAYER.values()) == count


def test_norms_and_embeddings_do_not_decay():
  method = _load(names=("a", "b"))
  state = jax.eval_shape(method.init, parallel.init_key(0))
  decays = _decayed(state.params)
  own = decays["decoder"]
  assert not any((own["queries"], own["places"], own["levels"]))
  assert not own["cross_0"]["norm"]["scale"]
  assert own["cross_0"]["alpha"]
  assert own["cross_0"]["query"]["bias"]
  assert not decays["pixels"]["double_norm_0"]["bias"]
  assert decays["pixels"]["double_0"]["kernel"]


def test_variants_change_what_they_say():
  assert [fit.name for fit in _fits(_load())] == ["train"]
  c = pem_folder.get_config("paper,panoptic")
  assert (c.decoder.queries, c.decoder.layers, c.loss.points) == (100, 6, 12544)
  assert c.data.name == "panoptic_folder"
  for kind in ("masked", "random"):
    assert _load(f"{kind},debug").network.decoder.kind == kind


def test_a_backbone_at_rest_is_cached():
  for keys in ({}, {"train.backbone": 0.0, "backbone.train_norm": True}):
    assert next(_fits(_load(**keys))).cached is None
  method = _load(**{"train.backbone": 0.0})
  assert next(_fits(method)).cached is method._maps


@pytest.mark.slow
def test_cached_maps_lead_to_the_same_predictions():
  method = _load(**{"train.backbone": 0.0})
  network, state = method.network, starts.begun(method.init)
  batch = next(method.stream("train").batches())

  @jax.jit
  def both(state, batch):
    rows = method._mapped(state, batch)
    assert set(rows) == {"maps", "mask"}
    found, _ = network.of_maps(state.params, state.statistics, rows["maps"])
    return found, network.seen(state, batch["image"])

  found, expected = both(state, batch)
  assert_allclose(found.masks, expected.masks, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def network():
  """Of two layers."""
  return _load(names=("a", "b"), **{"decoder.layers": 2}).network


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"task": "instance"}, "task='instance': choose semantic or panoptic"),
    ({"attention.kind": "all"}, "kind='all': choose pem or masked or random"),
    ({"attention.across": "heads"}, "choose queries or channels"),
    (
      {"attention.kind": "masked", "attention.parity": True},
      "is a rule of PEM's code",
    ),
    ({"decoder.heads": 3}, r"channels=16 do not divide over .*heads=3"),
    ({"decoder.channels": 18}, "must divide by 4"),
    ({"batch_size": 1}, "of one image nothing is left"),
    ({"data.image_size": 60}, "image_size=60 is no multiple of 8"),
    ({"backbone.levels": ("stage_2",)}, r"strides of \(4,\) pixels: give two"),
    ({"backbone.levels": ("stage_1", "stage_3")}, "twice the stride"),
    ({"backbone.levels": ("x",)}, "no level 'x'; choose"),
  ],
)
def test_settings_that_cannot_be_are_refused(keys, message):
  with pytest.raises(UserError, match=message):
    _load(names=("a", "b"), **keys).network  # noqa: B018


def test_data_without_objects_are_refused():
  method = _load("panoptic,debug", **{"data.name": "texture_mosaics"})
  state = State({}, {}, {})
  with pytest.raises(UserError, match="tells no objects of a class apart"):
    method.start(state, method.stream("train"))


def test_other_kinds_of_attention_give_no_reasons():
  method = _load("random,debug")
  explains = method.capabilities.explains(method)
  state = State({}, {}, {})
  assert not explains.stale(state)
  with pytest.raises(UserError, match="no token is picked for its similarity"):
    next(explains.explain(state, method.stream("test"), Request()))


def test_a_gate_lies_between_a_half_and_three_quarters():
  """The sigmoid of a sigmoid."""
  x = jnp.float32(np.random.default_rng(0).normal(size=(3, 4, 4, 8)))
  module = Gate()
  variables = starts.begun(lambda key: module.init(key, x, False))
  variables["params"]["expand"]["kernel"] *= 50
  found = jax.jit(module.apply, static_argnums=2)(variables, x, False)
  gates = np.asarray(found / x - 1)
  assert_allclose(gates, gates[:, :1, :1] + np.zeros_like(gates), atol=1e-4)
  assert gates.min() > 0.499
  assert gates.max() < 0.7311
  assert np.ptp(gates) > 0.1


@pytest.mark.parametrize("deformable", [False, True])
def test_memory_comes_coarsest_first(deformable):
  maps = [
    jax.ShapeDtypeStruct((2, n, n, c), jnp.float32)
    for n, c in ((16, 4), (8, 6), (4, 8))
  ]
  module = PixelDecoder(8, 12, deformable, gated=False)
  (features, memory), variables = jax.eval_shape(
    lambda *maps: module.init_with_output(jax.random.key(0), list(maps)), *maps
  )
  assert features.shape == (2, 16, 16, 12)
  assert [level.shape for level in memory] == [(2, 4, 4, 8), (2, 8, 8, 8)]
  assert ("offsets" in variables["params"]["conv_0"]) == deformable
  assert not any("gate" in name for name in variables["params"])


def test_a_place_is_a_cell_of_the_layers_map(network):
  assert network.grids == ((8, 8), (8, 8))
  assert segment_evidence.cell(network, 0, 9) == Box(8, 8, 16, 16)


def test_a_similarity_is_the_mean_of_cosines(network):
  rng = np.random.default_rng(0)
  keys = rng.normal(size=(2, 128, 16)).astype(np.float32)
  token = rng.integers(0, 64, (2, 8, 2, 2))
  queries = rng.normal(size=(2, 8, 2, 16)).astype(np.float32)
  expected = np.zeros((2, 8))
  for b, q, layer, a in np.ndindex(2, 8, 2, 2):
    part = slice(8 * a, 8 * a + 8)
    key = keys[b, 64 * layer + token[b, q, layer, a], part]
    expected[b, q] += key @ queries[b, q, layer, part] / 2
  place = {"token": jnp.asarray(token), "queries": jnp.asarray(queries)}
  found = jax.jit(explanation.similarity, static_argnums=0)(
    network, keys, place
  )
  assert_allclose(found, expected, atol=1e-4)


def test_the_largest_segments_come_first():
  plane = np.zeros((4, 4), np.int32)
  plane[0, :2], plane[2:] = 3, 1
  merged = np.array([0, 0, 2, -1])
  row = {"plane": plane, "merged": merged}
  assert segment_evidence.largest(row) == [0, 2]

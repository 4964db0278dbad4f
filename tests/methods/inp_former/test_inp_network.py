"""The whole network of INP-Former: one forward pass, read in several ways."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.methods.inp_former import anomaly_map, intrinsic
from protojax.methods.inp_former.encoder import Encoder
from protojax.methods.inp_former.network import AnomalyNetwork
from protojax.types import UserError
from tests.methods.inp_former import encoder_fakes as fakes

COUNT, BLOCKS, GRID, MAP = 3, 2, 4, 20


@functools.cache
def network(kind="reconstruction"):
  return AnomalyNetwork(
    # Both on the grid as they are: a cell sees its own tile alone.
    Encoder(fakes.backbone(), ("coarse", "last"), GRID),
    intrinsic.Extractor(COUNT, 3),
    intrinsic.Decoder(BLOCKS, 3),
    fakes.SIZE,
    kind,
    MAP,
    0.05,
  )


@functools.cache
def weights():
  """Of the encoder's backbone."""
  images = jnp.zeros((1, fakes.SIZE, fakes.SIZE, 3))
  init = fakes.backbone().module.init
  return fakes.large(jax.eval_shape(init, jax.random.key(0), images)["params"])


@functools.cache
def state():
  model = network()
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  params = fakes.large(shapes.params)
  return shapes.replace(
    params=params,
    statistics={
      "shift": np.full(9, 0.1, np.float32),
      "scale": np.linspace(0.5, 2, 9, dtype=np.float32),
    },
    assets={"backbone": {"params": weights()}},
  )


@jax.jit
def _passes(state, images):
  """The forward pass, once more from a cache, step by step, and inspected.

  All in one, since each of them alone compiles for as long.
  """
  model, params = network(), state.params
  whole = model.forward(params, state, {"image": images})
  rows = model.encoder_rows(state, {"image": images})
  tokens = whole.encoded.mean(axis=0)
  prototypes = model.extractor.apply({"params": params["prototypes"]}, tokens)
  bottleneck = {"params": params["bottleneck"]}
  start = intrinsic.Bottleneck().apply(bottleneck, tokens)
  decoder = {"params": params["decoder"]}
  return {
    "whole": whole,
    "rows": rows["encoded"],
    "cached": model.forward(params, state, rows),
    "values": model.values(state, images),
    "nearest": intrinsic.distance(tokens, prototypes),
    "blocks": model.decoder.apply(decoder, start, prototypes),
    "reconstruction": model.inspect(state, images),
    "distance": network("distance").inspect(state, images),
  }


def passes(of=None, images=None):
  """On the host; by default of the fake images."""
  images = fakes.images() if images is None else images
  return jax.device_get(_passes(of or state(), images))


def test_a_fresh_state_has_all_that_is_trained():
  fresh = jax.eval_shape(network().init, jax.random.key(0))
  # The encoder is an asset.
  assert set(fresh.params) == {"prototypes", "bottleneck", "decoder"}
  assert fresh.params["prototypes"]["tokens"].shape == (COUNT, 9)
  assert fresh.statistics["shift"].shape == fresh.statistics["scale"].shape
  leaves = jax.tree.leaves(fresh.params["decoder"])
  assert {leaf.shape[0] for leaf in leaves} == {BLOCKS}


def test_tokens_from_a_cache_give_what_images_give():
  found = passes()
  assert found["rows"].shape == (3, 2, GRID**2, 9)
  for a, b in zip(
    jax.tree.leaves(found["cached"]),
    jax.tree.leaves(found["whole"]),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_prototypes_come_of_the_mean_of_the_groups():
  found = passes()["whole"]
  distance, assignment = passes()["nearest"]
  np.testing.assert_allclose(found.distance, distance, atol=1e-5)
  np.testing.assert_array_equal(found.assignment, assignment)
  assert len(np.unique(found.assignment)) > 1


def test_the_last_block_answers_to_the_shallow_group():
  first, last = passes()["blocks"]
  found = passes()["whole"].decoded
  np.testing.assert_allclose(found[0], last, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found[1], first, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["reconstruction", "distance"])
def test_map_and_score_are_those_of_the_values(kind):
  rows, found = passes()[kind], passes()["whole"]
  cosine = np.einsum("gbnd,gbnd->gbn", found.encoded, found.decoded)
  for x in (found.encoded, found.decoded):
    cosine = cosine / np.linalg.norm(x, axis=-1)
  values = {
    "reconstruction": (1 - cosine).mean(axis=0),
    "distance": found.distance,
  }[kind]
  np.testing.assert_allclose(rows["values"], values, atol=1e-5)
  cells = values.reshape(1, 3, GRID, GRID).astype(np.float32)
  maps = np.asarray(anomaly_map.at_pixels(cells, fakes.SIZE, MAP))
  np.testing.assert_allclose(rows["map"], maps, atol=1e-5)
  highest = np.sort(maps.reshape(3, -1), axis=1)[:, -MAP * MAP // 20 :]
  np.testing.assert_allclose(rows["score"], highest.mean(axis=1), atol=1e-5)


def test_values_alone_are_the_values_of_an_inspection():
  found = passes()
  values = found["reconstruction"]["values"]
  np.testing.assert_allclose(found["values"], values, atol=1e-5)


def test_errors_of_long_tokens_weigh_by_a_power_of_their_length():
  model = dataclasses.replace(network(), length=0.5)
  found, errors = passes(), passes()["reconstruction"]
  groups = found["whole"]
  rows = jax.device_get(jax.jit(model.inspect)(state(), fakes.images()))
  length = np.linalg.norm(groups.encoded, axis=-1)
  weight = np.sqrt(length / np.median(length, axis=-1, keepdims=True))
  each = anomaly_map.distance(groups.encoded, groups.decoded)
  expected = np.mean(np.asarray(each) * weight, axis=0)
  np.testing.assert_allclose(rows["values"], expected, atol=1e-5)
  assert not np.allclose(rows["values"], errors["values"], atol=1e-2)


def test_the_distance_is_told_without_the_decoder():
  """Zero-shot maps come of what has been trained elsewhere alone."""
  other = {
    name: jax.tree.map(np.zeros_like, group)
    if name in ("decoder", "bottleneck")
    else group
    for name, group in state().params.items()
  }
  emptied = state().replace(params=other)
  found, other = passes()["distance"], passes(emptied)["distance"]
  np.testing.assert_array_equal(found["map"], other["map"])


def test_a_cell_that_moves_takes_its_value_along():
  """No place in the image is special: tokens have no position."""
  moved = np.roll(fakes.images(), (8, -16), axis=(1, 2))
  values = passes(images=moved)["values"]
  before = passes()["values"].reshape(3, GRID, GRID)
  expected = np.roll(before, (1, -2), axis=(1, 2)).reshape(3, -1)
  np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4)


def test_an_image_does_not_see_the_others():
  images = fakes.images(seed=1)
  images[2] = fakes.images()[0]
  values = passes(images=images)["values"]
  np.testing.assert_allclose(values[2], passes()["values"][0], atol=1e-5)


def test_an_unknown_map_is_a_users_error():
  with pytest.raises(UserError, match=r"map\.kind is 'x'; .*or distance"):
    dataclasses.replace(network(), kind="x")


def test_it_is_a_key_of_what_is_compiled():
  same = dataclasses.replace(network())
  assert hash(same) == hash(network())
  assert same == network()
  assert dataclasses.replace(same, share=0.5) != same

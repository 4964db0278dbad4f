"""What cells shall say, and that it leads back to the objects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.data import stream
from protojax.datasets.driving_scenes import Scenes
from protojax.methods.centre_detector import objective
from protojax.methods.centre_detector.network import PARTS, Network
from protojax.types import State
from tests.common import terms as terms_lib

SIZE, GRID, TYPICAL = 64, (16, 16), 8.0
# Nobody reads it: the map is given.
STATE = State({}, {"backbone": {}}, {}, {})


@pytest.fixture(scope="module")
def scenes():
  return Scenes("train", 4, 0, ("clear",))


@pytest.fixture(scope="module")
def batch(scenes):
  """As a program takes it: in one it takes less than operation by operation."""
  found = next(stream.ordered(scenes, SIZE, len(scenes)).batches())
  return {name: x for name, x in found.items() if name != "name"}


def _network():
  """Its map is given by a test."""
  kinds = ("Car", "Pedestrian", "Cyclist")
  return Network(backbones.load("convnet"), SIZE, kinds, 8, TYPICAL, 8)


def _rows(wanted):
  """The map that says what is wanted."""
  b, h, w, _ = wanted.heat.shape
  heat = np.clip(np.asarray(wanted.heat), 1e-4, 1 - 1e-4)
  parts = np.zeros((b, h * w, sum(PARTS.values())), np.float32)
  own = np.concatenate([np.asarray(wanted.parts[n]) for n in PARTS], axis=-1)
  for i, t in np.argwhere(np.asarray(wanted.valid)):
    parts[i, wanted.cell[i, t]] = own[i, t]
  logits = np.log(heat / (1 - heat))
  return jnp.asarray(
    np.concatenate([logits, parts.reshape(b, h, w, -1)], axis=-1)
  )


@pytest.fixture(scope="module")
def wanted(batch):
  return jax.jit(lambda b: objective.targets(b, GRID, 3, TYPICAL))(batch)


def test_answers_that_are_wanted_are_the_objects(
  scenes, batch, wanted, monkeypatch
):
  net = _network()
  rows = _rows(wanted)
  monkeypatch.setattr(Network, "maps", lambda *_, **__: (rows, {}))

  answers = jax.jit(lambda b: net.answers(STATE, b))(batch)
  found = {k: np.asarray(x) for k, x in answers.items()}
  for i in range(len(scenes)):
    truth = scenes.objects(i)
    row = {name: x[i] for name, x in found.items()}
    own = net.objects(row, scenes.camera(i), (32, 64), 0.9)
    order = [
      int(np.argmin(np.abs(own.places - place).sum(1)))
      for place in truth.places
    ]
    own = own.chosen(np.array(order))
    assert own.kinds == truth.kinds
    np.testing.assert_allclose(own.boxes, truth.boxes, atol=1e-3)
    np.testing.assert_allclose(own.places, truth.places, atol=1e-3)
    np.testing.assert_allclose(own.sizes, truth.sizes, atol=1e-4)
    turn = np.exp(1j * own.yaws) - np.exp(1j * truth.yaws)
    np.testing.assert_allclose(np.abs(turn), 0, atol=1e-4)
    # Without a camera, places are what KITTI writes for unknown.
    blind = net.objects(row, None, (32, 64), 0.9)
    assert np.all(blind.places == -1000)
    assert blind.number == own.number


def test_centres_are_1_and_fall_off_around(batch, wanted):
  heat = np.asarray(wanted.heat)
  assert heat.min() >= 0
  assert heat.max() == 1
  classes = batch["objects"]["classes"]
  for i, t in np.argwhere(np.asarray(wanted.valid)):
    y, x = divmod(int(wanted.cell[i, t]), GRID[1])
    own = heat[i, :, :, classes[i, t]]
    assert own[y, x] == 1
    top, left, bottom, right = batch["objects"]["boxes"][i, t]
    assert y == int((top + bottom) / 2 * GRID[0])
    assert x == int((left + right) / 2 * GRID[1])
    if x + 1 < GRID[1]:
      assert 0 < own[y, x + 1] <= 1
  assert np.sum(heat == 1) <= np.sum(batch["objects"]["valid"])


def test_focal_loss_is_that_of_the_formula():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(1, 2, 2, 2)).astype(np.float32)
  heat = np.array([1, 0, 0.5, 0.9, 1, 0.2, 0, 0], np.float32)
  heat = heat.reshape(logits.shape)
  p = 1 / (1 + np.exp(-logits.astype(float)))
  expected = np.where(
    heat == 1,
    -((1 - p) ** 2) * np.log(p),
    -((1 - heat) ** 4) * p**2 * np.log(1 - p),
  )
  found = jax.jit(objective.focal)(logits, heat)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_wanted_answers_have_no_loss_at_centres_and_padding_none(
  batch, wanted, monkeypatch
):
  rows = _rows(wanted)
  monkeypatch.setattr(Network, "maps", lambda *_, **__: (rows, {}))

  loss = objective.Objective(_network(), dict.fromkeys(PARTS, 1.0))

  @jax.jit
  def terms_of(batch):
    return loss({}, STATE, batch, terms_lib.now())[0]

  terms = terms_of(batch)
  for name in PARTS:
    assert float(terms[name].total) == pytest.approx(0, abs=1e-4)
  assert float(terms["heat"].total) < 0.05 * float(terms["heat"].count)
  # Rows of padding have no object and no loss.
  nothing = {**batch, "valid": np.zeros(len(batch["valid"]), bool)}
  terms = terms_of(nothing)
  assert not any(float(x.total) or float(x.count) for x in terms.values())

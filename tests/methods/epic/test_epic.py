"""EPIC: where the mixing is known, and what must hold wherever it is not."""

import functools
import json

import jax
import numpy as np
import pytest
from scipy.stats import ortho_group

from configs import epic_folder
from protojax import loading, methods, parallel
from protojax.backbones import classifier
from protojax.data import splits
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.methods.epic import folding
from protojax.methods.epic import method as epic
from protojax.operations.training import train
from protojax.prototypes import push
from protojax.types import UserError
from tests.conftest import ArraySource

SIDE, CLASSES = 4, 3


class _Numbered(ArraySource):
  """Images that say which ones they are, of which maps are then known."""

  def __init__(self, count, first):
    super().__init__(count, SIDE, CLASSES)
    numbers = first + np.arange(count)
    self.images[:, 0, 0, 0] = numbers // 256
    self.images[:, 0, 0, 1] = numbers % 256


def _planted(count, channels, seed):
  """Maps of few parts, one channel each, and the rotation that mixes them."""
  rng = np.random.default_rng(seed)
  pure = np.zeros((count, SIDE, SIDE, channels), np.float32)
  for image in pure:
    ends = np.sort(rng.choice(np.arange(1, SIDE), 2, replace=False))
    for rows in np.split(image, ends):
      strength = rng.gamma(2.0, 1.0, rows.shape[:2])
      rows[..., rng.integers(channels)] = strength
  mixing = ortho_group.rvs(channels, random_state=seed).astype(np.float32)
  return pure @ mixing.T, mixing


def _look_up(maps, x):
  number = np.float32(255) * (256 * x[:, 0, 0, 0] + x[:, 0, 0, 1])
  return maps[number.round().astype(int)]


def _make(channels=32, train=300, test=150, seed=0, **changes):
  """The method on somebody's classifier with planted maps."""
  maps, mixing = _planted(train + test, channels, seed)
  rng = np.random.default_rng(seed)
  weight = rng.normal(size=(CLASSES, channels)).astype(np.float32)
  head = classifier.Head(weight @ mixing.T, np.ones(CLASSES, np.float32))
  backbone = classifier.from_function(
    _look_up, maps, channels=channels, stride=1
  )
  config = epic_folder.get_config("debug").unlock()
  config.update_from_flattened_dict(
    {
      "batch_size": 50,
      "data.image_size": SIDE,
      "data.validation_fraction": 0.0,
      "rotation.kind": "orthogonal",
      "rotation.inertia": 0.0,
      "rotation.rounds": 10,
      "rotation.most": 100,
      "rotation.sweeps": 2,
      **changes,
    }
  )
  names = tuple(f"class {k}" for k in range(CLASSES))
  method = epic.Method(config.lock(), names, (backbone, head))
  method.dataset.sources.update(
    train=_Numbered(train, 0), test=_Numbered(test, train)
  )
  return method, mixing


def _run(method, until=None):
  """The state behind a stage, or behind all, and the metrics of each."""
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  found, moments = [], {}
  for stage in method.stages():
    if isinstance(stage, stages.Pass):
      state, metrics = stage.sweep(state, stage.data)
    else:
      start = moments.get(stage.optimizer_id) or stage.optimizer.init(
        state.params
      )
      *_, last = descent.fit(stage, state, start, parallel.key(1))
      last = parallel.to_host(last)
      state, moments[stage.optimizer_id] = last.state, last.optimizer_state
      metrics = last.metrics
    found.append((stage.name, metrics))
    if stage.name == until:
      break
  return state, found


def _off_permutation(matrix):
  return 1 - np.abs(matrix).max(axis=1).mean()


@pytest.fixture(scope="module")
def recovered():
  method, mixing = _make(
    channels=16,
    train=150,
    test=75,
    **{"rotation.most": 50, "rotation.rounds": 6},
  )
  state, found = _run(method)
  return method, mixing, state, dict(found)


def test_a_planted_mixing_is_undone(recovered):
  """Up to the order of the channels, and without their labels."""
  method, mixing, state, found = recovered
  last = found["prototypes"]
  assert last["train_purity_before"] < 0.5
  assert last["train_purity"] > 0.95
  undone = np.asarray(folding.basis(state)) @ mixing
  assert _off_permutation(undone) < 0.02
  assert len(set(np.abs(undone).argmax(axis=1).tolist())) == len(undone)
  # On images that had no part in it, too.
  metrics = method.evaluate(state, "test")
  assert metrics["purity"] > 0.95
  assert metrics["logit_difference"] <= 1e-5
  assert metrics["changed"] == 0


def test_whitening_and_turning_undo_it_too():
  """The invertible kind; the purest U on images held out is taken."""
  method, _ = _make(
    channels=16,
    train=200,
    test=75,
    **{
      "data.validation_fraction": 0.2,
      "rotation.kind": "invertible",
      "rotation.most": 40,
      "rotation.rounds": 5,
    },
  )
  train, held_out = splits.divided(method.dataset.sources["train"], 0.2, 0)
  method.dataset.sources.update(train=train, validation=held_out)
  state, found = _run(method)
  purity = {
    name: metrics["chosen_purity"]
    for name, metrics in found
    if name == "purify"
  }
  assert purity["purify"] > 0.9
  assert dict(found)["whiten"]["condition"] > 1
  metrics = method.evaluate(state, "test")
  assert metrics["purity"] > 0.95
  assert metrics["logit_difference"] <= 1e-5
  kept = method.evaluate(state, "validation")["purity"]
  np.testing.assert_allclose(kept, state.buffers["best"]["purity"], rtol=1e-5)


def test_prototypes_are_the_strongest_patches(recovered):
  method, _, state, _ = recovered
  stream, provenance = method.stream("train"), state.buffers["provenance"]
  embedded = method.network.embed(state, stream.source.images)
  scores = method.network.pooled(state, embedded)
  np.testing.assert_array_equal(provenance.image, np.argmax(scores, axis=0))
  chosen = np.asarray(embedded)[provenance.image]
  value, cell = method.network.nearest(state, chosen)
  own = np.arange(len(value))
  np.testing.assert_array_equal(provenance.cell, cell[own, own])
  np.testing.assert_allclose(-provenance.distance, value[own, own], rtol=1e-5)
  assert not push.stale(state)
  notes = method.network.notes(state)
  assert len(notes) == len(own)
  assert notes[0]["purity"] > notes[0]["purity before"]
  favourite = np.argmax(method.network.weights(state), axis=0)
  np.testing.assert_array_equal(state.buffers["class_of"], favourite)


def test_the_summary_tells_purity_before_and_after(recovered):
  method, _, state, found = recovered
  held_out = method.evaluate(state, "test")
  ids = [
    {"id": f"{n:02d}-{name}", "metrics": {**metrics, **held_out}}
    for n, (name, metrics) in enumerate(found.items(), 1)
  ]
  purity = method.summary(state, ids)["purity"]
  train = purity["train"]
  assert train["after"]["mean"] == found["prototypes"]["train_purity"]
  assert train["before"]["5"] == found["prototypes"]["train_purity_before_5"]
  assert purity["held_out"]["after"]["95"] == held_out["purity_95"]


def test_the_papers_descent_undoes_it_too():
  """Adam through the exponential; nothing but the generator is moved."""
  method, mixing = _make(
    channels=8,
    train=100,
    test=50,
    **{
      "rotation.solver": "adam",
      "rotation.rate": 6e-2,
      "rotation.rounds": 2,
      "rotation.epochs": 8,
      "rotation.most": 40,
      # Six batches an epoch; the last one is padded.
      "rotation.pairs": 62,
    },
  )
  state, found = _run(method)
  last = dict(found)["prototypes"]
  assert last["train_purity_before"] < 0.6
  assert last["train_purity"] > 0.95
  undone = np.asarray(folding.basis(state)) @ mixing
  assert _off_permutation(undone) < 0.05
  metrics = method.evaluate(state, "test")
  assert metrics["logit_difference"] <= 1e-5
  before, _ = _run(method, until="before")
  for group in ("backbone", "classifier"):
    jax.tree.map(
      np.testing.assert_array_equal, state.params[group], before.params[group]
    )


def test_a_round_chooses_so_many_images():
  method, _ = _make(channels=8, train=100, test=50)
  state, _ = _run(method, until="before")
  state, metrics = method.choose(state, method.stream("train"), 7)
  chosen = state.buffers["chosen"]
  assert metrics == {"images": 7}
  assert np.all(chosen[:, :7] >= 0)
  assert np.all(chosen[:, 7:] == -1)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"head": "mean"}, r"--config.head='mean': choose from probe, weights"),
    ({"head": "readout"}, r"set --config.pretrain.epochs"),
    ({"rotation.kind": "unitary"}, r"choose from orthogonal, invertible"),
    ({"rotation.prototypes": 0}, r"rotation.prototypes is 0; .* from 1 to"),
  ],
)
def test_settings_that_go_wrong_are_named(changes, message):
  config = epic_folder.get_config("debug").unlock()
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=message):
    methods.load(config.lock())


def _squares(variables, x):
  cells = x.reshape(len(x), 4, 8, 4, 8, 3).swapaxes(2, 3)
  return jax.nn.relu(cells.reshape(len(x), 4, 4, 192) @ variables)


@pytest.mark.slow
def test_a_classifier_of_ones_own_goes_through_a_run(tmp_path):
  """Whose classes are not those of the images that it is explained by."""
  rng = np.random.default_rng(0)
  variables = rng.normal(size=(192, 8)).astype(np.float32)
  weight = rng.normal(size=(5, 8)).astype(np.float32)
  head = classifier.Head(weight, np.zeros(5, np.float32))
  own = (
    classifier.from_function(_squares, variables, channels=8, stride=8),
    head,
  )
  make = functools.partial(epic.Method, own=own)
  config = epic_folder.get_config("debug").unlock()
  config.rotation.rounds = 0
  config.lock()
  assert train(tmp_path / "run", config, make) == 0
  method, state, _ = loading.load(tmp_path / "run", make)
  assert method.network.class_names == tuple(f"class {k}" for k in range(5))
  assert not push.stale(state)
  test = method.stream("test")
  assert np.all(test.labels == -1)
  batch = next(test.batches())
  found = method.predict(state, batch)
  features = _squares(variables, batch["image"].astype(np.float32) / 255)
  expected = np.mean(features, axis=(1, 2)) @ weight.T
  assert classifier.difference(expected, found["logits"]) < 1e-4
  summary = json.loads((tmp_path / "run" / "summary.json").read_text())
  assert "accuracy" not in summary["metrics"]
  held_out = summary["purity"]["held_out"]
  assert held_out["after"]["mean"] > held_out["before"]["mean"]

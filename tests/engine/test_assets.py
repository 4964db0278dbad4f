"""Assets: found, kept, checked, taken over, and never in a checkpoint."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax.data import stream
from protojax.engine import assets, stage
from protojax.engine.assets import Asset
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.engine.run import Run
from protojax.engine.terms import Aux, penalty
from protojax.types import State, UserError

TREE = {"params": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}}
SHAPES = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, TREE))


class Maker:
  """Makes the tree, and counts how often."""

  def __init__(self, tree=TREE):
    self.tree, self.calls = tree, 0

  def __call__(self):
    self.calls += 1
    return self.tree


def _asset(make=None, **changes):
  return Asset(make or Maker(), lambda: SHAPES, **changes)


def _same(found, expected=TREE):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_what_can_be_made_again_is_not_written(tmp_path):
  make = Maker()
  for _ in range(2):
    trees, digests = assets.at_start({"body": _asset(make)}, tmp_path, {}, {})
    _same(trees["body"])
    assert digests == {"body": assets.digest(TREE)}
  assert make.calls == 2
  assert not (tmp_path / "assets").exists()


def test_what_cannot_is_written_once_and_read(tmp_path):
  make = Maker()
  declared = {"body": _asset(make, kept=True)}
  _, digests = assets.at_start(declared, tmp_path, {}, {})
  (path,) = (tmp_path / "assets").iterdir()
  assert path.name == f"{digests['body']}.npz"
  written = path.stat().st_mtime_ns
  trees, again = assets.at_start(declared, tmp_path, digests, {})
  _same(trees["body"])
  assert again == digests
  assert make.calls == 1
  assert path.stat().st_mtime_ns == written


def test_other_weights_than_those_of_the_run_are_refused(tmp_path):
  _, digests = assets.at_start({"body": _asset()}, tmp_path, {}, {})
  other = jax.tree.map(lambda x: x + 1, TREE)
  with pytest.raises(UserError, match="'body' is not what this run was"):
    assets.found({"body": _asset(Maker(other))}, tmp_path, digests, {})


def test_a_damaged_file_is_said_so(tmp_path):
  declared = {"body": _asset(kept=True)}
  _, digests = assets.at_start(declared, tmp_path, {}, {})
  (path,) = (tmp_path / "assets").iterdir()
  path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(UserError, match="npz is damaged"):
    assets.found(declared, tmp_path, digests, {})


def test_an_asset_of_another_network_lists_what_differs(tmp_path):
  wrong = {"state.params.body.w": np.zeros((3, 3), np.float32)}
  asset = _asset(earlier={"params": "params.body"})
  with pytest.raises(UserError, match=r"'body' is of another.*shape \(3, 3\)"):
    assets.found({"body": asset}, tmp_path, {}, wrong)


def test_runs_from_before_assets_bring_theirs_in_the_checkpoint(tmp_path):
  make = Maker()
  declared = {"body": _asset(make, earlier={"params": "params.body"})}
  arrays = {"state.params.body.w": TREE["params"]["w"]}
  trees, digests = assets.at_start(declared, tmp_path, {}, arrays)
  _same(trees["body"])
  assert make.calls == 0
  # The next checkpoint will not have it any more.
  _same(assets.found(declared, tmp_path, digests, {})["body"])


def test_a_run_takes_over_the_assets_of_the_one_it_begins_from(tmp_path):
  first, second = tmp_path / "first", tmp_path / "second"
  theirs = {"body": _asset(kept=True)}
  _, digests = assets.at_start(theirs, first, {}, {})
  state = State({"p": np.zeros(2)}, {}, {}, assets={"body": TREE})
  checkpoints = Checkpoints(first)
  checkpoints.save(Progress(assets=digests), state, {})
  _, arrays = checkpoints.restore()
  checkpoints.close()
  assert set(arrays) == {"state.params.p"}
  make = Maker(jax.tree.map(lambda x: x + 1, TREE))
  declared = {"body": _asset(make)}
  trees, _ = assets.at_start(declared, second, {}, {}, str(first))
  _same(trees["body"])
  assert make.calls == 0
  # It does not need the first run any more.
  _same(assets.found(declared, second, digests, {})["body"])


def _loss(params, state, batch, now):
  del batch, now
  w = state.assets["made"]["w"] + state.assets["body"]["params"]["w"]
  return {"product": penalty(jnp.sum(params["p"] * w))}, Aux()


def _make(state, data):
  del data
  return state, {}, {"made": {"w": state.params["p"] + 1}}


def test_a_run_keeps_assets_apart_and_a_stage_makes_one(tmp_path, array_source):
  data = stream.shuffled(array_source(16), 8, 8, seed=0)
  stages = [
    stage.Pass("make", _make, data),
    stage.Fit("fit", _loss, data, optax.sgd(0.5), stage.steps(2)),
  ]
  shapes = {"w": jax.ShapeDtypeStruct((2, 3), np.float32)}
  declared = {"body": _asset(), "made": Asset(None, lambda: shapes)}
  seen = []

  def init(key):
    del key
    return State({"p": jnp.zeros((2, 3))}, {}, {})

  def evaluate(state):
    seen.append(set(state.assets))
    return {"accuracy": 0.0}

  def trained(stages):
    run = Run(tmp_path, seed=0)
    return run.run_stages(init, stages, evaluate, assets=declared)

  trained(stages[:1])
  # Goes on in another process, as it were.
  progress, arrays = Checkpoints(tmp_path).restore()
  assert set(progress.assets) == {"body", "made"}
  assert set(arrays) == {"state.params.p"}
  state = trained(stages)
  assert seen == [{"body", "made"}] * len(seen)
  expected = -0.5 * 2 * (1 + TREE["params"]["w"])
  np.testing.assert_allclose(state.params["p"], expected)


@pytest.mark.parametrize(
  ("made", "said"),
  [
    ({"other": {"w": np.zeros((2, 3))}}, "01-make makes .*'other'.*lens"),
    ({"lens": {"w": np.zeros(5)}}, r"'lens' is of another.*shape \(5,\)"),
  ],
)
def test_a_stage_makes_what_was_declared(tmp_path, array_source, made, said):
  shapes = {"w": jax.ShapeDtypeStruct((2, 3), np.float32)}
  declared = {"lens": Asset(None, lambda: shapes)}
  data = stream.ordered(array_source(8), 8, 8)
  one = stage.Pass("make", lambda state, data: (state, {}, made), data)
  run = Run(tmp_path, seed=0)
  with pytest.raises((ValueError, UserError), match=said):
    run.run_stages(
      lambda key: State({"p": jnp.zeros(2)}, {}, {}),
      [one],
      lambda state: {},
      assets=declared,
    )
  run.log.close()
  assert not (tmp_path / "assets").exists()

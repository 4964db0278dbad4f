"""A stream of two tasks: what stays, what is orthogonal, what is told."""

import json

import numpy as np
import pytest

from configs import comel_folder
from protojax import loading, methods, parallel
from protojax.methods.comel import scores, stream_summary
from protojax.methods.comel.scores import Judged
from protojax.operations import training
from protojax.types import UserError


def _config(**changes):
  config = comel_folder.get_config("debug").unlock()
  config.train.epochs = 1
  for key, value in changes.items():
    group, _, name = key.rpartition("__")
    (config[group] if group else config)[name] = value
  return config.lock()


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"baseline": "gem"}, "baseline is 'gem'; choose from"),
    ({"adapters__mode": "qr"}, "adapters.mode is 'qr'; choose from"),
    ({"network__grouping": "random"}, "choose from 'region', 'strided'"),
    ({"bppl__kept": "all"}, "choose from 'both', 'positive'"),
    ({"network__heads": 3}, "width=16 does not divide into"),
    ({"learned": 1}, "learned=1 tasks of another run: name the run"),
    ({"adapters__energy": 1.0}, "adapters.energy is 1.0"),
  ],
)
def test_wrong_settings_are_told(changes, said):
  with pytest.raises(UserError, match=said):
    methods.load(_config(**changes))


def test_bags_that_do_not_fit_are_told():
  method = methods.load(_config(network__channels=8))
  with pytest.raises(UserError, match=r"set --config.network.channels=32"):
    method.stream("train")
  method = methods.load(_config(batch_size=20))
  with pytest.raises(UserError, match="'nine' has 16 training bags, fewer"):
    list(method.stages())
  method = methods.load(_config(learned=2, init_from="runs/other"))
  with pytest.raises(UserError, match="learned=2 of 2 tasks leaves none"):
    list(method.stages())


def test_groups_by_region_need_coordinates(tmp_path):
  for split in ("train", "test"):
    for label in ("normal", "tumor"):
      place = tmp_path / split / "liver" / label
      place.mkdir(parents=True)
      np.savez(place / f"{split}-{label}.npz", features=np.ones((1, 32)))
  config = _config(data__name="bags", data__root=str(tmp_path), data__tasks=())
  method = methods.load(config)
  with pytest.raises(UserError, match=r"set --config.network.grouping=strided"):
    method.stream("test")
  with config.unlocked():
    config.network.grouping = "strided"
  batch = next(methods.load(config).stream("test").batches())
  assert batch["bag"]["vectors"].shape == (4, 1, 32)  # bags of one instance


def test_stages_are_named_by_task_and_replay_old_bags():
  method = methods.load(_config(baseline="er", continual__er_bags=5))
  stages = list(method.stages())
  assert [s.name for s in stages] == [
    "learn nine",
    "keep nine",
    "begin four",
    "learn four",
    "keep four",
  ]
  old = stages[3].data["old"]
  assert set(old.source.labels[old.rows] // 2) == {0}
  assert len(np.unique(old.rows)) == 5


def _judged():
  return Judged(
    np.float32(
      [[3, 0, -9, -9], [1, 2, -9, -9], [0, 1, -9, -9], [4, 1, -9, -9]]
    ),
    np.array([0, 1, 0, 1]),
    (
      np.array([0.0, 0.9]),
      np.array([0.1, 0.8, 0.7]),
      np.array([0.5]),
      np.array([0.2, 0.3]),
    ),
    (np.zeros(2), np.array([0.0, 1, 0]), np.zeros(1), np.array([0.0, 1])),
  )


def test_scores_by_hand():
  found = scores.of_task(_judged(), 0.75)
  assert found["accuracy"] == 0.5
  assert found["auc"] == pytest.approx(0.5)
  assert found["instance_auc"] == pytest.approx(5 / 6)
  assert found["instance_accuracy"] == pytest.approx(4 / 5)
  assert found["instance_f1"] == pytest.approx(2 / 3)
  assert found["dice"] == pytest.approx((1 + 0) / 2)
  assert found["iou"] == pytest.approx((1 + 0) / 2)
  # The most positive instance is a positive one in both positive bags.
  assert found["pointing"] == 1.0
  # At 0.8 one of two is found without a false alarm, at 0.3 both with one.
  assert scores.threshold(_judged()) == pytest.approx(0.3)


def test_unknown_instances_have_no_scores_and_no_threshold():
  judged = _judged()
  blind = Judged(
    judged.logits,
    judged.labels,
    judged.instances,
    tuple(np.full(len(p), -1.0) for p in judged.instances),
  )
  assert "dice" not in scores.of_task(blind, 0.5)
  assert scores.threshold(blind) is None


def test_the_summary_has_average_and_forgetting():
  rows = [{"a_accuracy": 0.9}, {"a_accuracy": 0.6, "b_accuracy": 0.8}]
  stages = [
    {"id": "01-learn-a", "metrics": {}},
    {"id": "02-keep-a", "metrics": {**rows[0], "kept": 0.5}},
    {"id": "05-keep-keep-b", "metrics": {**rows[1], "kept": 0.1}},
  ]
  found = stream_summary.summary(("A", "b"), stages)
  told = found["stream"]["accuracy"]
  assert told["average"] == pytest.approx(0.7)
  assert told["forgetting"] == pytest.approx(0.3)
  assert told["matrix"] == [[0.9, None], [0.6, 0.8]]
  assert found["pseudo_labels"] == {"kept": pytest.approx(0.3)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of two tasks with its state before and after the second one."""
  folder = tmp_path_factory.mktemp("comel")
  seen = {}

  def make(config, class_names):
    method = methods.load(config, class_names)
    whole = method.evaluate

    def evaluate(state, split):
      seen[len(seen)] = parallel.to_host(state)
      return whole(state, split)

    method.evaluate = evaluate
    return method

  training.train(folder, _config(), make)
  return folder, seen


@pytest.mark.slow
def test_a_task_changes_its_own_parameters_alone(run):
  _, seen = run
  before, after = seen[2].params, seen[4].params
  for group in ("base", "head_0"):
    for a, b in zip(*map(_leaves, (before[group], after[group])), strict=True):
      np.testing.assert_array_equal(a, b)
  moved = [np.abs(a.up).max() for a in after["adapter_1"].values() if a.up.size]
  assert min(moved) > 0
  assert int(seen[1].buffers["begun"]) == 1
  assert int(seen[4].buffers["begun"]) == 2


def _leaves(tree):
  if isinstance(tree, dict):
    return [x for part in tree.values() for x in _leaves(part)]
  return [tree]


@pytest.mark.slow
def test_adapters_stay_out_of_what_was_learned(run):
  _, seen = run
  state = seen[4]
  for name, kernel in state.params["base"]["kernels"].items():
    adapter = state.params["adapter_1"][name]
    scale = np.abs(kernel).max()
    assert np.abs(adapter.down @ kernel).max() < 1e-5 * scale, name
    assert np.abs(kernel @ adapter.up.T).max() < 1e-5 * scale, name
    rank = np.linalg.matrix_rank(kernel, tol=1e-5)
    shares = np.linalg.svd(kernel, compute_uv=False) ** 2
    assert shares[:rank].sum() >= shares.sum() * (1 - 1e-6)


@pytest.mark.slow
def test_a_run_goes_on_with_a_task_more(run, tmp_path):
  folder, seen = run
  config = _config(
    learned=2,
    init_from=str(folder),
    data__tasks=("nine", "four", "seven"),
    data__bags=4,
  )
  training.train(tmp_path / "more", config)
  _, state, _ = loading.load(tmp_path / "more")
  for group in ("base", "head_0", "head_1"):
    for a, b in zip(
      *map(_leaves, (seen[4].params[group], state.params[group])), strict=True
    ):
      np.testing.assert_array_equal(a, b)
  first = state.params["adapter_1"]
  for name, second in state.params["adapter_2"].items():
    assert np.abs(second.down @ first[name].down.T).max() < 1e-5
    assert np.abs(second.up @ first[name].up.T).max() < 1e-5
  thresholds = state.statistics["thresholds"]
  old = seen[4].statistics["thresholds"]
  assert thresholds["task_0"] == old["task_0"]
  summary = json.loads((tmp_path / "more" / "summary.json").read_text())
  assert [s["id"] for s in summary["stages"]] == [
    "01-begin-seven",
    "02-learn-seven",
    "03-keep-seven",
  ]

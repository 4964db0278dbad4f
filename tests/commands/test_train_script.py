"""`train.py` as a user runs it: to the end, interrupted, killed, misused."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from configs import protopnet_photos
from protojax import __main__ as command_line
from protojax import configuration, methods
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints
from protojax.operations import training
from protojax.types import UserError
from tests.conftest import DEBUG, ROOT, run_script

STAGES = (
  "01-start",
  "02-warm",
  "03-joint",
  "04-push",
  "05-last-layer",
  "06-prune",
  "07-last-layer-after-prune",
)
# What differs from run to run.
CLOCKS = ("seconds", "images_per_second")


def _train(folder, *flags):
  return run_script(
    "train.py", f"--config={DEBUG}", f"--workdir={folder}", *flags
  )


def _events(folder):
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def _summary(folder):
  return json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_a_run_leaves_what_the_contract_says(debug_run):
  summary = _summary(debug_run)
  assert tuple(s["id"] for s in summary["stages"]) == STAGES
  for stage in summary["stages"]:
    assert stage["seconds"] > 0
    assert stage["images_per_second"] > 0
    assert 0 <= stage["metrics"]["accuracy"] <= 1
  assert set(summary["accuracy"]) == {
    "before_push",
    "after_push",
    "after_last_layer",
    "after_prune",
  }
  by_id = {s["id"]: s["metrics"]["accuracy"] for s in summary["stages"]}
  accuracy = summary["accuracy"]
  assert accuracy["before_push"] == by_id["03-joint"]
  assert accuracy["after_push"] == by_id["04-push"]
  assert accuracy["after_last_layer"] == by_id["05-last-layer"]
  assert accuracy["after_prune"] == by_id["07-last-layer-after-prune"]
  assert summary["metrics"]["accuracy"] == accuracy["after_prune"]
  assert summary["prototypes"] == 2 * len(summary["class_names"])
  assert 0 < summary["alive"] <= summary["prototypes"]
  assert summary["duplicates"] >= 0
  assert summary["seed"] == 0
  assert summary["devices"]
  assert {"jax", "flax", "protojax"} <= set(summary["versions"])
  for name in ("config.json", "metrics.jsonl", "checkpoints", "tensorboard"):
    assert (debug_run / name).exists(), name


@pytest.mark.slow
def test_the_tables_at_the_end_show_the_summary(debug_run):
  text, summary = (debug_run / "stdout.txt").read_text(), _summary(debug_run)
  for name, value in summary["accuracy"].items():
    line = next(
      x
      for x in text.splitlines()
      if x.startswith(f"accuracy {name.replace('_', ' ')}")
    )
    assert line.split()[-1] == f"{value:.3f}"
  assert f"{summary['alive']} of {summary['prototypes']}" in text
  assert "images/s" in text


@pytest.mark.slow
def test_every_event_stands_once(debug_run):
  events = _events(debug_run)
  keys = [(e["stage"], e["step"], e["split"]) for e in events]
  assert len(set(keys)) == len(keys)
  assert {e["stage"] for e in events} == set(STAGES)


@pytest.mark.slow
def test_a_finished_run_says_so(debug_run):
  before = (debug_run / "summary.json").read_bytes()
  done = _train(debug_run)
  assert done.returncode == 0
  assert "This run is finished" in done.stdout
  assert (debug_run / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_another_config_in_the_same_workdir_lists_the_keys(debug_run):
  done = _train(debug_run, "--config.seed=3", "--config.last.epochs=1")
  assert done.returncode == 2
  assert "seed: 0 there, 3 now" in done.stderr
  assert "last.epochs: 2 there, 1 now" in done.stderr
  assert f"--workdir={debug_run}-2" in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config.data.rot=x"], "no key 'rot'. Did you mean 'root'"),
    (["--config.lr=1"], "--config.lr=1: the config has no key 'lr'"),
    (["--config.seed=x"], "config.seed"),
    (["--config.seed"], "Missing value for flag --config.seed (see --help)"),
    (["--confg=x"], "Unknown command line flag 'confg'. Did you mean: config"),
    (["--work=x"], "Unknown command line flag 'work'"),
    (["--config=configs/protopnet_foto.py"], "Did you mean configs/protopnet_"),
    (["--config=configs/protopnet_photos.py:tiny"], "no variant 'tiny'"),
    (["--config=configs/variants.py"], "no function get_config"),
    (["stray"], "unexpected argument 'stray'"),
  ],
)
@pytest.mark.parametrize("default", [False, True])
def test_a_users_mistake_is_one_line_and_exit_code_2(
  default, flags, message, capsys
):
  """In this process, where `train` ends before it touches a device."""
  if not default:
    flags = [f"--config={DEBUG}", *flags]
  assert command_line.main(["train", *flags]) == 2
  printed = capsys.readouterr()
  assert printed.out == ""
  assert printed.err.startswith("error: ")
  assert message in printed.err
  assert printed.err.count("\n") == 1


@pytest.mark.slow
def test_a_mistake_in_a_value_is_told_by_the_script(tmp_path):
  done = _train(tmp_path / "run", "--config.method=protopnt")
  assert done.returncode == 2
  errors = [x for x in done.stderr.splitlines() if x.startswith("error:")]
  assert len(errors) == 1
  assert "Did you mean 'protopnet'" in errors[0]
  assert "Traceback" not in done.stderr


def test_a_value_may_stand_apart_from_its_key():
  config = configuration.load(
    DEBUG,
    ["--config.seed", "3", "--noconfig.backbone.pretrained"],
    init_from="",
  )
  assert (config.seed, config.backbone.pretrained) == (3, False)
  assert config.init_from == ""
  assert config.is_locked
  # Nothing of it is left for the next config.
  assert configuration.load(DEBUG).seed == 0


def test_a_run_is_named_after_its_config():
  assert configuration.name("a,b/c.py") == "c"
  assert configuration.name("a,b/c.py:paper,debug") == "c-paper-debug"
  assert configuration.name("c.py:paper:debug") == "c-paper-debug"


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"backbone.name": "resnet"}, "config.backbone.name is 'resnet'"),
    ({"prototypes.similarity": "l3"}, "cosine, linear, log"),
    ({"prototypes.height": 9}, "9 x 1 cells do not fit into the"),
    ({"data.image_size": 0}, "data.image_size is 0; it must be"),
    ({"prototypes.per_class": 0}, "per_class is 0; it must be"),
    ({"seed": -1}, "seed is -1; it must be a whole number from 0"),
    ({"rounds": 0}, "rounds is 0; it must be a whole number from 1"),
    ({"batch_size": 5000}, "fewer than a batch of 5000"),
    ({"init_from": "nowhere"}, "nowhere/checkpoints holds no checkpoint"),
  ],
)
def test_a_mistake_does_not_take_the_workdir(tmp_path, changes, message):
  """In this process: what a script makes of the error is tested above."""
  config = protopnet_photos.get_config("debug")
  wrong = config.copy_and_resolve_references().unlock()
  wrong.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=message):
    training.train(tmp_path, wrong.lock())
  workdir.claim(tmp_path, config, methods.later)


def _start(folder, *flags):
  return subprocess.Popen(
    [
      sys.executable,
      "-u",
      "train.py",
      f"--config={DEBUG}",
      f"--workdir={folder}",
      *flags,
    ],
    cwd=ROOT,
    text=True,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
  )


def _until(process, words):
  """Reads the output up to a line that holds the words."""
  for line in process.stdout:
    if words in line:
      return line
  raise AssertionError(f"ended without {words!r}")


def _interrupt(folder, flags, stage, number):
  """Sends a signal to the run within a stage; its exit code and last words."""
  process = _start(folder, *flags)
  before = STAGES[stage - 2]
  _until(process, before)
  # The stage before is told of, and then saved. The run stands still while it
  # is looked at: on a busy machine it would go on to the next one.
  process.send_signal(signal.SIGSTOP)
  while _stage(folder) < stage:
    process.send_signal(signal.SIGCONT)
    time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
  process.send_signal(number)
  process.send_signal(signal.SIGCONT)
  rest = process.communicate()[0]
  assert not (folder / "summary.json").exists(), f"too late: {before}"
  assert _stage(folder) == stage
  return process.returncode, rest


def _stage(folder):
  """The stage that the newest checkpoint goes on with; 1 if there is none."""
  checkpoints = Checkpoints(folder)
  try:
    return checkpoints.progress().stage if checkpoints.exists() else 1
  except UserError:
    # Old checkpoints are deleted meanwhile.
    return 0
  finally:
    checkpoints.close()


@pytest.mark.slow
def test_killed_and_stopped_it_ends_the_same(debug_run, tmp_path):
  folder = tmp_path / "killed"
  # Saved at almost every step, so that a kill lands within a stage.
  flags = ["--config.save_seconds=0.2"]
  warm, joint, push = 2, 3, 4
  _interrupt(folder, flags, warm, signal.SIGKILL)
  code, rest = _interrupt(folder, flags, joint, signal.SIGTERM)
  assert code == 128 + signal.SIGTERM, rest
  assert "saved. Run the same command to continue" in rest
  _interrupt(folder, flags, push, signal.SIGKILL)
  done = _train(folder, *flags)
  assert done.returncode == 0, done.stderr
  _assert_same_outcome(debug_run, folder)


def _assert_same_outcome(run, other):
  """Everything but the clocks is bitwise the same."""
  one, two = _summary(run), _summary(other)
  for stage in (*one["stages"], *two["stages"]):
    for clock in CLOCKS:
      del stage[clock]
  assert one == two
  assert _events(run) == _events(other)
  _, arrays = Checkpoints(run).restore()
  _, others = Checkpoints(other).restore()
  assert arrays.keys() == others.keys()
  for name in arrays:
    np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)


def _photographs(folder, each=30, broken=False):
  """Two classes told apart by brightness."""
  rng = np.random.default_rng(0)
  for k, name in enumerate(("dark", "light")):
    for split in ("train", "test"):
      (folder / split / name).mkdir(parents=True)
      for i in range(each):
        pixels = rng.integers(90 * k, 90 * k + 90, (40, 40, 3), np.uint8)
        path = folder / split / name / f"{i}.png"
        Image.fromarray(pixels).save(path)
  if broken:
    (folder / "train" / "dark" / "bad.png").write_bytes(b"nonsense")


def _on_folder(data):
  return [
    "train.py",
    "--config=configs/protopnet_folder.py:debug",
    "--config.data.name=folder",
    f"--config.data.root={data}",
  ]


@pytest.mark.slow
def test_skipped_images_and_small_classes_are_told(tmp_path):
  _photographs(tmp_path / "data", 14, broken=True)
  done = run_script(
    *_on_folder(tmp_path / "data"),
    "--config.prototypes.per_class=15",
    "--config.warm.epochs=0",
    "--config.joint.epochs=0",
    "--config.last.epochs=0",
    "--config.prune.nearest=0",
    f"--workdir={tmp_path / 'run'}",
  )
  assert done.returncode == 0, done.stderr
  said = " ".join(done.stdout.split())
  assert "bad.png" in said
  assert "fewer training images than the 15 prototypes of a class" in said
  assert "dark (14), light (14)" in said


@pytest.mark.slow
def test_init_from_with_other_classes(debug_run, tmp_path):
  """A folder of two classes starts from the model of thirteen."""
  _photographs(tmp_path / "data")
  folder = tmp_path / "run"
  done = run_script(
    *_on_folder(tmp_path / "data"),
    f"--init-from={debug_run}",
    "--config.warm.epochs=0",
    "--config.prune.nearest=0",
    f"--workdir={folder}",
  )
  assert done.returncode == 0, done.stderr
  assert "anew: params.head, params.prototypes" in done.stdout
  summary = _summary(folder)
  assert summary["class_names"] == ["dark", "light"]
  # The input's scale was learnt with the features, and stays with them.
  _, arrays = Checkpoints(folder).restore()
  _, before = Checkpoints(debug_run).restore()
  for name in ("shift", "scale"):
    name = f"state.statistics.{name}"
    np.testing.assert_array_equal(arrays[name], before[name])
  kernel = "state.params.backbone.conv_1.kernel"
  moved = np.abs(arrays[kernel] - before[kernel]).max()
  assert 0 < moved < 0.1 * np.abs(before[kernel]).max()

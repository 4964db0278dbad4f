"""A workdir belongs to one config and one set of classes."""

import errno
import json
import os

from ml_collections import ConfigDict
import pytest

from configs import inp_former_folder, protopnet_folder
from protojax import methods
from protojax.engine import workdir
from protojax.types import UserError


def _config(**changes):
  given = {"method": "gone", "seed": 0, "data": {"root": "", "size": 8}}
  return ConfigDict({**given, **changes})


def _begin(run):
  """What the first checkpoint leaves."""
  (run / "checkpoints" / "1").mkdir(parents=True)


def test_claim_writes_the_config_and_takes_it_again(tmp_path):
  run = tmp_path / "run"
  workdir.claim(run, _config(), methods.later)
  _begin(run)
  workdir.claim(run, _config(), methods.later)
  assert json.loads((run / "config.json").read_text())["data"]["size"] == 8
  assert workdir.load_config(run, methods.later).data.size == 8


def test_one_command_at_a_time_trains_in_a_folder(tmp_path):
  folder = tmp_path / "run"
  with workdir.locked(folder):
    with (
      pytest.raises(UserError, match=f"by process {os.getpid()} on .*another"),
      workdir.locked(folder),
    ):
      pytest.fail("two of them hold it")
    with workdir.locked(tmp_path / "other"):
      pass
  with workdir.locked(folder):
    pass


def test_a_disk_without_locks_is_trained_on_all_the_same(tmp_path, monkeypatch):
  def refuse(file, how):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(workdir.fcntl, "flock", refuse)
  with workdir.locked(tmp_path), workdir.locked(tmp_path):
    pass


def test_another_config_lists_the_keys_and_a_way_out(tmp_path):
  run = tmp_path / "run"
  workdir.claim(run, _config(), methods.later)
  _begin(run)
  (tmp_path / "run-2").mkdir()
  with pytest.raises(UserError) as error:
    workdir.claim(
      run, _config(seed=1, data={"root": "x", "size": 8}), methods.later
    )
  message = str(error.value)
  assert "seed: 0 there, 1 now" in message
  assert "data.root: '' there, 'x' now" in message
  assert "size" not in message
  assert f"--workdir={run}-3" in message


def test_a_folder_without_a_run(tmp_path):
  with pytest.raises(UserError, match="holds no run"):
    workdir.load_config(tmp_path, methods.later)
  with pytest.raises(UserError, match="no run found under"):
    workdir.newest(tmp_path)


def test_torn_config_is_named(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": ')
  with pytest.raises(UserError, match=r"config\.json is not valid JSON"):
    workdir.load_config(tmp_path, methods.later)


def test_newest_is_the_run_written_to_last(tmp_path):
  for number, name in enumerate(("a", "b", "c")):
    workdir.claim(tmp_path / name, _config(), methods.later)
    _begin(tmp_path / name)
    os.utime(tmp_path / name / "config.json", (number, number))
  (tmp_path / "a" / "metrics.jsonl").write_text("")
  workdir.claim(tmp_path / "not begun", _config(), methods.later)
  assert workdir.newest(tmp_path).name == "a"


def test_changed_classes_are_told(tmp_path):
  workdir.claim_classes(tmp_path, ("ant", "bee"))
  _begin(tmp_path)
  workdir.claim_classes(tmp_path, ("ant", "bee"))
  assert workdir.class_names(tmp_path) == ("ant", "bee")
  with pytest.raises(UserError, match=r"gone: bee; new: wasp"):
    workdir.claim_classes(tmp_path, ("ant", "wasp"))


def test_a_run_that_saved_nothing_gives_way(tmp_path):
  workdir.claim(tmp_path, _config(seed=1), methods.later)
  workdir.claim_classes(tmp_path, ("ant",))
  workdir.claim(tmp_path, _config(seed=2), methods.later)
  workdir.claim_classes(tmp_path, ("ant", "bee"))
  assert workdir.load_config(tmp_path, methods.later).seed == 2
  assert workdir.class_names(tmp_path) == ("ant", "bee")


def test_a_run_from_before_a_key_came(tmp_path):
  def config(**more):
    backbone = {"name": "net", **more}
    return _config(method="protopnet", backbone=backbone)

  workdir.claim(tmp_path, config(), methods.later)
  _begin(tmp_path)
  found = workdir.load_config(tmp_path, methods.later)
  assert (found.backbone.weights, found.seeds, found.data.copies) == ("", 1, 1)
  later = {"weights": "", "dtype": "float32", "remat": False}
  workdir.claim(tmp_path, config(**later), methods.later)
  with pytest.raises(UserError, match=r"weights: '' there, 'x' now"):
    workdir.claim(tmp_path, config(**later | {"weights": "x"}), methods.later)


def test_keys_that_came_later_are_those_of_the_configs(tmp_path):
  for config in protopnet_folder.get_config(), inp_former_folder.get_config():
    flat = workdir._flat(json.loads(config.to_json()))
    of_method = methods.later(config.method)
    assert of_method
    for key, value in {**workdir._LATER, **of_method}.items():
      assert type(flat[key]) is type(value), key
  assert methods.later("gone") == methods.later("mine.gone") == {}

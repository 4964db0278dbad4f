"""Weights & Biases and MLflow, each against a fake of its module."""

import json
import sys
import types

import pytest

from protojax import __main__ as command_line
from protojax.commands import train
from protojax.engine import loggers
from protojax.engine.log import Log
from protojax.types import UserError


class FakeWandb(types.ModuleType):
  """Remembers what it is told."""

  def __init__(self):
    super().__init__("wandb")
    self.said = []

  def init(self, **settings):
    self.said.append(("init", settings))
    run = types.SimpleNamespace(id=settings["id"] or "first")
    run.log = lambda metrics, step: self.said.append((step, metrics))
    run.finish = lambda: self.said.append("end")
    return run


class FakeMlflow(types.ModuleType):
  """The same."""

  def __init__(self):
    super().__init__("mlflow")
    self.said = []

  def set_experiment(self, name):
    self.said.append(("experiment", name))

  def start_run(self, run_id, run_name):
    self.said.append(("run", run_id, run_name))
    info = types.SimpleNamespace(run_id=run_id or "first")
    return types.SimpleNamespace(info=info)

  def log_params(self, settings):
    self.said.append(("settings", settings))

  def log_metrics(self, metrics, step):
    self.said.append((step, metrics))

  def end_run(self):
    self.said.append("end")


def logged(folder, name):
  log = Log(folder, names=(name,), settings={"warm.epochs": 5})
  metrics = {"loss": 0.5, "ratio": float("nan")}
  log.event("01-warm", 1, 10, "train", metrics, 10)
  log.close()


@pytest.mark.parametrize("fake", [FakeWandb, FakeMlflow])
def test_a_logger_gets_finite_numbers_and_goes_on_under_its_id(
  tmp_path, monkeypatch, fake
):
  module = fake()
  name = module.__name__
  monkeypatch.setitem(sys.modules, name, module)
  folder = tmp_path / "run"
  logged(folder, name)
  assert (10, {"train/loss": 0.5}) in module.said
  assert module.said[-1] == "end"
  assert "warm.epochs" in str(module.said)
  assert json.loads((folder / "loggers.json").read_text()) == {name: "first"}
  module.said.clear()
  logged(folder, name)
  assert "first" in str(module.said)
  # TensorBoard was not asked for.
  assert not (folder / "tensorboard").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, name):
  monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(UserError, match=rf"protojax\[{name}\]"):
    loggers.opened((name,), tmp_path, {}, 0)


def test_the_command_knows_the_loggers(capsys):
  assert set(train._LOGGERS) == set(loggers._LOGGERS)
  with pytest.raises(SystemExit):
    command_line.main(["train", "--logger=tensorbord"])
  assert "tensorbord is no logger" in capsys.readouterr().err
  assert train._loggers("none") == []
  assert train._loggers("mlflow,wandb,mlflow") == ["mlflow", "wandb"]

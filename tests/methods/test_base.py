"""Capabilities: asked for, needed, and a method that has none of them."""

import functools
import json
import types

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import loading, methods
from protojax.__main__ import main
from protojax.engine.stage import Pass
from protojax.methods import base
from protojax.operations.training import train
from protojax.types import State, UserError


class Numbers:
  """A stream of numbers, which are no images, and its own source."""

  class_names = skipped = ()

  def __init__(self, values):
    self.values, self.source = np.float32(values), self
    self.labels = np.full(len(values), -1, np.int32)

  def __len__(self):
    return len(self.values)

  def __getitem__(self, i):
    return {"value": self.values[i], "name": self.name(i)}

  def name(self, i):
    return f"number {i}"


class Method:
  """The mean of numbers: no classes, no images, no gradient descent."""

  assets = base.NO_ASSETS
  capabilities = base.Capabilities()
  splits = ("train", "test")

  def __init__(self, config, class_names=None):
    assert class_names is None
    self.config = config

  def stream(self, split):
    return Numbers([1, 2, 6] if split == "train" else [2, 5])

  def init(self, key):
    return State(params={}, statistics={}, buffers={"mean": jnp.zeros(())})

  def stages(self):
    yield Pass("mean", self.mean, self.stream("train"))

  def mean(self, state, data):
    return state.replace(buffers={"mean": data.values.mean()}), {}

  def predict(self, state, batch):
    return {"away": batch["value"] - state.buffers["mean"]}

  def evaluate(self, state, split):
    away = self.stream(split).values - state.buffers["mean"]
    return {"error": float(np.abs(away).mean())}

  def summary(self, state, stages):
    return {"numbers": len(self.stream("train"))}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Folder of a run of the mean, as the commands find it; what it printed."""
  config = ConfigDict(
    {
      "method": "numbers",
      "seed": 0,
      "seeds": 1,
      "save_seconds": 600.0,
      "init_from": "",
    }
  ).lock()
  folder = tmp_path / "run"
  assert train(folder, config, Method) == 0
  monkeypatch.setattr(
    loading, "load", functools.partial(loading.load, make=Method)
  )
  return folder, capsys.readouterr().out


def test_a_method_of_numbers_is_trained_and_told(run, capsys):
  folder, out = run
  # The mean is 3: |2 - 3| and |5 - 3|.
  assert out.endswith("error  1.5\n")
  assert "accuracy" not in out
  summary = json.loads((folder / "summary.json").read_text())
  assert summary["metrics"] == {"error": 1.5}
  assert summary["numbers"] == 3
  method, state, config = loading.load(folder)
  assert float(state.buffers["mean"]) == 3
  assert train(folder, config, Method) == 0
  assert "explain" not in capsys.readouterr().out
  assert method.capabilities == base.Capabilities()


@pytest.mark.parametrize(
  ("argv", "told"),
  [
    (["explain"], "explain its answers; methods that do: comel, csr, e"),
    (["predict", "a.png"], "classify images or give images several labels or"),
    (["export", "--output=x"], "classify images; methods that do: comel, csr"),
    (["evaluate"], "explain its answers"),
    (["sample"], "generate images; methods that do: "),
    (["interact"], "take corrections of a person or let a person throw out p"),
    (["interact", "--edits=x"], "let a person throw out prototypes; method"),
  ],
)
def test_a_command_says_in_one_line_what_it_lacks(run, capsys, argv, told):
  if argv[0] == "export":
    pytest.importorskip("flatbuffers")
  folder, _ = run
  assert main([*argv, f"--workdir={folder}"]) == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert err.startswith("error: the method of this run, numbers, does not")
  assert told in err
  assert err.count("\n") == 1


def test_a_capability_is_made_of_the_method_when_it_is_asked_for():
  made = []

  class Able:
    capabilities = base.Capabilities(inspects=lambda m: made.append(m) or "it")
    config = types.SimpleNamespace(method="able")

  method = Able()
  assert method.capabilities.inspects is not None
  assert made == []
  assert base.able(method, "explains") is None
  assert base.able(method, "inspects") == "it"
  assert base.needed(method, "classifies", "inspects") == "it"
  assert made == [method, method]
  with pytest.raises(UserError, match=r"able, does not simulate; .* irca$"):
    base.needed(method, "simulates")
  with pytest.raises(AttributeError):
    base.able(method, "flies")


@pytest.mark.parametrize("name", methods.names())
def test_every_method_declares_what_it_can_do_on_its_class(name):
  assert isinstance(methods.find(name).capabilities, base.Capabilities)
  assert set(base._VERBS) == set(vars(base.Capabilities()))

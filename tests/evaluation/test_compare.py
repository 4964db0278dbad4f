"""`python -m protojax evaluate`: methods, seeds, tables, and mistakes."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import cli
from protojax.evaluation import compare, printed_tables, recipes
from protojax.metrics.means import Mean
from protojax.types import UserError


def _measured(value):
  return {"accuracy": Mean(np.float32(value), np.int32(8), np.int32(0))}


def test_every_seed_of_every_method_is_trained_and_judged(
  tmp_path, monkeypatch
):
  trained = []

  def train(folder, config):
    trained.append((folder.relative_to(tmp_path).as_posix(), config.seed))
    return 0

  monkeypatch.setattr(compare, "train", train)
  configs = {
    name: ConfigDict({"seed": 0, "seeds": count}).lock()
    for name, count in (("one", 1), ("two", 2))
  }
  found = compare.methods(
    configs, tmp_path, lambda folder: _measured(len(folder.name) / 8)
  )
  assert trained == [("one", 0), ("two/seed-0", 0), ("two/seed-1", 1)]
  one, two = (found["methods"][name]["accuracy"] for name in configs)
  assert (one["mean"], one["std"], one["n"]) == (0.375, None, 1)
  assert (two["mean"], two["std"], two["n"]) == (0.75, 0, 2)
  json.dumps(found)

  monkeypatch.setattr(compare, "train", lambda *_: 143)
  with pytest.raises(compare.Stopped) as stopped:
    compare.methods(configs, tmp_path, _measured)
  assert stopped.value.code == 143


def test_the_table_is_markdown_without_what_nobody_has():
  told = printed_tables.markdown(
    {
      "a": {"accuracy": {"mean": 0.5, "std": 0.0625}},
      "b": {
        "accuracy": {"mean": 0.25, "std": None},
        "global_size": {"mean": 118.0, "std": 2.0},
      },
    }
  )
  assert [
    [cell.strip() for cell in row.split("|")[1:-1]]
    for row in told.splitlines()
    if "---" not in row
  ] == [
    ["metric", "better", "a", "b"],
    ["accuracy", "higher", "0.500 ± 0.062", "0.250"],
    ["prototypes in use", "lower", "-", "118.0 ± 2.0"],
  ]
  assert len({len(row) for row in told.splitlines()}) == 1


def test_a_recipe_is_a_config_with_changes():
  config = recipes.load(
    "protopnet", "folder", "debug", {"seeds": 2, "data.image_size": 16}
  )
  assert (config.seeds, config.data.image_size) == (2, 16)
  with pytest.raises(UserError, match="no method 'protonet'"):
    recipes.load("protonet", "folder")
  with pytest.raises(UserError, match=r"no config protopnet_moon: .*, p"):
    recipes.load("protopnet", "moon")
  with pytest.raises(UserError, match=r"no config protopnet_\.\./moon"):
    recipes.load("protopnet", "../moon")
  with pytest.raises(UserError, match=r"data\.rot=x cannot be set: .* no such"):
    recipes.load("protopnet", "folder", "debug", {"data.rot": "x"})
  with pytest.raises(UserError, match=r"bone\.name=x cannot be set"):
    recipes.load("protopnet", "folder", "debug", {"bone.name": "x"})


def test_a_recipe_of_a_users_own_method_lies_beside_it(tmp_path, monkeypatch):
  package = tmp_path / "pondlife" / "newt"
  package.mkdir(parents=True)
  (package / "method.py").write_text("class Method:\n  pass\n")
  (package / "config_folder.py").write_text(
    "from protojax.configs import protopnet_folder\n\n"
    "def get_config(variants=''):\n"
    "  config = protopnet_folder.get_config(variants).unlock()\n"
    "  config.method = 'pondlife.newt.method'\n"
    "  return config.lock()\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  config = recipes.load("pondlife.newt.method", "folder", "debug", {"seeds": 2})
  assert (config.method, config.seeds) == ("pondlife.newt.method", 2)
  with pytest.raises(UserError, match=r"no module '.*newt\.config_moon'"):
    recipes.load("pondlife.newt.method", "moon")
  with pytest.raises(UserError, match=r"no module 'pondlife\.toad'"):
    recipes.load("pondlife.toad.method", "folder")


def _run(*arguments):
  """What the command line would run, in this process."""
  module, args = cli.parse("evaluate", list(map(str, arguments)))
  return module.run(args)


@pytest.mark.slow
def test_a_trained_run_is_judged(debug_run, tmp_path, capsys):
  file = tmp_path / "found.json"
  flags = "--images=4", "--sanity", f"--json={file}"
  assert not _run(f"--workdir={debug_run}", *flags)
  ((name, found),) = json.loads(file.read_text())["methods"].items()
  assert name == "protopnet"
  summary = json.loads((debug_run / "summary.json").read_text())
  assert found["accuracy"]["mean"] == pytest.approx(
    summary["metrics"]["accuracy"], abs=1e-6
  )
  for metric in ("accuracy", "deletion", "insertion", "uniqueness", "road"):
    assert 0 <= found[metric]["mean"] <= 1
  assert found["max_sensitivity"]["mean"] > 0
  assert "content" not in found
  assert "| accuracy" in capsys.readouterr().out


def test_how_it_was_judged_is_asked_and_told(tmp_path, monkeypatch):
  asked = []

  def one(folder, judge):
    asked.append(judge.keywords)
    return {
      "methods": {"st_protopnet": {"deletion": {"mean": 0.5, "std": None}}}
    }

  monkeypatch.setattr(compare, "one", one)
  file = tmp_path / "found.json"
  told = []
  for flags in (), ("--by-branch", "--sanity"), ("--by-branch", "--own-size"):
    assert not _run(f"--workdir={tmp_path}", f"--json={file}", *flags)
    told.append(set(json.loads(file.read_text())) - {"methods"})
  assert told == [set(), {"by_branch"}, {"by_branch", "own_size"}]
  assert [a["by_branch"] for a in asked] == [False, True, True]
  assert [a["own_size"] for a in asked] == [False, False, True]
  assert [a["sanity"] for a in asked] == [False, True, False]


def test_mistakes_say_what_to_do(tmp_path):
  with pytest.raises(UserError, match="give --workdir=DIR of a run"):
    _run()
  with pytest.raises(UserError, match="give --data=DIR, or --recipe=comp"):
    _run("--methods=protopnet")
  with pytest.raises(UserError, match="--only=smell: choose from contrast"):
    _run("--planted", "--only=smell")
  for kind in "--planted", "--robustness", "--generated=images":
    for flag in "--by-branch", "--own-size", "--sanity":
      said = f"{kind.partition('=')[0]} has none of them"
      with pytest.raises(UserError, match=said):
        _run(kind, flag)
  with pytest.raises(UserError, match="holds no run"):
    _run(f"--workdir={tmp_path}")

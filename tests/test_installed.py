"""A clone that is not installed, or lacks what it needs."""

import importlib.metadata
from pathlib import Path
import re
import subprocess
import sys
import tomllib

import pytest

import protojax
from protojax import installed
from protojax.errors import UserError
from tests.conftest import ROOT


def test_the_packages_are_those_of_the_project():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  wanted = {re.match(r"[\w-]+", d).group() for d in project["dependencies"]}
  assert set(installed._NEEDED.values()) == wanted


def test_nothing_is_missing_here():
  installed.require()


def test_all_that_is_missing_is_named_at_once(monkeypatch):
  monkeypatch.setitem(installed._NEEDED, "no_such_module", "no-such")
  monkeypatch.setitem(installed._NEEDED, "nor_this", "nor-this")
  way_out = rf"pip install -e '?{re.escape(str(ROOT))}\[demo\]"
  with pytest.raises(UserError, match=f"no-such, nor-this, .*{way_out}"):
    installed.require()


def test_a_package_that_is_no_clone_is_installed_by_its_name(monkeypatch):
  monkeypatch.setattr(installed, "__file__", "/nowhere/lib/protojax/x.py")
  monkeypatch.setitem(installed._NEEDED, "no_such_module", "no-such")
  with pytest.raises(UserError, match=r"pip install protojax$"):
    installed.require()


def test_versions_need_no_metadata(monkeypatch):
  def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

  assert installed.versions(["numpy"])["numpy"][0].isdigit()
  monkeypatch.setattr(importlib.metadata, "version", version)
  found = installed.versions(["protojax", "jax"])
  assert found == {"protojax": protojax.__version__, "jax": "unknown"}


def test_nothing_asks_for_the_metadata_of_protojax():
  for path in (ROOT / "protojax").rglob("*.py"):
    text = path.read_text()
    assert "metadata.version" not in text or path.stem == "installed", path


@pytest.mark.slow
@pytest.mark.parametrize(
  "script", [["train.py"], ["explain.py"], ["-m", "protojax", "predict", "."]]
)
def test_a_python_without_any_package(tmp_path, script):
  if script[0] != "-m":
    script = [str(ROOT / script[0])]
  # Without `site`, no installed package is found.
  done = subprocess.run(
    [sys.executable, "-S", *script],
    cwd=ROOT,
    env={"PATH": ""},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert done.stdout == ""
  assert re.fullmatch(
    r"error: not installed: jax, flax, .*: python -m pip .*\n", done.stderr
  )
  assert Path(ROOT).name in done.stderr

"""The site, the notebook, and what a package index shows."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

import protojax as pj
from tests.conftest import ROOT

_DOCS = ROOT / "docs"


def test_every_page_is_in_the_site():
  spec = importlib.util.spec_from_file_location("hooks", _DOCS / "site.py")
  hooks = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(hooks)
  text = (ROOT / "mkdocs.yml").read_text("utf-8")
  nav = yaml.safe_load(text[text.index("nav:") :])["nav"]
  hooks.on_config({"nav": nav, "docs_dir": str(_DOCS)})
  named = re.findall(r"\w+\.md", str(nav))
  assert sorted(named) == sorted(
    p.name for p in _DOCS.glob("*.md") if p.name != "package.md"
  )


def test_the_api_has_every_public_name():
  text = (_DOCS / "api.md").read_text("utf-8")
  named = {
    path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", text, re.M)
  }
  assert set(pj.__all__) <= named


def test_a_package_index_shows_no_links_to_files():
  text = (_DOCS / "package.md").read_text("utf-8")
  assert "](" not in text
  assert 'readme = "docs/package.md"' in (ROOT / "pyproject.toml").read_text()


def test_the_citation_is_of_this_version():
  cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
  assert cited["version"] == pj.__version__
  assert cited["cff-version"] == "1.2.0"


def test_links_of_the_pages_lead_somewhere():
  for page in (*_DOCS.glob("*.md"), ROOT / "CONTRIBUTING.md"):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
      assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_notebook_runs(debug_run, tmp_path, monkeypatch):
  """Its run is there already, so that its first call goes on where it ended."""
  shutil.copytree(debug_run, tmp_path / "runs" / "notebook")
  monkeypatch.chdir(tmp_path)
  notebook = json.loads((_DOCS / "notebook.ipynb").read_text("utf-8"))
  names, shown = {}, []
  for cell in notebook["cells"]:
    if cell["cell_type"] != "code":
      continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
      tree.body[-1] = ast.Assign([ast.Name("_shown", ast.Store())], last.value)
    exec(compile(ast.fix_missing_locations(tree), "notebook", "exec"), names)
    shown.append(names.pop("_shown", None))
  assert names["found"].label in names["model"].class_names
  assert "<" in names["why"]._repr_html_()
  assert (tmp_path / "why.html").stat().st_size > 1000
  assert shown[-1].size == (240, 240)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
  pytest.importorskip("mkdocs", reason="extra docs")
  done = subprocess.run(
    [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "s"],
    cwd=ROOT,
    capture_output=True,
    encoding="utf-8",
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert "heatmap" in (tmp_path / "s" / "api" / "index.html").read_text("utf-8")

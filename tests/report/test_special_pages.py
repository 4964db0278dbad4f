"""Special pages of a method, found beside its module by their name."""

import importlib
import sys

import pytest

from protojax import methods, parallel
from protojax.report import special_pages
from protojax.report.class_report import Report as ClassReport
from protojax.report.defect_report import Report as DefectReport
from protojax.types import State
from tests.explain import block_fakes
from tests.report import inspection_fakes
from tests.report.page_reader import Page, assert_safe

_STATE = State(params={}, statistics={}, buffers={})
_NAME = "lone.sums.method"
_METHOD = """
class Method:
  answer = 42
"""
_PAGES = """
from markupsafe import Markup

from protojax.explain.blocks import Sentence
from protojax.report.special_pages import Page


def pages(method, state, workdir):
  told = f"The answer of {workdir.name} is {method.answer}, {state.params}."
  html = Markup("<p>Once {}.</p>").format("<more>")
  yield Page("answer", "The answer", "In short.", (Sentence(told),), html)
"""


@pytest.fixture
def method(tmp_path, monkeypatch):
  """Makes a method with the given module `pages`, on the import path."""

  def make(pages=None):
    package = tmp_path / "lone" / "sums"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(_METHOD)
    if pages is not None:
      (package / "pages.py").write_text(pages)
    importlib.invalidate_caches()
    return importlib.import_module(_NAME).Method()

  monkeypatch.syspath_prepend(tmp_path)
  yield make
  for name in [name for name in sys.modules if name.split(".")[0] == "lone"]:
    del sys.modules[name]


@pytest.mark.parametrize("report", [ClassReport, DefectReport])
def test_a_page_of_a_method_is_in_its_report(report, method, tmp_path):
  pages = methods.pages(_NAME, method(_PAGES), _STATE, tmp_path / "run")
  folder = tmp_path / "run" / "explanations"
  with report(folder, folder.parent, pages=pages) as made:
    made.seen("test", 1)
    if report is DefectReport:
      made.add(inspection_fakes.inspections(1)[0])
    made.finish()
  front = Page((folder / "report.html").read_text("utf-8"))
  assert "pages/answer.html" in front.attributes("href")
  assert "The answer" in front.text
  assert folder / "pages" in made.written
  content = (folder / "pages" / "answer.html").read_text("utf-8")
  page = Page(content)
  assert_safe(content, page)
  assert "The answer of run is 42, {}. Once <more>." in page.text
  assert "../report.html" in page.attributes("href")


def test_the_page_of_an_earlier_run_goes(method, tmp_path):
  folder = tmp_path / "explanations"
  pages = methods.pages(_NAME, method(_PAGES), _STATE, tmp_path)
  for made, formats in ((pages, "html"), (pages, "csv")):
    with ClassReport(folder, tmp_path, formats=(formats,), pages=made) as one:
      one.seen("test", 1)
      one.finish()
    assert (folder / "pages").exists() == (formats == "html")


def test_all_processes_make_pages_and_one_writes(tmp_path, monkeypatch):
  made = []

  def pages():
    yield special_pages.Page("answer", "The answer")
    made.append("to the end")

  monkeypatch.setattr(parallel, "is_primary", lambda: False)
  with ClassReport(tmp_path / "e", tmp_path, pages=pages) as one:
    one.seen("test", 1)
    assert one.finish() == {}
  assert made == ["to the end"]
  assert not (tmp_path / "e").exists()


def test_most_methods_have_none(method, tmp_path):
  assert methods.pages(_NAME, method(), _STATE, tmp_path) is None


def test_a_mistake_in_a_module_of_pages_is_told(method, tmp_path):
  with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
    methods.pages(_NAME, method("import nowhere_at_all"), _STATE, tmp_path)


@pytest.mark.parametrize("names", [("../up",), ("A",), ("",), ("a", "a")])
def test_names_of_pages_are_names_of_files(names):
  made = [
    special_pages.Page(name, "T", blocks=block_fakes.every_block()[:1])
    for name in names
  ]
  with pytest.raises(ValueError, match="a special page is named"):
    special_pages.checked(made)

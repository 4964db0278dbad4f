"""The report of a detector in a browser: for everyone, and not too long."""

import pytest

from protojax.report import defect_page, page
from tests import accessibility
from tests.report import inspection_fakes as fakes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
  path = tmp_path_factory.mktemp("report") / "report.html"
  defect_page.write(path, page.Run("run"), fakes.inspections())
  return path


def test_axe_finds_nothing_serious(report, browser):
  browser.get(report.as_uri())
  assert not accessibility.serious(browser)

"""The report of a detector in a browser: for everyone, and not too long."""

import pytest

from protojax.report import defect_page, page
from tests import accessibility
from tests.report import inspection_fakes as fakes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
  path = tmp_path_factory.mktemp("report") / "report.html"
  defect_page.write(path, page.Run("run"), fakes.inspections(16))
  return path


def test_a_link_opens_what_it_leads_to(report, browser):
  browser.get(report.as_uri())
  closed = browser.find_element(
    "css selector", "details.page:not([open]) article"
  )
  assert not closed.is_displayed()
  name = closed.get_attribute("id")
  browser.get(f"{report.as_uri()}#{name}")
  assert browser.find_element("id", name).is_displayed()


def test_axe_finds_nothing_serious(report, browser):
  browser.get(report.as_uri())
  assert not accessibility.serious(browser)

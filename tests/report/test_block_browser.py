"""The report of blocks in a browser, without a server."""

import pytest

from protojax.report import special_pages
from protojax.report.block_report import Report
from tests import accessibility
from tests.explain import block_fakes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run") / "explanations"

  def pages():
    blocks = block_fakes.every_block("tail")
    yield special_pages.Page("tails", "All tails", "Of birds.", blocks)

  with Report(folder, folder.parent, pages=pages) as report:
    report.add(block_fakes.explanation("all", "overview"))
    report.add(block_fakes.explanation("image-1", group="birds"))
    report.finish()
  return folder


@pytest.mark.parametrize("name", ["report.html", "pages/tails.html"])
def test_it_fits_a_phone(folder, browser, name):
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True},
  )
  try:
    browser.get((folder / name).as_uri())
    width = browser.execute_script(
      "return document.documentElement.scrollWidth"
    )
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
  assert width <= 360
  assert not browser.get_log("browser")


def test_pages_lead_to_each_other(folder, browser):
  browser.get((folder / "report.html").as_uri())
  browser.find_element("link text", "All tails").click()
  assert browser.title.startswith("All tails")
  browser.find_element("link text", "Report").click()
  browser.find_element("link text", "birds").click()
  assert browser.current_url.endswith("report.html#group-0")


def test_boxes_lie_on_their_pictures(folder, browser):
  """The first box is 10 of 24 rows high and 16 of 32 columns wide."""
  browser.get((folder / "report.html").as_uri())
  view, box = browser.execute_script(
    "return ['.view img', '.view b'].map(s => {"
    " const r = document.querySelector(s).getBoundingClientRect();"
    " return [r.left, r.top, r.width, r.height]; })"
  )
  left, top, width, height = (
    (box[0] - view[0]) / view[2],
    (box[1] - view[1]) / view[3],
    box[2] / view[2],
    box[3] / view[3],
  )
  expected = (4 / 32, 2 / 24, 16 / 32, 10 / 24)
  assert (left, top, width, height) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ["report.html", "pages/tails.html"])
def test_axe_finds_nothing_serious(folder, browser, name):
  browser.get((folder / name).as_uri())
  assert not accessibility.serious(browser)


def test_heat_fades_and_a_key_shows_a_picture_large(folder, browser):
  browser.get((folder / "report.html").as_uri())
  opacity = (
    "return getComputedStyle(document.querySelector('.heated .over')).opacity"
  )
  assert browser.execute_script(opacity) == "1"
  browser.execute_script(
    "const slider = document.querySelector('.heat-slider');"
    "slider.value = 0; slider.dispatchEvent(new Event('input'))"
  )
  assert browser.execute_script(opacity) == "0"
  button = browser.find_element("css selector", ".view .enlarge")
  assert button.get_attribute("aria-label").startswith("Show large: ")
  button.send_keys("\n")
  large = "dialog.large[open] .view img"
  assert browser.find_element("css selector", large).is_displayed()
  browser.switch_to.active_element.send_keys("\ue00c")  # escape
  assert not browser.find_elements("css selector", large)

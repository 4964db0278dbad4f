"""The reports of classes of pixels and of segments, wide and narrow."""

import numpy as np
import pytest

from configs import pem_folder, scaleprotoseg_folder
from protojax import methods, parallel
from protojax.explain.request import Request
from protojax.report.block_report import Report
from tests import starts

pytestmark = pytest.mark.slow


def _of_prototypes():
  """ScaleProtoSeg with random weights."""
  method = methods.load(scaleprotoseg_folder.get_config("debug"))
  state = starts.begun(method.init)
  state.buffers["grouped"] = np.ones((), bool)
  # So that pixels differ, and regions with them.
  state.params["aspp"] = {k: 300 * x for k, x in state.params["aspp"].items()}
  return method, state


def _of_segments():
  """PEM with random weights."""
  config = pem_folder.get_config("panoptic,debug").unlock()
  config.found.overlap = 0.0
  method = methods.load(config)
  state = starts.begun(method.init)
  state.buffers["things"] = np.arange(13) < 10
  # So that queries say a class, and have masks of their own.
  head = state.params["decoder"]["head"]
  head["classes"]["bias"] = 5 * np.eye(14, dtype=np.float32)[3]
  head["mask_2"]["kernel"] = 8 * head["mask_2"]["kernel"]
  return method, state


@pytest.fixture(
  scope="module",
  params=[("Region", _of_prototypes), ("Segment", _of_segments)],
  ids=["prototypes", "segments"],
)
def page(request, tmp_path_factory):
  """What its parts are called, and the report of two images."""
  parallel.setup()
  name, made = request.param
  method, state = made()
  explains = method.capabilities.explains(method)
  folder = tmp_path_factory.mktemp(f"pixels-{name}") / "explanations"
  asked = Request(split="test", limit=2, provenance=False)
  with Report(folder, folder.parent) as report:
    for found in explains.explain(state, method.stream("test"), asked):
      report.add(found)
    report.finish()
  return name, (folder / "report.html").as_uri()


def _colours(browser, element):
  names = "fill", "background-color"
  return [element.value_of_css_property(name) for name in names]


@pytest.mark.parametrize("width", [360, 1280])
def test_a_region_and_its_reason_light_up_together(page, browser, width):
  from selenium.webdriver.common.action_chains import ActionChains

  size = {"width": width, "height": 800, "deviceScaleFactor": 1}
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 500}
  )
  # The window of a headless browser has no focus of its own.
  emulated = "Emulation.setFocusEmulationEnabled"
  browser.execute_cdp_cmd(emulated, {"enabled": True})
  try:
    name, place = page
    browser.get(place)
    found = browser.execute_script(
      "return document.documentElement.scrollWidth"
    )
    assert found <= width
    figure = browser.find_element("css selector", ".regions")
    browser.execute_script("arguments[0].scrollIntoView()", figure)
    regions = figure.find_elements("css selector", "path")
    lines = figure.find_elements("css selector", "li")
    assert len(regions) == len(lines) > 1
    assert regions[0].get_attribute("aria-label") == lines[0].text
    assert lines[0].text.startswith(f"{name} 1, ")
    dark, plain = _colours(browser, regions[0]), _colours(browser, lines[0])
    # The list is reached without a mouse; a tap gives a region the focus.
    browser.execute_script("arguments[0].focus()", lines[0])
    assert _colours(browser, regions[0]) != dark
    browser.execute_script("arguments[0].focus()", regions[0])
    assert _colours(browser, lines[0]) != plain
    other = _colours(browser, lines[1])
    ActionChains(browser).move_to_element(lines[1]).perform()
    assert _colours(browser, lines[1]) != other
    picture = figure.find_element("css selector", "img").rect
    area = figure.find_element("css selector", "svg").rect
    assert area == pytest.approx(picture, abs=1.5)
  finally:
    browser.execute_cdp_cmd(emulated, {"enabled": False})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
  assert not browser.get_log("browser")

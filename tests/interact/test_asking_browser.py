"""The page of `agent page` as a person has it: in a browser, by keys."""

import contextlib
import threading
import time

import pytest

from protojax.agents import scenes
from protojax.agents.dialogue import Dialogue
from protojax.agents.trace import Trace
from protojax.interact.asking import Asking
from protojax.interact.server import Server
from tests import accessibility

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grammar():
  return scenes.Grammar(scenes.draw(2000, seed=0))


@pytest.fixture
def page(browser, grammar, tmp_path):
  spoken = Dialogue("a red coin and a cup", grammar)
  file = tmp_path / "dialogue.json"
  trace = Trace(tmp_path / "trace.jsonl")
  session = Asking(spoken, trace, lambda: spoken.save(file), 0)
  with Server(session, "run <x>", "127.0.0.1", 0) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    browser.set_window_size(1280, 1000)
    browser.get(server.address)
    _until(lambda: _all(browser, "#graph .node"))
    yield session
    browser.get("about:blank")
    server.shutdown()
    thread.join()


def _until(holds, seconds=120):
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    # What is drawn anew meanwhile may be gone.
    with contextlib.suppress(Exception):
      if holds():
        return
    time.sleep(0.02)
  assert holds()


def _find(browser, selector):
  return browser.find_element("css selector", selector)


def _all(browser, selector):
  return browser.find_elements("css selector", selector)


def test_a_dialogue_is_held_edited_and_painted(browser, page):
  asked = _find(browser, "#question").text
  options = [button.text for button in _all(browser, ".options button")]
  assert options == page.state()["question"]["options"]
  # By a click, by a key, and by words.
  _all(browser, ".options button")[0].click()
  _until(lambda: _find(browser, "#question").text != asked)
  assert [x.text for x in _all(browser, ".history b")] == options[:1]
  _find(browser, "body").send_keys("2")
  _until(lambda: len(_all(browser, ".history b")) == 2)
  _find(browser, "[name=text]").send_keys("hm\n")
  _until(lambda: "does not answer" in _find(browser, "#message").text)
  _find(browser, "[name=pass]").click()
  _until(lambda: len(_all(browser, ".history b")) == 3)
  # A node is chosen by keys; a slider is moved; "only" pins.
  node = _find(browser, '[data-entity="cup"]')
  browser.execute_script("arguments[0].focus()", node)
  browser.switch_to.active_element.send_keys("\n")
  _until(lambda: _find(browser, "#node h3").text == "cup")
  slider = _find(browser, "#p-cup---yes")
  slider.send_keys("\ue012")  # to the left
  _until(lambda: page.state()["belief"]["all_entities"][1]["probability"] < 1)
  assert browser.switch_to.active_element.get_attribute("id") == "p-cup---yes"
  _find(browser, "#p-cup-texture--dotted ~ button").click()
  _until(
    lambda: (
      _find(browser, "#p-cup-texture--dotted").get_attribute("value") == "100"
    )
  )
  _find(browser, "[name=undo]").click()
  _until(lambda: len(_all(browser, "[id^=p-cup-texture]")) == 3)
  # Pictures say what they show, and mark it in the belief.
  _find(browser, "#paint button").click()
  _until(lambda: len(_all(browser, ".painted img")) == 4)
  assert "coin" in _find(browser, ".painted .says").text
  _find(browser, ".painted button").click()
  _until(lambda: _all(browser, ".value.shown"))
  assert _find(browser, ".painted button").get_attribute("aria-pressed") == (
    "true"
  )
  sent = browser.get_log("browser")
  # The answer that was none is a response with an error.
  assert all("400" in line["message"] for line in sent)


@pytest.mark.parametrize("width", [390, 800])
def test_a_phone_and_the_dark(browser, page, width):
  _find(browser, "#paint button").click()
  _until(lambda: _all(browser, ".painted img"))
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
  )
  try:
    found = browser.execute_script(
      "return document.documentElement.scrollWidth"
    )
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
  assert found <= width


def test_axe_finds_nothing_serious(browser, page):
  _find(browser, "#paint button").click()
  _until(lambda: _all(browser, ".painted img"))
  assert not accessibility.serious(browser)

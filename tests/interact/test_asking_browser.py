"""The page of `agent page` as a person has it: in a browser, by keys."""

import threading

import pytest

from protojax.agents import scenes
from protojax.agents.dialogue import Dialogue
from protojax.agents.trace import Trace
from protojax.interact.asking import Asking
from protojax.interact.server import Server
from tests import accessibility
from tests.interact.in_browser import find, find_all, until

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
    until(lambda: find_all(browser, "#graph .node"))
    yield session
    browser.get("about:blank")
    server.shutdown()
    thread.join()


def test_a_dialogue_is_held_edited_and_painted(browser, page):
  belief = page.state()["belief"]
  for drawn, key in ((".node", "all_entities"), ("line", "all_relations")):
    assert len(find_all(browser, f"#graph {drawn}")) == len(belief[key])
  asked = find(browser, "#question").text
  options = [button.text for button in find_all(browser, ".options button")]
  assert options == page.state()["question"]["options"]
  # By a click, by a key, and by words.
  find_all(browser, ".options button")[0].click()
  until(lambda: find(browser, "#question").text != asked)
  assert [x.text for x in find_all(browser, ".history b")] == options[:1]
  find(browser, "body").send_keys("2")
  until(lambda: len(find_all(browser, ".history b")) == 2)
  find(browser, "[name=text]").send_keys("a dragon and no rocket\n")
  until(lambda: "dragon" in find(browser, "#unknown").text)
  find(browser, "[name=text]").send_keys("hm\n")
  until(lambda: "does not answer" in find(browser, "#message").text)
  assert not find(browser, "#unknown").text
  find(browser, "[name=undo]").click()
  until(lambda: len(find_all(browser, ".history b")) == 2)
  assert not find(browser, "#unknown").text
  find(browser, "[name=pass]").click()
  until(lambda: len(find_all(browser, ".history b")) == 3)
  # A node is reached and chosen by keys; a slider is moved; "only" pins.
  node = find(browser, '[data-entity="cup"]')
  browser.execute_script("arguments[0].focus()", node)
  for key, name in (("\ue014", "cat"), ("\ue012", "cup")):  # right, left
    browser.switch_to.active_element.send_keys(key)
    active = browser.switch_to.active_element
    assert active.get_attribute("data-entity") == name
  active.send_keys("\n")
  until(lambda: find(browser, "#node h3").text == "cup")
  slider = find(browser, "#p-cup---yes")
  slider.send_keys("\ue012")  # to the left
  until(lambda: page.state()["belief"]["all_entities"][1]["probability"] < 1)
  assert browser.switch_to.active_element.get_attribute("id") == "p-cup---yes"
  find(browser, "#p-cup-texture--dotted ~ button").click()
  until(
    lambda: (
      find(browser, "#p-cup-texture--dotted").get_attribute("value") == "100"
    )
  )
  find(browser, "[name=undo]").click()
  until(lambda: len(find_all(browser, "[id^=p-cup-texture]")) == 3)
  # Pictures say what they show, and mark it in the belief.
  find(browser, "#paint button").click()
  until(lambda: len(find_all(browser, ".painted img")) == 4)
  assert "coin" in find(browser, ".painted .says").text
  find(browser, ".painted button").click()
  until(lambda: find_all(browser, ".value.shown"))
  assert find(browser, ".painted button").get_attribute("aria-pressed") == (
    "true"
  )
  # What it shows, and is not believed any more, is marked.
  assert not find_all(browser, ".unlikely")
  others = "fieldset:has(.shown) .value:not(.shown) button:enabled"
  find(browser, others).click()
  until(lambda: find_all(browser, ".unlikely"))
  sent = browser.get_log("browser")
  # The answer that was none is a response with an error.
  assert all("400" in line["message"] for line in sent)


@pytest.mark.parametrize("width", [390, 800])
def test_a_phone_and_the_dark(browser, page, width):
  find(browser, "#paint button").click()
  until(lambda: find_all(browser, ".painted img"))
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
  find(browser, "#paint button").click()
  until(lambda: find_all(browser, ".painted img"))
  assert not accessibility.serious(browser)

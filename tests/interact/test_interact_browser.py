"""The page of `protojax.interact` as a person has it: in a browser, by mouse
and by keys.
"""

import threading

import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.interact import saved
from protojax.interact.server import Server
from protojax.operations.correcting import Atlas, Model, Session
from tests.interact import interact_fakes as fakes
from tests.interact.in_browser import find, find_all, until

_RIGHT, _SHIFT, _DELETE = "\ue014", "\ue008", "\ue017"
_ALL = "\ue009a\ue000"  # control and a

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser, tmp_path):
  """A session with its page open, all images listed."""
  method = fakes.Method()
  state = fakes.state(method)
  session = Session(
    Model(method, state),
    method.source,
    tmp_path / "interventions.json",
    Atlas(method, state, method.grid),
  )
  session.predict_all(threading.Event())
  with Server(session, "run <x>", "127.0.0.1", 0) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    browser.set_window_size(1500, 1100)
    browser.get(server.address)
    until(lambda: _verdict(browser))
    yield session
    browser.get("about:blank")
    server.shutdown()
    thread.join()
  assert not browser.get_log("browser")


def _verdict(browser):
  return find(browser, ".verdict").text


def _shares(browser):
  """Percent of each class, before and now."""
  rows = {}
  for row in find_all(browser, "#answer tbody tr"):
    name = find(row, "th").text
    cells = [cell.text for cell in find_all(row, "td.num")]
    rows[name] = [float(cell.removesuffix(" %")) for cell in cells]
  return np.array([rows[name] for name in fakes.CLASSES])


def _shown(browser):
  items = find_all(browser, ".list li")
  return [n for n, item in enumerate(items) if item.is_displayed()]


def _draw(browser, top, left, bottom, right):
  """Draws a box with the mouse, in pixels of an image of 20 x 40."""
  from selenium.webdriver.common.action_chains import ActionChains

  stage = find(browser, "#stage")
  width, height = stage.size["width"], stage.size["height"]

  def at(y, x):
    # Offsets are from the middle.
    return round((x / 40 - 0.5) * width), round((y / 20 - 0.5) * height)

  mouse = ActionChains(browser, duration=20)
  mouse.move_to_element_with_offset(stage, *at(top, left)).click_and_hold()
  mouse.move_to_element_with_offset(stage, *at(bottom, right)).release()
  mouse.perform()


def _numbers(browser, n=0):
  """Top, left, bottom and right of a box, as its line says."""
  line = find_all(browser, "#boxes li")[n]
  return [float(x.get_property("value")) for x in find_all(line, "input")]


def test_the_mouse_changes_the_answer_at_once(page, browser):
  image = page.source.images[0]
  assert _verdict(browser).startswith("warm, ")
  _draw(browser, 11, 21, 19, 39)
  until(lambda: _verdict(browser).startswith("The answer stays"))
  box = _numbers(browser)
  assert_allclose(box, (11, 21, 19, 39), atol=0.2)
  before, after = fakes.naive(image), fakes.naive(image, [box])
  assert_allclose(
    _shares(browser), 100 * np.stack([before, after], axis=1), atol=0.06
  )
  # The slider: the rest counts for nothing.
  slider = find(browser, "[name=alpha]")
  for _ in range(10):
    slider.send_keys("\ue012")  # arrow left
  until(lambda: _verdict(browser).startswith("The answer changes"))
  after = fakes.naive(image, [box], alpha=0.0)
  until(lambda: np.allclose(_shares(browser)[:, 1], 100 * after, atol=0.06))
  assert find(browser, "#answer tr.first th").text == "<b>cold</b>"


def test_not_there_wins_and_a_click_draws_nothing(page, browser):
  image = page.source.images[0]
  find(browser, "[name=kind][value=ignore]").click()
  _draw(browser, 0.5, 0.5, 10.5, 20.5)
  until(lambda: "changes" in _verdict(browser))
  box = _numbers(browser)
  after = fakes.naive(image, ignore=[box])
  assert_allclose(_shares(browser)[:, 1], 100 * after, atol=0.06)
  find(browser, "#stage").click()
  assert len(find_all(browser, "#boxes li")) == 1
  find(browser, "[name=reset]").click()
  until(lambda: _verdict(browser).startswith("warm, "))
  assert not find_all(browser, "#stage button")


def test_all_of_it_by_keys(page, browser):
  image = page.source.images[1]
  find_all(browser, ".list button")[1].send_keys("\n")
  until(lambda: find(browser, "#name").text == page.source.name(1))
  find(browser, "[name=kind]").send_keys(_RIGHT)  # not here
  find(browser, "[name=add]").send_keys("\n")
  assert _numbers(browser) == [5, 10, 15, 30]
  box = browser.switch_to.active_element
  assert box.get_attribute("aria-label") == "Do not look here, box 1"
  for keys in (_RIGHT, _RIGHT, "\ue013", _SHIFT + "\ue013", _SHIFT + _RIGHT):
    box.send_keys(keys)
  assert _numbers(browser) == [4, 12, 13, 33]
  assert browser.switch_to.active_element == box
  top = find(browser, "#boxes input")
  top.send_keys(_ALL + "0\t")
  until(lambda: "→" in _verdict(browser))
  after = fakes.naive(image, ignore=[(0, 12, 13, 33)])
  until(lambda: np.allclose(_shares(browser)[:, 1], 100 * after, atol=0.06))
  # A number that makes no box is taken back.
  top.send_keys(_ALL + "19\t")
  assert _numbers(browser) == [0, 12, 13, 33]
  box.send_keys(_DELETE)
  until(lambda: "→" not in _verdict(browser))
  focused = browser.switch_to.active_element
  assert focused.get_attribute("name") == "add"


def test_concepts_are_rejected_and_shown(page, browser):
  image = page.source.images[0]
  red, blue = find_all(browser, ".concept")
  assert [find(x, "h3").text for x in (red, blue)] == list(fakes.CONCEPTS)
  find(red, "input").send_keys(" ")
  until(lambda: "changes" in _verdict(browser))
  after = fakes.naive(image, rejected=["red"])
  assert_allclose(_shares(browser)[:, 1], 100 * after, atol=0.06)
  assert "→ 0.00" in find(red, ".figures").text
  # The heat map of blue is brightest in the lower right.
  find(blue, "button").click()
  assert find(blue, "button").get_attribute("aria-pressed") == "true"
  scale = find(browser, "#scale").text
  assert scale.startswith('Where it sees bl"ue: from 0.0')
  pixels = browser.execute_script(
    "const canvas = document.querySelector('#stage canvas');"
    "const { width, height } = canvas;"
    "return [width, height, [...canvas.getContext('2d')"
    ".getImageData(0, 0, width, height).data]]"
  )
  assert pixels[:2] == [4, 4]
  colours = np.reshape(pixels[2], (4, 4, 4))
  assert colours[3, 3, 0] > 100  # red
  assert colours[0, 0, 2] > 100  # blue
  # Its prototype is the last image, its cell the last one.
  picture = find(blue, ".view img")
  assert picture.get_attribute("alt").startswith("Training image <i>5</i>.png")
  until(lambda: picture.get_property("naturalWidth") == 40)
  cell = find(blue, ".view b").get_attribute("style")
  assert "left: 75%; top: 75%" in cell.replace("top: 75%; left: 75%", cell)


def test_what_is_saved_survives_the_page(page, browser):
  find(browser, ".concept input").click()
  until(lambda: find_all(browser, ".mark")[0].text == "not saved")
  find(browser, "[name=save]").click()
  until(lambda: find(browser, "[name=state]").text == "Saved; 1 in all.")
  assert find_all(browser, ".mark")[0].text == "saved"
  (kept,) = saved.read(page.path)
  assert kept["rejected"] == ["red"]
  assert kept["after"]["class"] == "<b>cold</b>"
  # What is not saved waits on the page while another image is open.
  _draw(browser, 2, 2, 18, 18)
  find_all(browser, ".list button")[2].click()
  until(lambda: find(browser, "#name").text == page.source.name(2))
  find_all(browser, ".list button")[0].click()
  until(lambda: find_all(browser, "#boxes li"))
  browser.refresh()
  until(lambda: "→" in _verdict(browser))
  assert browser.current_url.endswith("#image-0")
  assert find(browser, ".concept input").is_selected()
  assert not find_all(browser, "#boxes li")
  find(browser, "[name=reset]").click()
  find(browser, "[name=save]").click()
  until(lambda: "0 in all" in find(browser, "[name=state]").text)
  assert saved.read(page.path) == []


def test_the_list_is_narrowed(page, browser):
  margins = np.array([row["margin"] for row in page.images(0)["rows"]])
  assert _shown(browser) == list(range(6))
  find(browser, "[name=unsure]").click()
  unsure = np.flatnonzero(margins < 0.3).tolist()
  assert 0 < len(unsure) < 6
  assert _shown(browser) == unsure
  count = f"{len(unsure)} of 6 shown"
  assert find(browser, ".filters output").text == count
  find(browser, "[name=unsure]").click()
  find(browser, "[name=words]").send_keys("COLD 5")
  assert _shown(browser) == [5]
  # Wrong ones say what they are.
  wrong = [
    n
    for n, row in enumerate(page.images(0)["rows"])
    if row["class"] != row["label"]
  ]
  find(browser, "[name=words]").clear()
  chips = browser.execute_script(
    "return [...document.querySelectorAll('.list li')]"
    ".map((item) => item.querySelectorAll('.bad').length)"
  )
  assert [n for n in range(6) if chips[n]] == wrong


def test_what_goes_wrong_is_said(page, browser, monkeypatch):
  monkeypatch.setattr(page, "model", None)
  monkeypatch.setattr("absl.logging.exception", lambda *words: None)
  find(browser, ".concept input").click()
  message = find(browser, "#message")
  until(lambda: "went wrong" in message.text)
  browser.get_log("browser")  # The status is logged; that is as it should be.


@pytest.mark.parametrize("width", [360, 800])
def test_a_phone_and_the_dark(page, browser, width):
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": True},
  )
  scheme = {"name": "prefers-color-scheme", "value": "dark"}
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
  try:
    browser.refresh()
    until(lambda: _verdict(browser))
    found, colour = browser.execute_script(
      "return [document.documentElement.scrollWidth,"
      " getComputedStyle(document.body).backgroundColor]"
    )
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
  assert found <= width
  assert colour == "rgb(20, 23, 26)"


def test_everything_has_a_name(page, browser):
  _draw(browser, 2, 2, 18, 18)
  nameless = browser.execute_script(
    "return [...document.querySelectorAll('button, input, a, img')]"
    ".filter((x) => x.tagName === 'IMG' ? !x.hasAttribute('alt') :"
    " !(x.textContent.trim() || x.ariaLabel || x.closest('label')))"
    ".map((x) => x.outerHTML)"
  )
  assert nameless == []


def test_points_of_a_concept_are_shown_before_and_now(page, browser):
  """With as many digits as it takes to see that they differ."""
  before = page.opened(0)["answer"]["concepts"]
  find(browser, ".concept input").click()
  asked = {"image": 0, "rejected": [fakes.CONCEPTS[0]]}
  now = page.intervene(asked)["concepts"]
  until(lambda: find_all(browser, ".concept.rejected"))
  until(lambda: "0.00" in find(browser, ".concept .figures").text)
  for card, was, its in zip(
    find_all(browser, ".concept .figures"), before, now, strict=True
  ):
    shown = card.text.partition("points ")[2].replace("−", "-").split(" → ")
    assert_allclose(
      [float(x) for x in shown],
      [was["contribution"], its["contribution"]],
      atol=0.005,
    )
    differ = was["contribution"] != its["contribution"]
    assert (shown[0] != shown[1]) == differ

"""The page of `protojax demo` as a person has it: in a browser, by keys."""

import base64
import dataclasses
import io
import threading

import numpy as np
from PIL import Image
import pytest

from protojax.interact import trial
from protojax.interact.server import Server
from protojax.interact.trial import Seen, Trial
from protojax.report import one_page, page
from tests import accessibility
from tests.interact.in_browser import find, find_all, until
from tests.report import report_fakes
from tests.report.page_reader import HOSTILE

pytestmark = pytest.mark.slow


def _look(photo):
  """A report of a classifier, whatever the photo shows."""
  (pixels,), (name,) = photo.pixels, photo.names
  rng = np.random.default_rng(int(pixels[0, 0, 0]))
  prototypes = [report_fakes.prototype(j, "cat", rng) for j in range(3)]
  found = report_fakes.image(0, None, "cat", prototypes, rng)
  found = dataclasses.replace(found, image=name)
  points = tuple(
    {"prototype": r.prototype, "group": r.group, "points": r.points}
    for r in found.evidence
  )
  text = one_page.render(page.Run(title="run"), found, prototypes)
  return Seen(f"cat {name}", text, points)


@pytest.fixture
def session(browser):
  made = Trial(_look, np.zeros((8, 8, 3), np.uint8))
  given = made, "run <x>", "127.0.0.1", 0, trial.MOST_SENT, made.documents
  with Server(*given) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    browser.set_window_size(1280, 1000)
    browser.get(server.address)
    yield made
    browser.get("about:blank")
    server.shutdown()
    thread.join()


@pytest.fixture
def files(tmp_path):
  """Two photos, and a text that says it is one."""
  paths = [tmp_path / f"{n}.png" for n in (1, 2)]
  for n, path in enumerate(paths):
    Image.new("RGB", (40, 20), (50 * n, 90, 120)).save(path)
  (tmp_path / "<b>.png").write_text("no image")
  return [*paths, tmp_path / "<b>.png"]


def _in_frame(browser, script):
  return browser.execute_script(
    f"const inner = document.querySelector('iframe').contentDocument; {script}"
  )


def test_photos_are_chosen_opened_and_compared(browser, session, files):
  chosen = find(browser, "input[type=file]")
  chosen.send_keys("\n".join(map(str, files)))
  until(lambda: len(find_all(browser, ".history li")) == 2)
  message = find(browser, "#message")
  until(lambda: "<b>.png cannot be shown: not an image" in message.text)
  browser.get_log("browser")  # The status is logged; that is as it should be.
  assert len(find_all(browser, "iframe")) == 1
  # The newest is open and stands first; its report has its own script.
  first, second = find_all(browser, ".history li")
  assert "2.png" in first.text
  assert "shown" in first.get_attribute("class")
  until(lambda: _in_frame(browser, "return inner.querySelector('h1') !== null"))
  title = _in_frame(browser, "return inner.querySelector('h1').textContent")
  assert title == "2.png"
  until(
    lambda: _in_frame(browser, "return inner.querySelector('dialog') !== null")
  )
  # By keys alone.
  compare = find(second, ".beside")
  compare.send_keys("\n")
  assert len(find_all(browser, "iframe")) == 2
  rows = find_all(browser, "#both tbody tr")
  assert rows
  assert len(find_all(browser, "#both thead th")) == 3
  assert find(browser, "#both").is_displayed()
  find(second, "button").send_keys("\n")
  assert len(find_all(browser, "iframe")) == 1
  assert not find(browser, "#both").is_displayed()
  browser.refresh()
  until(lambda: len(find_all(browser, ".history li")) == 2)
  assert not browser.get_log("browser")


def test_a_photo_is_dropped(browser, session):
  file = io.BytesIO()
  Image.new("RGB", (9, 9)).save(file, "PNG")
  browser.execute_script(
    "const data = new DataTransfer();"
    "const bytes = new Uint8Array(arguments[0]);"
    "data.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));"
    "dispatchEvent(new DragEvent('drop', {dataTransfer: data}));",
    list(file.getvalue()),
  )
  until(lambda: find_all(browser, ".history li"))
  assert "dropped.png" in find(browser, ".history li").text


def test_a_large_photo_is_not_sent(browser, session, files, monkeypatch):
  browser.execute_script("facts.most_bytes = 2 ** 4")
  find(browser, "input[type=file]").send_keys(str(files[0]))
  message = find(browser, "#message")
  until(lambda: "at most" in message.text)
  assert session.photos(0) == {"photos": []}


@pytest.mark.parametrize("width", [390, 800])
def test_a_phone_and_the_dark(browser, session, files, width):
  find(browser, "input[type=file]").send_keys(str(files[0]))
  until(lambda: find_all(browser, "iframe"))
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
  )
  scheme = {"name": "prefers-color-scheme", "value": "dark"}
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
  try:
    found, colour = browser.execute_script(
      "return [document.documentElement.scrollWidth,"
      " getComputedStyle(document.body).backgroundColor]"
    )
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
  assert found <= width
  assert colour == "rgb(20, 23, 26)"


def test_axe_finds_nothing_serious(browser, session, files):
  find(browser, "input[type=file]").send_keys("\n".join(map(str, files[:2])))
  until(lambda: len(find_all(browser, ".history li")) == 2)
  find(browser, ".history li:last-child .beside").click()
  until(lambda: len(find_all(browser, "iframe")) == 2)
  assert not accessibility.serious(browser)


def test_names_are_text(browser, session, tmp_path):
  session.add({"name": HOSTILE, "image": _base64(tmp_path)})
  browser.refresh()
  until(lambda: find_all(browser, ".history li"))
  assert HOSTILE in find(browser, ".history b").get_attribute("textContent")
  assert not browser.get_log("browser")


def _base64(folder):

  Image.new("RGB", (4, 4)).save(folder / "x.png")
  return base64.b64encode((folder / "x.png").read_bytes()).decode()

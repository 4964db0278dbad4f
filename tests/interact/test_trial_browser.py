"""The page of `protojax demo` as a person has it: in a browser, by keys."""

import base64
import contextlib
import dataclasses
import io
import threading
import time

import numpy as np
from PIL import Image
import pytest

from protojax.interact import trial
from protojax.interact.server import Server
from protojax.interact.trial import Seen, Trial
from protojax.report import one_page, page
from tests import accessibility
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


def _in_frame(browser, script):
  return browser.execute_script(
    f"const inner = document.querySelector('iframe').contentDocument; {script}"
  )


def test_photos_are_chosen_opened_and_compared(browser, session, files):
  chosen = _find(browser, "input[type=file]")
  chosen.send_keys("\n".join(map(str, files)))
  _until(lambda: len(_all(browser, ".history li")) == 2)
  message = _find(browser, "#message")
  _until(lambda: "<b>.png cannot be shown: not an image" in message.text)
  browser.get_log("browser")  # The status is logged; that is as it should be.
  assert len(_all(browser, "iframe")) == 1
  # The newest is open and stands first; its report has its own script.
  first, second = _all(browser, ".history li")
  assert "2.png" in first.text
  assert "shown" in first.get_attribute("class")
  _until(
    lambda: _in_frame(browser, "return inner.querySelector('h1') !== null")
  )
  title = _in_frame(browser, "return inner.querySelector('h1').textContent")
  assert title == "2.png"
  _until(
    lambda: _in_frame(browser, "return inner.querySelector('dialog') !== null")
  )
  # By keys alone.
  compare = _find(second, ".beside")
  compare.send_keys("\n")
  assert len(_all(browser, "iframe")) == 2
  rows = _all(browser, "#both tbody tr")
  assert rows
  assert len(_all(browser, "#both thead th")) == 3
  assert _find(browser, "#both").is_displayed()
  _find(second, "button").send_keys("\n")
  assert len(_all(browser, "iframe")) == 1
  assert not _find(browser, "#both").is_displayed()
  browser.refresh()
  _until(lambda: len(_all(browser, ".history li")) == 2)
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
  _until(lambda: _all(browser, ".history li"))
  assert "dropped.png" in _find(browser, ".history li").text


def test_a_large_photo_is_not_sent(browser, session, files, monkeypatch):
  browser.execute_script("facts.most_bytes = 2 ** 4")
  _find(browser, "input[type=file]").send_keys(str(files[0]))
  message = _find(browser, "#message")
  _until(lambda: "at most" in message.text)
  assert session.photos(0) == {"photos": []}


@pytest.mark.parametrize("width", [390, 800])
def test_a_phone_and_the_dark(browser, session, files, width):
  _find(browser, "input[type=file]").send_keys(str(files[0]))
  _until(lambda: _all(browser, "iframe"))
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
  _find(browser, "input[type=file]").send_keys("\n".join(map(str, files[:2])))
  _until(lambda: len(_all(browser, ".history li")) == 2)
  _find(browser, ".history li:last-child .beside").click()
  _until(lambda: len(_all(browser, "iframe")) == 2)
  assert not accessibility.serious(browser)


def test_names_are_text(browser, session, tmp_path):
  session.add({"name": HOSTILE, "image": _base64(tmp_path)})
  browser.refresh()
  _until(lambda: _all(browser, ".history li"))
  assert HOSTILE in _find(browser, ".history b").get_attribute("textContent")
  assert not browser.get_log("browser")


def _base64(folder):

  Image.new("RGB", (4, 4)).save(folder / "x.png")
  return base64.b64encode((folder / "x.png").read_bytes()).decode()

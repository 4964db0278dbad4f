"""Takes the pictures of the page in docs/proactive_agents.md, in a browser.

python benchmarks/agent_page.py [--to DIR]

A dialogue of `agent page` is held by its buttons: answered, painted, and one of
its pictures chosen. chromium and chromedriver are on the path; selenium comes
with the `test` extra.
"""

import argparse
import contextlib
import io
from pathlib import Path
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image

from benchmarks import experiment as experiments
from protojax import printing
from protojax.agents.dialogue import Dialogue
from protojax.agents.trace import Trace
from protojax.interact.asking import Asking
from protojax.interact.server import Server
from protojax.writing import replacing

TO = experiments.ROOT / "docs"
PROMPT = "a red coin and a cup"
# Of the questions in turn; None is "I don't know".
ANSWERS = ("black", "left of", None)
DESKTOP, PHONE = 1280, 390  # pixels
_COLOURS = 96  # of a picture, so that its file is small
_SECONDS = 120


def take(to: Path) -> None:
  """Writes agent_page.png, agent_page_dark.png and agent_page_phone.png."""
  with _page() as browser:
    _shown(browser, to / "agent_page.png", DESKTOP, "light")
    for answer in ANSWERS:
      _answer(browser, answer)
    browser.find_element("css selector", "#paint button").click()
    _until(lambda: len(_all(browser, ".painted img")) > 0)
    _all(browser, ".painted button")[0].click()
    cup = browser.find_element("css selector", '[data-entity="cup"]')
    browser.execute_script(_CLICK, cup)
    _until(lambda: _all(browser, ".value.shown"))
    _shown(browser, to / "agent_page_dark.png", DESKTOP, "dark")
    _shown(browser, to / "agent_page_phone.png", PHONE, "light")


@contextlib.contextmanager
def _page():
  """A browser that shows a dialogue at its beginning."""
  from selenium import webdriver

  with tempfile.TemporaryDirectory() as folder:
    spoken = Dialogue(PROMPT)
    trace = Trace(Path(folder) / "trace.jsonl")
    session = Asking(spoken, trace, lambda: None, 0)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("headless", "no-sandbox", "hide-scrollbars"):
      options.add_argument(f"--{argument}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with Server(session, "agent", "127.0.0.1", 0) as server:
      threading.Thread(target=server.serve_forever, daemon=True).start()
      browser = webdriver.Chrome(options=options, service=service)
      try:
        browser.get(server.address)
        _until(lambda: _all(browser, "#graph .node"))
        yield browser
      finally:
        browser.quit()
        server.shutdown()


def _answer(browser, answer: str | None) -> None:
  before = len(_all(browser, ".history b"))
  if answer is None:
    browser.find_element("css selector", "[name=pass]").click()
  else:
    buttons = _all(browser, ".options button")
    next(button for button in buttons if button.text == answer).click()
  _until(lambda: len(_all(browser, ".history b")) > before)


def _shown(browser, path: Path, width: int, scheme: str) -> None:
  """Writes the whole page as it is at this width."""
  feature = {"name": "prefers-color-scheme", "value": scheme}
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
  screen = {"width": width, "deviceScaleFactor": 1, "mobile": width == PHONE}
  height = 800
  for _ in range(2):  # the first time tells how high it is
    browser.execute_cdp_cmd(
      "Emulation.setDeviceMetricsOverride", {**screen, "height": height}
    )
    height = browser.execute_script("return document.body.scrollHeight")
  _until(lambda: browser.execute_script(_LOADED))
  with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as image:
    small = image.convert("RGB").quantize(_COLOURS)
  with replacing(path, "wb") as file:
    small.save(file, "PNG", optimize=True)
  printing.say(f"{path}: {small.width} x {small.height} pixels")


# Of a node of the graph, which has no click of its own.
_CLICK = "arguments[0].dispatchEvent(new Event('click'))"
_LOADED = "return [...document.images].every((image) => image.complete)"


def _all(browser, selector: str):
  return browser.find_elements("css selector", selector)


def _until(holds) -> None:
  end = time.monotonic() + _SECONDS
  while not holds():
    if time.monotonic() > end:
      raise SystemExit("the page has not shown in time what it should")
    time.sleep(0.05)


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--to", type=Path, default=TO)
  take(parser.parse_args().to)

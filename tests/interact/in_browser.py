"""What tests of pages do with a browser."""

import contextlib
import time


def until(holds, seconds=120):
  """Waits until something holds; what is drawn anew meanwhile may be gone."""
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    with contextlib.suppress(Exception):
      if holds():
        return
    time.sleep(0.02)
  assert holds()


def find(browser, selector):
  return browser.find_element("css selector", selector)


def find_all(browser, selector):
  return browser.find_elements("css selector", selector)

"""The page of edits as a person has it: in a browser, by mouse and by keys."""

import contextlib
import json
import time

import pytest

from protojax.interact import edited_run
from tests.interact import edit_fakes
from tests.interact import interact_fakes as fakes

_SPACE, _ENTER, _TAB = "\ue00d", "\ue007", "\ue004"

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser, tmp_path):
  """A session with its page open."""
  session = edit_fakes.session(tmp_path / "run")
  session.ready()
  with fakes.serving(session) as server:
    browser.set_window_size(1280, 1000)
    browser.get(server.address)
    _until(lambda: _find(browser, "#effect tbody tr"))
    yield session
    browser.get("about:blank")
  assert not [
    x for x in browser.get_log("browser") if "status of 400" not in x["message"]
  ]


def _until(holds, seconds=120):
  """Waits until something holds; what is drawn anew meanwhile may be gone."""
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    with contextlib.suppress(Exception):
      if holds():
        return
    time.sleep(0.02)
  assert holds()


def _find(browser, selector):
  return browser.find_element("css selector", selector)


def _all(browser, selector):
  return browser.find_elements("css selector", selector)


def _said(browser):
  return [item.text for item in _all(browser, "#said li")]


def _box(browser, number):
  return _find(browser, f"#prototypes input[value='{number}']")


def test_prototypes_are_thrown_out_and_come_back(page, browser):
  assert len(_all(browser, "#prototypes .list li")) == 4
  _until(lambda: _all(browser, "#prototypes .list img"))
  before = _find(browser, ".verdict").text
  _box(browser, 0).click()
  _find(browser, ".tools [name=words]").send_keys("<i>the tag</i>")
  _find(browser, "button[value=confounded]").click()
  _until(lambda: _said(browser) == ["Thrown out as confounded: prototype 0"])
  found = page.edit(
    {"edits": [{"edit": "remove", "prototypes": [0], "reason": "wrong"}]}
  )
  assert f"{found['changes']} of 6 answers change" in (
    _find(browser, ".verdict").text
  )
  assert len(_all(browser, "#changed li")) == found["changes"]
  # What an author says stays text, and can be changed.
  words = _find(browser, "#said input")
  assert words.get_attribute("value") == "<i>the tag</i>"
  assert not _box(browser, 0).is_enabled()
  assert "4.00 → 0.00" in _find(browser, ".gone").text
  _find(browser, "#undo").click()
  _until(lambda: not _said(browser))
  assert _find(browser, ".verdict").text == before
  _find(browser, "#redo").click()
  _until(lambda: len(_said(browser)) == 1)


def test_all_is_done_by_keys(page, browser):
  box = _box(browser, 2)
  box.send_keys(_SPACE)
  _box(browser, 3).send_keys(_SPACE)
  _find(browser, "[name=merge]").send_keys(_ENTER)
  _until(lambda: _said(browser) == ["Merged into 2: prototype 3"])
  _box(browser, 0).send_keys(_SPACE)
  _find(browser, "[name=class]").send_keys("<b>cold")
  _find(browser, "[name=forbid]").send_keys(_SPACE)
  _until(lambda: len(_said(browser)) == 2)
  assert _said(browser)[1] == "Not for <b>cold</b>: prototype 0"
  _find(browser, "#undo").send_keys(_ENTER)
  _until(lambda: len(_said(browser)) == 1)
  # From field to field by the tabulator, each with a name.
  fields = "input, button, select, a[href], [tabindex='0']"
  for field in _all(browser, fields):
    named = field.accessible_name
    assert named or not field.is_displayed(), field.get_attribute("outerHTML")


def test_what_cannot_be_is_said_and_nothing_is_lost(page, browser):
  _box(browser, 0).click()
  _box(browser, 1).click()
  _find(browser, "button[value=wrong]").click()
  _until(lambda: "without a prototype" in _find(browser, "#message").text)
  assert not _said(browser)
  assert _box(browser, 1).is_selected()
  _box(browser, 1).click()
  _find(browser, "button[value=wrong]").click()
  _until(lambda: len(_said(browser)) == 1)
  assert not _find(browser, "#message").text


def test_a_run_is_saved_with_the_words(page, browser, monkeypatch):
  saved = []
  monkeypatch.setattr(edited_run, "save", lambda *given: saved.append(given))
  assert not _find(browser, "[name=save]").is_enabled()
  _box(browser, 1).click()
  _find(browser, "button[value=background]").click()
  _until(lambda: len(_said(browser)) == 1)
  _find(browser, "#said input").send_keys("leaves")
  _find(browser, "[name=author]").send_keys("Jo", _ENTER)
  _until(lambda: "run-edited" in _find(browser, "#saving output").text)
  ((folder, parent, _, _, asked, _),) = saved
  assert (folder.name, parent) == ("run-edited", page.folder)
  assert asked.author == "Jo"
  (edit,) = asked.edits
  assert json.dumps(edit.as_json()["words"]) == '"leaves"'
  assert (edit.reason, edit.prototypes) == ("background", (1,))


def test_the_page_fits_a_telephone(page, browser):
  size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
  browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
  try:
    width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(width) <= 390
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

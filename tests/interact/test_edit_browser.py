"""The page of edits as a person has it: in a browser, by mouse and by keys."""

import json

import pytest

from protojax.interact import edited_run
from tests.interact import edit_fakes
from tests.interact import interact_fakes as fakes
from tests.interact.in_browser import find, find_all, until

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
    until(lambda: find(browser, "#effect tbody tr"))
    yield session
    browser.get("about:blank")
  assert not [
    x for x in browser.get_log("browser") if "status of 400" not in x["message"]
  ]


def _said(browser):
  return [item.text for item in find_all(browser, "#said li")]


def _box(browser, number):
  return find(browser, f"#prototypes input[value='{number}']")


def test_prototypes_are_thrown_out_and_come_back(page, browser):
  assert len(find_all(browser, "#prototypes .list li")) == 4
  until(lambda: find_all(browser, "#prototypes .list img"))
  before = find(browser, ".verdict").text
  _box(browser, 0).click()
  find(browser, ".tools [name=words]").send_keys("<i>the tag</i>")
  find(browser, "button[value=confounded]").click()
  until(lambda: _said(browser) == ["Thrown out as confounded: prototype 0"])
  found = page.edit(
    {"edits": [{"edit": "remove", "prototypes": [0], "reason": "wrong"}]}
  )
  assert f"{found['changes']} of 6 answers change" in (
    find(browser, ".verdict").text
  )
  assert len(find_all(browser, "#changed li")) == found["changes"]
  # What an author says stays text, and can be changed.
  words = find(browser, "#said input")
  assert words.get_attribute("value") == "<i>the tag</i>"
  assert not _box(browser, 0).is_enabled()
  assert "4.00 → 0.00" in find(browser, ".gone").text
  find(browser, "#undo").click()
  until(lambda: not _said(browser))
  assert find(browser, ".verdict").text == before
  find(browser, "#redo").click()
  until(lambda: len(_said(browser)) == 1)


def test_all_is_done_by_keys(page, browser):
  box = _box(browser, 2)
  box.send_keys(_SPACE)
  _box(browser, 3).send_keys(_SPACE)
  find(browser, "[name=merge]").send_keys(_ENTER)
  until(lambda: _said(browser) == ["Merged into 2: prototype 3"])
  _box(browser, 0).send_keys(_SPACE)
  find(browser, "[name=class]").send_keys("<b>cold")
  find(browser, "[name=forbid]").send_keys(_SPACE)
  until(lambda: len(_said(browser)) == 2)
  assert _said(browser)[1] == "Not for <b>cold</b>: prototype 0"
  find(browser, "#undo").send_keys(_ENTER)
  until(lambda: len(_said(browser)) == 1)
  # From field to field by the tabulator, each with a name.
  fields = "input, button, select, a[href], [tabindex='0']"
  for field in find_all(browser, fields):
    named = field.accessible_name
    assert named or not field.is_displayed(), field.get_attribute("outerHTML")


def test_what_cannot_be_is_said_and_nothing_is_lost(page, browser):
  _box(browser, 0).click()
  _box(browser, 1).click()
  find(browser, "button[value=wrong]").click()
  until(lambda: "without a prototype" in find(browser, "#message").text)
  assert not _said(browser)
  assert _box(browser, 1).is_selected()
  _box(browser, 1).click()
  find(browser, "button[value=wrong]").click()
  until(lambda: len(_said(browser)) == 1)
  assert not find(browser, "#message").text


def test_a_run_is_saved_with_the_words(page, browser, monkeypatch):
  saved = []
  monkeypatch.setattr(edited_run, "save", lambda *given: saved.append(given))
  assert not find(browser, "[name=save]").is_enabled()
  _box(browser, 1).click()
  find(browser, "button[value=background]").click()
  until(lambda: len(_said(browser)) == 1)
  find(browser, "#said input").send_keys("leaves")
  find(browser, "[name=author]").send_keys("Jo", _ENTER)
  until(lambda: "run-edited" in find(browser, "#saving output").text)
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

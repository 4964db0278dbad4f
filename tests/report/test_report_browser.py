"""The report of a large run in a browser, without a server."""

import numpy as np
import pytest

from protojax.report import class_pages, page
from protojax.report.pictures import Pictures
from tests import accessibility
from tests.report import report_fakes as fakes

_CLASSES, _EACH = 200, 10
_RUN = page.Run("run", [("Images", "9")], {"after_prune": 0.9}, {"hue": 0.1})
_HEIGHT = "return document.documentElement.scrollHeight"
# Heights with each part of a class opened alone, and what it lies in.
_OPENED = """
const all = [...document.querySelectorAll("details")];
const were = all.map((one) => one.open);
return all.filter((one) => one.closest(".of-class")).map((one) => {
  for (let at = one; at; at = at.parentElement.closest("details"))
    at.open = true;
  const height = document.documentElement.scrollHeight;
  // Twice: one that opens closes another of its name.
  for (let time = 0; time < 2; time++)
    all.forEach((each, n) => { each.open = were[n]; });
  return height;
});
"""

# All tests are slow: the large report is made once.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The index of 2000 prototypes, and the prototypes."""
  folder = tmp_path_factory.mktemp("report")
  with Pictures(folder) as pictures:
    # One file stands for all pictures, which would take long to make.
    first = fakes.prototype(0, "any", np.random.default_rng(0))
    stored = pictures.of_prototype(first).patch.picture
    prototypes, images, overviews = fakes.run(_CLASSES, _EACH, pictures=stored)
    images = [e for e in images if e.label == "class 123"]
    (index,) = class_pages.write(pictures, _RUN, prototypes, images, overviews)
  return index, prototypes


def _find(browser, selector):
  return browser.find_element("css selector", selector)


def _rows(browser):
  """Numbers of the prototypes whose rows are shown, from top to bottom."""
  return browser.execute_script(
    "return [...document.querySelectorAll('.find tbody tr:not([hidden])')]"
    ".map(row => parseInt(row.cells[0].textContent))"
  )


def _loaded(browser, selector):
  """Whether a picture is loaded when it comes into view."""
  return browser.execute_async_script(
    "const [selector, done] = arguments;"
    "const image = document.querySelector(selector);"
    "image.scrollIntoView();"
    "image.decode().then(() => done(true), () => done(false))",
    selector,
  )


def test_the_index_is_light(run):
  index, _ = run
  assert index.name == "index.html"
  assert index.stat().st_size < 5_000_000
  assert len(list(index.parent.glob("class-*.html"))) == _CLASSES


def test_pictures_of_the_index_are_lazy(run, browser):
  """Which of them are loaded does not tell: one file stands for all."""
  browser.get(run[0].as_uri())
  pictures, lazy = browser.execute_script(
    "const all = [...document.images];"
    "return [all.length, all.filter(i => i.loading === 'lazy').length]"
  )
  assert pictures >= _CLASSES * _EACH
  assert lazy == pictures


def test_prototypes_are_found(run, browser):
  index, prototypes = run
  browser.get(index.as_uri())
  assert _rows(browser) == list(range(_CLASSES * _EACH))
  words = _find(browser, "[name=words]")
  words.send_keys("source 177 CLASS")
  names = (f"{e.prototype} {e.group} {e.patch.image}" for e in prototypes)
  wanted = [n for n, name in enumerate(names) if "177" in name]
  assert _rows(browser) == wanted
  assert _find(browser, "output").text == f"{len(wanted)} of 2,000 shown"
  words.clear()
  _find(browser, "[name=flag][value=misleading]").click()
  assert _rows(browser) == [fakes.MISLEADING]
  _find(browser, "[type=reset]").click()
  _find(browser, "[name=group] option[value='3']").click()
  assert _rows(browser) == list(range(30, 40))
  _find(browser, "[name=first] option[value=hue], [name=first] option").click()
  scores = [e.because["test"].scores["hue"] for e in prototypes[30:40]]
  head = "return document.querySelectorAll('.find th')[3]"
  button = browser.execute_script(f"{head}.firstChild")
  button.send_keys("\n")
  order = sorted(range(10), key=lambda n: -round(scores[n], 2))
  assert _rows(browser) == [30 + n for n in order]
  sorting = f"{head}.getAttribute('aria-sort')"
  assert browser.execute_script(sorting) == "descending"
  button.click()
  assert browser.execute_script(sorting) == "ascending"


def test_a_class_and_an_image_are_opened(run, browser):
  browser.get(run[0].as_uri())
  _find(browser, "[name=words]").send_keys("source 1234")
  _find(browser, "tr:not([hidden]) td a").click()
  assert browser.current_url.endswith("report/class-123.html#prototype-1234")
  assert browser.title.startswith("class 123: ")
  assert _loaded(browser, "#prototype-1234 img")
  image = "#image-test-247"
  assert not _find(browser, f"{image} table").is_displayed()
  _find(browser, f"{image} > summary").click()
  assert _find(browser, f"{image} table").is_displayed()
  assert _loaded(browser, f"{image} .row img")
  assert _loaded(browser, f"{image} .row figure + figure img")
  # A link into a closed section opens it.
  browser.get(browser.current_url.split("#")[0] + image)
  assert _find(browser, f"{image} table").is_displayed()


def test_plots_are_walked_through_by_keys(run, browser):
  browser.get(run[0].as_uri())
  browser.execute_script("document.querySelector('.scatter a').focus()")
  for _ in range(2):
    browser.switch_to.active_element.send_keys("\ue014")  # arrow right
  at = browser.execute_script(
    "return [...document.querySelectorAll('.scatter')[0]"
    ".querySelectorAll('a')].indexOf(document.activeElement)"
  )
  assert at == 2
  where = browser.execute_script("return document.activeElement.href.baseVal")
  browser.switch_to.active_element.send_keys("\n")
  assert browser.current_url.endswith(where)


@pytest.mark.parametrize("name", ["index.html", "class-7.html"])
def test_a_phone_and_the_dark(run, browser, name):
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True},
  )
  scheme = {"name": "prefers-color-scheme", "value": "dark"}
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
  try:
    browser.get((run[0].parent / name).as_uri())
    width, colour = browser.execute_script(
      "return [document.documentElement.scrollWidth,"
      " getComputedStyle(document.body).backgroundColor]"
    )
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
  assert width <= 360
  assert colour == "rgb(20, 23, 26)"


def test_axe_finds_nothing_serious(browser, tmp_path):
  """In a small report: axe takes minutes for a table of 2000 rows."""
  prototypes, images, overviews = fakes.run()
  answers = {(e.label, e.predicted.class_name): 3 for e in images}
  with Pictures(tmp_path) as pictures:
    (path,) = class_pages.write(
      pictures, _RUN, prototypes, images, overviews, (), answers
    )
  browser.get(path.as_uri())
  assert not accessibility.serious(browser)


@pytest.fixture
def desk(browser):
  """The browser, 1280 pixels wide."""
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False},
  )
  yield browser
  browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("name", ["index.html", "class-123.html"])
def test_no_page_is_long(run, desk, name):
  desk.get((run[0].parent / name).as_uri())
  assert desk.execute_script(_HEIGHT) <= 12_000


def test_a_section_that_is_opened_adds_little(desk, tmp_path):
  """Of the one page of a whole run, where it would make it too long."""
  prototypes, images, overviews = fakes.run(2, 5)
  with Pictures(tmp_path) as pictures:
    (path,) = class_pages.write(pictures, _RUN, prototypes, images, overviews)
  desk.get(path.as_uri())
  closed, opened = desk.execute_script(_HEIGHT), desk.execute_script(_OPENED)
  assert closed < max(opened) <= closed + 3_500
  second = "#image-test-1"
  desk.get(path.as_uri() + second)
  assert _find(desk, f"{second} table").is_displayed()
  assert not _find(desk, "#image-test-0 table").is_displayed()


def test_heat_is_on_a_slider_and_pictures_are_shown_large(run, browser):
  browser.get((run[0].parent / "class-123.html").as_uri() + "#image-test-246")
  browser.execute_script(
    "const slider = document.querySelector('#image-test-246 .heat-slider');"
    "slider.value = 0; slider.dispatchEvent(new Event('input'))"
  )
  opacity = (
    "return getComputedStyle(document.querySelector("
    "'#image-test-246 .over')).opacity"
  )
  assert browser.execute_script(opacity) == "0"
  _find(browser, "#image-test-246 .row figure + figure .view b").click()
  assert _find(browser, "dialog.large[open] .view img").is_displayed()
  assert browser.execute_script(
    opacity.replace("'#image-test-246", "'dialog")
  ) == ("0")
  _find(browser, "dialog.large").click()
  assert not browser.find_elements("css selector", "dialog.large[open]")


def test_nothing_goes_wrong_meanwhile(browser):
  assert not browser.get_log("browser")

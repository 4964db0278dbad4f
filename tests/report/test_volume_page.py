"""Scores of volumes, and their page, of answers that are known."""

import types

import numpy as np
import pytest

from protojax.data import stream as streams
from protojax.datasets import digits
from protojax.explain import volume_answers
from protojax.report import page as report_page
from protojax.report import special_pages, volume_page
from protojax.types import State
from tests import accessibility
from tests.datasets import volume_fakes as fakes

pytest.importorskip("nibabel")

NAMES = ("outside", "heart", "liver")
STATE = State({}, {}, {})


def unasked(state, batch):
  """`answering` stands for it."""
  raise AssertionError


def method(data):
  """One whose answers `answering` makes up."""
  network = types.SimpleNamespace(class_names=NAMES, answers=unasked)
  return types.SimpleNamespace(stream=lambda split: data, network=network)


@pytest.fixture
def answering(tmp_path, monkeypatch):
  """Function: (mask of a slice -> answer) -> stream whose answers these are."""
  root = fakes.folder(tmp_path, "abc", (8, 12, 6))

  def make(answer):
    source = fakes.opened(root, "train", axis="coronal")
    data = streams.ordered(source, 48, 4)

    def each(step, state, batches):
      for batch in batches:
        yield batch, np.stack([answer(mask) for mask in batch["mask"]])

    monkeypatch.setattr(volume_answers.parallel, "each", each)
    return data

  return make


def measured(data):
  return volume_answers.scores(unasked, NAMES, STATE, data)


def test_right_answers_have_all_of_dice_and_no_distance(answering):
  found = measured(answering(lambda mask: mask))
  assert found["volumes"]["dice"] == 1
  assert found["volumes"]["surface_mm"] == found["volumes"]["hd95_mm"] == 0
  rows = {(r["volume"], r["structure"]) for r in found["by_volume"]}
  assert len(rows) == 2 * 2


def test_what_is_never_answered_is_missed_and_has_no_distance(answering):
  found = measured(answering(lambda mask: np.where(mask == 2, 0, mask)))
  assert found["volumes"]["dice heart"] == 1
  assert found["volumes"]["dice liver"] == 0
  assert found["volumes"]["surface_mm liver"] is None
  assert found["volumes"]["missed"] == 2


def test_volumes_are_put_together_as_they_lie(answering):
  data = answering(lambda mask: mask)
  source = data.source
  for volume in volume_answers.answered(unasked, STATE, data, source):
    whole = source.classes([s.name for s in source.studies].index(volume.name))
    np.testing.assert_array_equal(volume.truth, whole)
    np.testing.assert_array_equal(volume.answer, whole)
    assert volume.spacing == (2.0, 1.5, 3.0)
    assert volume.numbers == tuple(range(12))


def test_the_page_has_a_slider_over_all_slices(answering):
  data = answering(lambda mask: mask)
  (page,) = volume_page.pages(method(data), STATE)
  assert page.html.count("<img ") == 2 * 12
  assert page.html.count('type="range" min="0" max="11"') == 2
  for name in NAMES:
    assert name in page.html
  data = streams.ordered(
    digits.load(types.SimpleNamespace(root=""), "test", 0), 8, 4
  )
  assert list(volume_page.pages(method(data), STATE)) == []


_SHOWN = """
return [...document.querySelectorAll("figure.volume")].map((figure) => ({
  said: figure.querySelector("output").textContent,
  shown: [...figure.querySelectorAll("img")].filter(
    (image) => image.getClientRects().length && image.naturalWidth
  ).map((image) => image.alt),
  wide: figure.getBoundingClientRect().right,
}));
"""


@pytest.mark.slow
def test_the_slider_shows_the_slice_it_stands_at(answering, tmp_path, browser):
  """By keys, as a person moves it; each volume has a slider of its own."""
  data = answering(lambda mask: mask)
  (path,) = special_pages.write(
    tmp_path,
    list(volume_page.pages(method(data), STATE)),
    report_page.Run("run"),
    "report.html",
  )
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
  )
  try:
    browser.get(path.as_uri())
    first, second = browser.find_elements("css selector", "input[type=range]")
    legend = "Slice {}: image, answer, truth"
    for keys, numbers in (
      (None, (0, 0)),
      ((first, "\ue010"), (11, 0)),  # End
      ((first, "\ue012"), (10, 0)),  # Left
      ((second, "\ue014\ue014"), (10, 2)),  # Right
    ):
      if keys is not None:
        keys[0].send_keys(keys[1])
      found = browser.execute_script(_SHOWN)
      assert [x["said"] for x in found] == [str(n) for n in numbers]
      assert [x["shown"] for x in found] == [
        [legend.format(n)] for n in numbers
      ]
      # On a phone, too, nothing is beside the page.
      assert all(x["wide"] <= 390 for x in found)
    assert not browser.get_log("browser")
  finally:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
  assert not accessibility.serious(browser)

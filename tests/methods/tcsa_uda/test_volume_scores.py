"""Scores of volumes, and their page, of answers that are known."""

import dataclasses
import types

import numpy as np
import pytest

from configs import tcsa_uda_folder
from protojax import methods
from protojax.data import stream as streams
from protojax.methods.tcsa_uda import judging, pages
from protojax.types import State
from tests.datasets import volume_fakes as fakes

pytest.importorskip("nibabel")

NAMES = ("outside", "heart", "liver")
STATE = State({}, {}, {})


def network():
  """Asked for its classes alone."""
  found = methods.load(tcsa_uda_folder.get_config("debug")).network
  return dataclasses.replace(found, class_names=NAMES)


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

    monkeypatch.setattr(judging.parallel, "each", each)
    return data

  return make


def measured(data):
  return judging.of_volumes(network(), STATE, data)


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
  for volume in judging.answered(network(), STATE, data, source):
    whole = source.classes([s.name for s in source.studies].index(volume.name))
    np.testing.assert_array_equal(volume.truth, whole)
    np.testing.assert_array_equal(volume.answer, whole)
    assert volume.spacing == (2.0, 1.5, 3.0)
    assert volume.numbers == tuple(range(12))


def test_the_page_has_a_slider_over_all_slices(answering, tmp_path):
  data = answering(lambda mask: mask)
  method = types.SimpleNamespace(stream=lambda split: data, network=network())
  (page,) = pages.pages(method, STATE, tmp_path)
  assert page.html.count("<img ") == 2 * 12
  assert page.html.count('type="range" min="0" max="11"') == 2
  for name in NAMES:
    assert name in page.html
  debug = methods.load(tcsa_uda_folder.get_config("debug"))
  assert list(pages.pages(debug, STATE, tmp_path)) == []

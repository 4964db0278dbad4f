"""Evidence of cells, prototypes and steps, from rows that are made up."""

import numpy as np
from numpy.testing import assert_allclose
import pytest

from configs import noisy_pseudo_label_diffusion_folder as folder
from protojax import methods
from protojax.explain import blocks, documents
from protojax.explain.request import Request
from protojax.methods.noisy_pseudo_label_diffusion import (
  cell_evidence,
  explanation,
  judging,
)
from protojax.modify import presets
from protojax.types import State

_PRESET = presets.load("contrast=0.45", "fast", "none")


@pytest.fixture(scope="module")
def method():
  return methods.load(folder.get_config("debug"))


@pytest.fixture(scope="module")
def row():
  """As `explanation.explained` gives it: grey, and without class 3."""
  rng = np.random.default_rng(0)
  made = {
    name: rng.uniform(0, 3, shape).astype(np.float32)
    for name, shape in {
      "margin": (16, 16),
      "disagreement": (16, 16),
      "own": (2, 6),
      "similarity": (6,),
      "delta": (2, 6),
    }.items()
  }
  made["own"][:, 3] = np.nan
  return {
    **made,
    "grey": np.bool_(True),
    "classes": rng.integers(0, 3, (64, 64)).astype(np.int32),
    "near": rng.integers(0, 6, (16, 16)).astype(np.int32),
    "settled": np.float32([0.5, 1]),
  }


def _of(explanation, kind):
  return [x for x in explanation.blocks if isinstance(x, kind)]


def test_an_image_shows_disagreement_margins_and_steps(method, row):
  data = method.stream("test")
  found = cell_evidence.image(
    method.network, data, Request(preset=_PRESET), 2, row
  )
  assert documents.from_json(documents.to_json(found)).key == found.key
  apart, margin = _of(found, blocks.Map)
  assert_allclose(apart.values, row["disagreement"])
  assert_allclose(margin.values, row["margin"])
  (curve,) = _of(found, blocks.Curve)
  names = [line.name for line in curve.series]
  assert method.network.class_names[3] not in names
  assert_allclose(curve.series[0].y, row["own"][:, 0], rtol=1e-6)
  *_, steps, because = _of(found, blocks.Table)
  assert steps.columns == ("step", "cells settled", *names)
  assert [line[:2] for line in steps.rows] == [(1, 0.5), (2, 1.0)]
  assert because.columns[:4] == (
    *("class", "share said", "nearest prototype", "cosine"),
  )
  assert {line[0] for line in because.rows} == {
    method.network.class_names[k] for k in np.unique(row["classes"])
  }
  assert _of(found, blocks.Note)


def test_a_prototype_is_shown_by_its_nearest_cells(method):
  patches = [
    cell_evidence.Patch(k, i, 16 * i + k, i / 10)
    for k in range(6)
    for i in range(8)
  ]
  found = list(
    cell_evidence.prototypes(
      method.network, method.stream("train"), Request(nearest=3), patches
    )
  )
  assert len(found) == 6
  (table,) = _of(found[2], blocks.Table)
  assert [line[1:] for line in table.rows] == [
    (10, 4 * i + 2, i / 10) for i in (7, 6, 5)
  ]
  (gallery,) = _of(found[0], blocks.Gallery)
  # At the left border: five cells of 4 pixels, of which the first one counts.
  assert gallery.pictures[0].image.shape == (20, 20, 3)
  assert gallery.pictures[0].boxes[0].box == (8, 0, 12, 4)


def test_edges_are_measured_by_class_where_it_is_said_and_there():
  truth = np.zeros((8, 8), np.int32)
  truth[:, 4:], truth[0] = 1, 255
  said = np.zeros((8, 8), np.int32)
  said[:, 5:], said[0], said[1, 0] = 1, 2, 3
  zero, one, three = judging.distances(said, truth, 4)
  assert (zero.missed, one.missed, three.missed) == (False, False, True)
  # The edge is a column too far to the right, the void row is left out.
  assert one.hd95 == 1
  assert 0 < one.surface < 1
  assert_allclose(one.dice, 2 * 21 / (21 + 28))


def test_an_overview_has_means_and_the_cosines_of_prototypes(method, row):
  gathered = cell_evidence.Gathered(method.network, Request())
  gathered.add(row)
  gathered.add({**row, "own": np.zeros_like(row["own"])})
  found = gathered.overview(np.eye(6, 8, dtype=np.float32))
  (table,) = _of(found, blocks.Table)
  assert table.rows[3][1] == 1
  assert_allclose(table.rows[0][2:], row["own"][:, 0] / 2, rtol=1e-6)
  (matrix,) = _of(found, blocks.Matrix)
  assert_allclose(matrix.values, np.eye(6))


def test_structures_of_volumes_are_told_where_there_are_some(
  method, monkeypatch
):
  network, data, state = (
    method.network,
    method.stream("test"),
    State({}, {}, {}),
  )
  assert not list(explanation.of_volumes(network, state, data))
  row = {
    **{"volume": "a", "structure": "liver", "dice": 0.5, "iou": 0.3},
    **{"surface_mm": 1.5, "hd95_mm": 4.0, "missed": False},
  }
  scores = {"by_volume": [row] * 2}
  monkeypatch.setattr(explanation.volume_answers, "scores", lambda *_: scores)
  (table,) = explanation.of_volumes(network, state, data)
  assert table.columns[-3:] == ("surface", "HD95", "missed")
  assert table.rows == (tuple(row.values()),) * 2

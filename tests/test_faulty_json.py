"""Every reader of JSON takes faulty files as they are meant, or says a line.

Contents are made from a right one by faults of structure, thirty for each
reader, and two hundred among the slow tests.
"""

import json

import numpy as np
import pytest

from protojax.datasets import layouts
from protojax.engine import log, seeds, workdir
from protojax.evaluation import regenerated_folder
from protojax.explain import blocks, documents
from protojax.interact import intervention, saved
from protojax.modify import presets
from protojax.types import Box, UserError
from tests import json_faults

_BOX = {"top": 0, "left": 0, "bottom": 4, "right": 4.5}
_FRAME = blocks.Frame(Box(0, 0, 4, 4), "a")
_LINE = blocks.Series("s", np.arange(2.0), np.arange(2.0))
_EXPLANATION = blocks.Explanation(
  key="a",
  title="A",
  scope="local",
  blocks=(
    blocks.Picture(np.zeros((8, 8, 3), np.uint8), "picture", (_FRAME,)),
    blocks.Table(("a", "b"), (("x", 1.5), ("y", None)), "table"),
    blocks.Matrix(("a", "b"), ("c", "d"), np.eye(2)),
    blocks.Map(np.eye(2, dtype=np.float32), 0.0, 1.0),
    blocks.Curve((_LINE,), blocks.Axis("x"), blocks.Axis("y", "s")),
    blocks.Note("note"),
  ),
)


def _preset(path):
  found = presets.load(str(path))
  assert found.names[0] == "identity"
  json.dumps(found.record(), allow_nan=False)


def _interventions(path):
  for one in saved.read(path):
    found = intervention.parse(one, ("wing", "leg"), (8, 8))
    assert 0 <= found.alpha <= 1
    assert set(found.rejected) <= {"wing", "leg"}


def _document(path):
  for found in documents.read(path):
    json.dumps(documents.to_json(found), allow_nan=False)


def _lists(path):
  for entry in layouts.read(str(path.parents[1])).entries:
    assert isinstance(entry.name, str)


def _log(path):
  log.Log(path.parent, stage=9, step=9).close()
  for line in path.read_text().splitlines():
    assert isinstance(json.loads(line)["step"], int)


def _config(path):
  found = workdir.load_config(path.parent, lambda method: {"data.copies": 1})
  json.dumps(found.to_dict(), allow_nan=False)
  assert isinstance(found.seed, int)


def _classes(path):
  names = workdir.class_names(path.parent)
  assert len(set(names)) == len(names) > 0


def _summary(path):
  other = path.parent / "other"
  other.mkdir(exist_ok=True)
  right = {"seed": 1, "accuracy": {"final": 0.5}, "metrics": {"accuracy": 0.5}}
  (other / "summary.json").write_text(json.dumps(right))
  seeds.write(path.parent / "both", [other, path.parent])


_RECIPE = {
  "checkpoint": "a",
  "images": "image_2",
  "labels": "label_2",
  "size": [32, 64],
  "settings": {"steps": 20, "region": "both", "shallow": 1.0, "names": ["a"]},
  "prompts": {"snow": "a car in the snow"},
  "objects": ["Car"],
}


def _recipe(path):
  regenerated_folder.claim(path.parent, _RECIPE)


_IMAGE = {"anomaly_class": "OK", "image_path": "a/1.png"}
_CRACK = {"anomaly_class": "crack", "image_path": "a/2.png", "mask_path": "m"}
# Name -> reader, file, right content.
_READERS = {
  "preset": (
    _preset,
    "mine.json",
    {
      "name": "mine",
      "own_cell": True,
      "modifications": [
        {"name": "contrast", "change": "contrast_luma", "factor": 0.3},
        {"change": "warp", "amplitude": 6, "frequency": 0.02},
        {"change": "bars", "distance": 3, "count": 5, "seed": 1},
      ],
    },
  ),
  "interventions": (
    _interventions,
    "interventions.json",
    {
      "interventions": [
        {"image": "a", "look": [_BOX], "ignore": [_BOX, _BOX], "alpha": 0.5},
        {"image": "b", "rejected": ["wing"], "before": {}, "after": {"x": [1]}},
      ]
    },
  ),
  "document": (_document, "a.jsonl", documents.to_json(_EXPLANATION)),
  "lists": (
    _lists,
    "realiad_jsons/a.json",
    {
      "meta": {"normal_class": "OK", "prefix": "x"},
      "train": [_IMAGE],
      "test": [_CRACK, {**_CRACK, "image_path": "a/3.png", "mask_path": None}],
    },
  ),
  "log": (
    _log,
    "metrics.jsonl",
    {"stage": "01-a", "epoch": 1, "step": 3, "split": "train", "loss": 0.5},
  ),
  "config": (
    _config,
    "config.json",
    {
      "method": "x",
      "seed": 0,
      "init_from": "",
      "data": {"name": "folder", "root": "", "train": "train", "size": 3},
      "backbone": {"name": "net", "weights": "", "remat": False},
      "joint": {"rates": [0.1, 0.2], "drops": []},
    },
  ),
  "recipe": (_recipe, "regenerating.json", _RECIPE),
  "classes": (_classes, "classes.json", ["cat", "dog", "a b"]),
  "summary": (
    _summary,
    "summary.json",
    {
      "seed": 0,
      "headline": "accuracy",
      "accuracy": {"final": 0.75},
      "metrics": {"accuracy": 0.75},
    },
  ),
}


@pytest.mark.parametrize(
  "count", [30, pytest.param(200, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", _READERS)
def test_faulty_files(tmp_path, name, count):
  read, file, right = _READERS[name]
  path = tmp_path / "root" / file
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(right) + "\n")
  read(path)
  draw, told = np.random.default_rng(count), []
  for _ in range(count):
    path.write_bytes(json_faults.faulty(right, draw) + b"\n")
    try:
      read(path)
    except UserError as error:
      told.append(str(error))
  # Some faults are none, such as a further key of a summary.
  assert count / 4 < len(told) <= count
  assert not any("\n" in message for message in told)
  assert max(map(len, told)) < 1000

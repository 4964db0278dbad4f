import dataclasses
import json

import numpy as np
import pandas as pd

from protojax.explain import documents
from protojax.explain.evidence import ExplainedRun
from protojax.report import json_lines
from tests.report import report_fakes as fakes


def _write(path, *explanations):
  with json_lines.lines(path) as add:
    for explained in explanations:
      add(explained)
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_image_in_numbers(tmp_path):
  _, images, _ = fakes.run(classes=1)
  e = images[1]
  (found,) = _write(tmp_path / "e.jsonl", e)
  assert found["kind"] == "image"
  assert (found["image"], found["index"]) == (e.image, e.index)
  assert found["answers"][0] == {
    "class": "another",
    "logit": 2.5,
    "probability": 0.9,
    "bias": 0.0,
  }
  for row, own in zip(found["evidence"], e.evidence, strict=True):
    assert row["because"] == own.because
    assert row["box"] == list(own.box)
    assert isinstance(row["similarity"], float)
  total = sum(r["points"] for r in found["evidence"]) + found["other_points"]
  assert np.isclose(total, e.predicted.logit)


def test_a_prototype_in_numbers(tmp_path):
  prototypes, _, _ = fakes.run(classes=1)
  found = _write(tmp_path / "e.jsonl", *prototypes)
  for record, e in zip(found, prototypes, strict=True):
    assert record["kind"] == "prototype"
    assert record["misleading"] == e.misleading
    assert record["notes"] == e.notes
    assert record["duplicate_of"] == e.duplicate_of
    assert record["patch"]["field"] == list(e.patch.field)
    for split, b in e.because.items():
      own = record["because"][split]
      assert own["scores"] == b.scores
      assert own["intervals"]["hue"] == list(b.intervals["hue"])
    assert record["nearest"]["test"][2]["label"] == "another"


def test_unknown_numbers_are_null_and_names_survive(tmp_path):
  _, images, _ = fakes.run(classes=1)
  row = dataclasses.replace(
    images[0].evidence[0], because={"hue": float("nan")}, box=None
  )
  name = 'a "b"\n\udcff</script>'
  e = dataclasses.replace(images[0], image=name, label=None, evidence=(row,))
  (found,) = _write(tmp_path / "e.jsonl", e)
  assert found["image"] == name
  assert found["label"] is None
  assert found["evidence"][0]["because"] == {"hue": None}
  assert found["evidence"][0]["box"] is None


def test_other_programs_read_it(tmp_path):
  prototypes, images, _ = fakes.run()
  run = ExplainedRun("run", "0.1", {"after_push": 0.9}, {})
  _write(tmp_path / "e.jsonl", run, *images, *prototypes)
  table = pd.read_json(tmp_path / "e.jsonl", lines=True)
  assert table.kind.value_counts().to_dict() == {
    "run": 1,
    "image": len(images),
    "prototype": len(prototypes),
  }
  assert set(table["schema"]) == {documents.SCHEMA}
  first, *_ = documents.read(tmp_path / "e.jsonl")
  assert first == run

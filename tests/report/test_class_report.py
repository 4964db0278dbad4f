"""The folder of the explanations, over several runs."""

import io
import re

import numpy as np
import pytest

from protojax.console import Console
from protojax.explain import prototypical
from protojax.explain.request import Request
from protojax.report.class_report import Report
from tests.explain import explain_fakes as fakes
from tests.report import report_fakes

_ALWAYS = {"report.html", "report.txt", "summary.json"}


def _run(folder, scope, *, keep_all=False, split="test"):
  model, state = fakes.trained()
  stream = fakes.Images(fakes.photographs(6, seed=9), np.arange(6) % 3)
  formats = ("html", "csv", *["npz"] * keep_all)
  with Report(folder, folder.parent, fakes.PRESET, formats) as report:
    request = Request(
      split=split,
      scope=scope,
      preset=fakes.PRESET,
      keep_all=keep_all,
      progress=lambda images: report.seen(split, images),
    )
    for explained in prototypical.explain(
      model, state, stream, request, training=lambda: model.train
    ):
      report.add(explained)
    report.finish()
  return {path.name for path in folder.iterdir()}


def test_files_of_another_scope_go(tmp_path):
  folder = tmp_path / "explanations"
  others = folder / "images" / "local.csv"
  others.parent.mkdir(parents=True)
  kept = (others, folder / "notes.csv", tmp_path / "local.csv")
  for path in (*kept, folder / "global_train.csv"):
    path.write_text("as it was")

  local = _ALWAYS | {"local.csv", "local.npz", "images", "notes.csv"}
  assert _run(folder, "local", keep_all=True) == local
  overall = {"global_test.csv", "prototypes.csv", "statistics.csv"}
  overall |= {"images", "notes.csv"}
  assert _run(folder, "global") == _ALWAYS | overall
  assert all(path.read_text() == "as it was" for path in kept)


def test_files_stay_until_the_end(tmp_path):
  folder = tmp_path / "explanations"
  folder.mkdir()
  (folder / "local.csv").write_text("as it was")
  with pytest.raises(KeyboardInterrupt), Report(folder, tmp_path):
    raise KeyboardInterrupt
  assert (folder / "local.csv").read_text() == "as it was"


def test_it_says_what_it_found(tmp_path):
  said = io.StringIO()
  with Report(tmp_path / "found", tmp_path) as report:
    report.seen("test", 6)
    report.finish()
  report.show(Console(file=said, width=200))
  lines = said.getvalue().split("\n")
  assert re.fullmatch(r"6 images in \d+\.\d s \(.* images/s\)", lines[1])
  assert lines[2:-1] == [str(path) for path in report.written]

  report.summary["importance"] = {
    "train": {"hue": 0.5, "shape": 0.25},
    "test": {"shape": 0.75, "hue": 0.125},
  }
  report.show(Console(file=said, width=200))
  table = said.getvalue().split("\n")[len(lines) - 1 :]
  assert table[0].split() == ["similarity", "lost", "without", "train", "test"]
  assert table[1].split() == ["shape", "0.250", "0.750"]
  assert table[2].split() == ["hue", "0.500", "0.125"]


def test_the_text_and_the_page_cannot_steer_who_reads_them(tmp_path):
  with Report(tmp_path / "found", tmp_path) as report:
    report.add(
      report_fakes.prototype(0, "a\x1b[2J\u202eb", np.random.default_rng(0))
    )
    report.finish()
  for name in ("report.txt", "report.html"):
    text = (tmp_path / "found" / name).read_text("utf-8")
    assert r"a\x1b[2J\u202eb" in text
    assert not {"\x1b", "\u202e"} & set(text)

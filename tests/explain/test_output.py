"""The folder of the explanations, over one run and the next."""

import explain_fakes as fakes
import numpy as np
import pytest

from protojax.explain import prototypical
from protojax.explain.output import Output

_ALWAYS = {"report.html", "report.txt", "summary.json"}


def _run(folder, scope, *, keep_all=False, split="test"):
  model, state = fakes.trained()
  stream = fakes.Images(fakes.photographs(6, seed=9), np.arange(6) % 3)
  with Output(folder, folder.parent, keep_all) as output:
    for explained in prototypical.explain(
      model,
      state,
      stream,
      training=lambda: model.train,
      split=split,
      scope=scope,
      keep_all=keep_all,
      progress=lambda images: output.seen(split, images),
    ):
      output.add(explained)
  output.finish()
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
  overall = {"global_test.csv", "prototypes.csv", "images", "notes.csv"}
  assert _run(folder, "global") == _ALWAYS | overall
  assert all(path.read_text() == "as it was" for path in kept)


def test_files_stay_until_the_end(tmp_path):
  folder = tmp_path / "explanations"
  folder.mkdir()
  (folder / "local.csv").write_text("as it was")
  with pytest.raises(KeyboardInterrupt), Output(folder, tmp_path):
    raise KeyboardInterrupt
  assert (folder / "local.csv").read_text() == "as it was"

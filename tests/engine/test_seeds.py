"""Several seeds: a run each, then mean and deviation."""

import io
import json
import math

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import methods
from protojax.console import Console
from protojax.engine import seeds, workdir
from protojax.types import UserError


def config(**changes):
  return ConfigDict({"seed": 3, "seeds": 3, "batch_size": 8, **changes}).lock()


def test_one_seed_is_the_run_itself(tmp_path):
  one = config(seeds=1)
  assert seeds.runs(tmp_path, one) == {tmp_path: one}


def test_each_seed_has_a_folder_and_a_config_of_its_own(tmp_path):
  found = seeds.runs(tmp_path, config())
  assert [place.name for place in found] == ["seed-3", "seed-4", "seed-5"]
  for number, of_seed in enumerate(found.values(), 3):
    assert of_seed.is_locked
    assert of_seed.to_dict() == {"seed": number, "seeds": 1, "batch_size": 8}
  # More seeds later are those before, and some more.
  more = seeds.runs(tmp_path, config(seeds=5))
  assert list(more)[:3] == list(found)


def test_bad_seeds(tmp_path):
  with pytest.raises(UserError, match=r"seeds is 0; .* from 1 to"):
    seeds.runs(tmp_path, config(seeds=0))
  (tmp_path / "checkpoints" / "1").mkdir(parents=True)
  with pytest.raises(UserError, match="holds a single run; take another"):
    seeds.runs(tmp_path, config())


def test_mean_and_deviation_are_those_of_numpy(tmp_path):
  draw = np.random.default_rng(0)
  values = draw.uniform(size=(3, 4))
  places = [tmp_path / f"seed-{number}" for number in range(3)]
  for number, (place, row) in enumerate(zip(places, values, strict=True)):
    workdir.write_json(
      place / "summary.json",
      {
        "seed": number,
        "accuracy": {"before_push": row[0], "after_push": row[1]},
        "metrics": {"accuracy": row[2], "cross_entropy": row[3]},
        "stages": [],
      },
    )
  content = seeds.write(tmp_path, places)
  assert content == json.loads((tmp_path / "summary.json").read_text())
  assert content["seeds"] == [0, 1, 2]
  rows = [*content["accuracy"].values(), *content["metrics"].values()]
  for row, column in zip(rows, values.T, strict=True):
    np.testing.assert_allclose(row["mean"], column.mean())
    np.testing.assert_allclose(row["deviation"], column.std(ddof=1))
    assert row["values"] == column.tolist()
  text = io.StringIO()
  seeds.show(content, Console(file=text, width=100))
  (line,) = (x for x in text.getvalue().splitlines() if "after push" in x)
  expected = [*values[:, 1], values[:, 1].mean(), values[:, 1].std(ddof=1)]
  assert line.split()[2:] == [f"{x:.3f}" for x in expected]


def test_the_best_is_chosen_by_the_validation_images(tmp_path):
  places = [tmp_path / name for name in "abc"]
  # The best on the test images is another.
  for place, held_out, test in zip(
    places, (0.5, 0.7, 0.7), (0.9, 0.6, 0.8), strict=True
  ):
    summary = {
      "seed": ord(place.name),
      "metrics": {"accuracy": test},
      "validation": {"accuracy": held_out},
    }
    workdir.write_json(place / "summary.json", summary)
  content = seeds.write(tmp_path, places)
  assert content["best"] == ord("b")
  text = io.StringIO()
  seeds.show(content, Console(file=text))
  assert "the validation images: seed 98, by accuracy" in text.getvalue()


def test_the_best_is_chosen_by_the_headline_of_the_method(tmp_path):
  places = [tmp_path / name for name in "ab"]
  for place, accuracy, f1 in zip(places, (0.9, 0.8), (0.3, 0.6), strict=True):
    held_out = {"accuracy": accuracy, "macro_f1": f1}
    summary = {
      "seed": ord(place.name),
      "metrics": held_out,
      "validation": held_out,
      "headline": "macro_f1",
    }
    workdir.write_json(place / "summary.json", summary)
  content = seeds.write(tmp_path, places)
  assert (content["best"], content["headline"]) == (ord("b"), "macro_f1")
  text = io.StringIO()
  seeds.show(content, Console(file=text))
  assert "seed 98, by macro f1" in text.getvalue()


def test_runs_of_seeds_are_found(tmp_path):
  place = tmp_path / "runs" / "birds" / "seed-1"
  workdir.claim(place, config(), methods.later)
  (place / "checkpoints" / "1").mkdir(parents=True)
  assert workdir.newest(tmp_path / "runs") == place
  with pytest.raises(UserError, match=r"of a training, such as .*seed-1, or"):
    workdir.load_config(place.parent, methods.later)


def test_a_metric_that_a_seed_does_not_have(tmp_path):
  """null is not defined; other metrics are another run."""
  for seed, accuracy in enumerate((0.5, None, 0.75)):
    place = tmp_path / f"seed-{seed}"
    place.mkdir()
    content = {"seed": seed, "validation": {"accuracy": accuracy}}
    (place / "summary.json").write_text(json.dumps(content))
  places = [tmp_path / f"seed-{seed}" for seed in range(3)]
  found = seeds.write(tmp_path, places)
  assert found["best"] == 2
  assert math.isnan(found["validation"]["accuracy"]["mean"])
  (places[1] / "summary.json").write_text('{"seed": 1, "validation": {}}')
  with pytest.raises(UserError, match=r"seed-1/summary\.json has other metr"):
    seeds.write(tmp_path, places)

"""`python -m protojax interact --edits`: files of edits, and edited runs."""

import csv
import io
import json

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from configs import protopnet_confounded
from protojax import loading, methods
from protojax.__main__ import main
from protojax.datasets import confounded
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.interact import edited_run
from protojax.operations import editing
from tests import starts

_GONE = {
  "edit": "remove",
  "prototypes": [1],
  "reason": "confounded",
  "words": "the mark, no shape",
}


@pytest.fixture(scope="module", autouse=True)
def _few_images():
  with pytest.MonkeyPatch.context() as patch:
    for split in confounded.COUNTS:
      patch.setitem(confounded.COUNTS, split, 24)
    yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The workdir of a run on few images, as it is before any training."""
  config = protopnet_confounded.get_config("debug").unlock()
  config.backbone.name = "tests.toys.twoconv"
  config.last.ridge = 0.03
  names = confounded.CLASS_NAMES
  method = methods.load(config.lock(), names)
  state = starts.begun(method.init)
  folder = tmp_path_factory.mktemp("runs") / "to_edit"
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, names)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  (folder / "summary.json").write_text("{}")
  return folder


def _file(folder, content, name="asked.json"):
  path = folder / name
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


def _asked(run, path, *more):
  return main(["interact", f"--workdir={run}", f"--edits={path}", *more])


@pytest.fixture(scope="module")
def edited(run, tmp_path_factory):
  """The workdir of an edited run."""
  folder = tmp_path_factory.mktemp("edited")
  path = _file(folder, {"author": "Jo", "edits": [_GONE]})
  assert _asked(run, path, f"--save-as={folder}/new", "--format=json") == 0
  return folder / "new"


def test_an_edited_run_says_what_was_done_by_whom_and_why(run, edited):
  content = json.loads((edited / "edits.json").read_text())
  assert content["edits"] == [_GONE]
  assert (content["author"], content["earlier"]) == ("Jo", [])
  assert content["of"] == str(run.resolve())
  summary = json.loads((edited / "summary.json").read_text())
  assert summary["alive"] == 7
  assert (
    summary["accuracy"]["after_edits"]
    == (content["figures"]["accuracy"]["now"])
  )
  # The run itself is as it was.
  assert {p.name for p in run.iterdir()} == {
    *("config.json", "classes.json", "checkpoints", "summary.json")
  }


def test_the_new_run_is_the_edited_model(run, edited):
  method, state, config = loading.load(edited)
  alive = np.asarray(method.network.bank(state).alive)
  assert_array_equal(alive, np.arange(8) != 1)
  editor = editing.editor(run, *loading.load(run))
  content = edited_run.parse(json.loads((edited / "edits.json").read_text()))
  expected = editor(content.edits).state
  assert_array_equal(
    state.params["head"]["weight"], expected.params["head"]["weight"]
  )
  assert config.to_dict() == loading.load(run)[2].to_dict()


@pytest.mark.slow
def test_the_list_of_an_edited_run_makes_it_again(run, edited, tmp_path):
  again = tmp_path / "again"
  assert _asked(run, edited / "edits.json", f"--save-as={again}") == 0
  one, two = (loading.load(folder)[1] for folder in (edited, again))
  assert_array_equal(one.params["head"]["weight"], two.params["head"]["weight"])


@pytest.mark.slow
def test_edits_of_edits_are_kept_in_order(edited, tmp_path, capsys):
  forbid = {"edit": "forbid", "prototypes": [2], "class": "disc", "words": ""}
  path = _file(tmp_path, {"edits": [forbid]})
  assert _asked(edited, path, f"--save-as={tmp_path}/second") == 0
  content = json.loads((tmp_path / "second" / "edits.json").read_text())
  assert [one["edits"] for one in content["earlier"]] == [[_GONE]]
  _, state, _ = loading.load(tmp_path / "second")
  assert state.params["head"]["weight"][0, 2] == 0
  # A third one keeps the weight that the second has forbidden.
  path = _file(tmp_path, {"edits": [{**_GONE, "prototypes": [4]}]})
  assert _asked(tmp_path / "second", path, f"--save-as={tmp_path}/third") == 0
  _, state, _ = loading.load(tmp_path / "third")
  assert state.params["head"]["weight"][0, 2] == 0
  # And what is thrown out already cannot go again.
  capsys.readouterr()
  path = _file(tmp_path, {"edits": [_GONE]})
  assert _asked(edited, path) == 2
  assert "prototype 1 does not count any more" in capsys.readouterr().err


@pytest.mark.slow
def test_figures_are_printed_and_nothing_is_saved(run, tmp_path, capsys):
  path = _file(tmp_path, {"edits": [_GONE]})
  assert _asked(run, path) == 0
  out, told = capsys.readouterr()
  rows = list(csv.DictReader(io.StringIO(out)))
  assert [row["class"] for row in rows] == list(confounded.CLASS_NAMES)
  assert sum(int(row["images"]) for row in rows) == 24
  assert sum(int(row["answers_now"]) for row in rows) == 24
  assert "7 of 8 prototypes are left" in told
  assert list(tmp_path.iterdir()) == [path]
  assert _asked(run, path, "--format=json") == 0
  found = json.loads(capsys.readouterr().out)
  changed = found["changed"]
  assert all(x["before"]["class"] != x["now"]["class"] for x in changed)
  right = sum(
    round(one["images"] * one["accuracy"]["now"]) for one in found["classes"]
  )
  assert right == round(24 * found["accuracy"]["now"])


@pytest.mark.slow
def test_images_without_labels_are_judged_by_their_answers(
  run, tmp_path, capsys
):
  rng = np.random.default_rng(0)
  for i in range(3):
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / f"{i}.png")
  path = _file(tmp_path, {"edits": [_GONE]})
  assert _asked(run, path, f"--images={tmp_path}", "--format=json") == 0
  found = json.loads(capsys.readouterr().out)
  assert found["images"] == 3
  assert found["accuracy"] is None


@pytest.mark.slow
def test_commands_open_an_edited_run(edited, tmp_path, capsys):
  image = tmp_path / "one.png"
  Image.fromarray(confounded.Confounded("test", 0)[0]["image"]).save(image)
  assert main(["predict", f"--workdir={edited}", str(image)]) == 0
  assert "one.png" in capsys.readouterr().out
  # It counts as finished.
  config = loading.load(edited)[2]
  assert Checkpoints(edited).progress().finished
  workdir.claim(edited, config, methods.later)


@pytest.mark.parametrize(
  ("content", "told"),
  [
    ("{", "asked.json"),
    ([], r"edits are []; they must be an object {...} with the key"),
    ({"edits": []}, "has no edit: its list of edits is empty"),
    ({"edit": [_GONE]}, "unknown key 'edit' (did you mean 'edits'?)"),
    ({"author": "Jo"}, 'no key "edits", the list of edits'),
    ({"edits": [_GONE], "author": 3}, "author is 3; it must be a text"),
    ({"edits": [{**_GONE, "prototypes": [8]}]}, "numbers 0 to 7"),
    (
      {"edits": [{**_GONE, "prototypes": [0, 1]}]},
      "leaves the class 'disc' without a prototype",
    ),
    (
      {"edits": [{"edit": "merge", "prototypes": [1, 2]}]},
      "several classes (disc, square)",
    ),
    (
      {"edits": [_GONE], "model": "0123456789abcdef"},
      "these edits are of another model (0123456789abcdef) than this run",
    ),
  ],
)
def test_what_cannot_be_is_told_in_one_line(
  run, tmp_path, capsys, content, told
):
  path = _file(tmp_path, content)
  assert _asked(run, path, f"--save-as={tmp_path}/new") == 2
  out, said = capsys.readouterr()
  assert not out
  (line,) = [x for x in said.splitlines() if "reading" not in x]
  assert told in line
  assert str(path) in line
  assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_where_nothing_can_be_written_is_told_in_one_line(
  run, edited, tmp_path, capsys
):
  path = _file(tmp_path, {"edits": [_GONE]})
  (tmp_path / "file").write_text("")
  for place, told in (
    (edited, "exists already: name a new folder"),
    (tmp_path / "file" / "new", "Not a directory"),
    ("/proc/new", "/proc/new"),
  ):
    assert _asked(run, path, f"--save-as={place}") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told.lower() in said.lower()


@pytest.mark.slow
def test_flags_that_do_not_fit_are_refused(run, tmp_path, capsys):
  path = _file(tmp_path, {"edits": [_GONE]})
  assert main(["interact", f"--workdir={run}", f"--boxes={path}"]) == 2
  assert "does not take corrections of a person" in capsys.readouterr().err
  assert _asked(run, path, f"--output={path}") == 2
  assert "would be lost" in capsys.readouterr().err

"""docs/adding.md: its files, commands and sessions run as they are printed.

Files begin with a comment that names them. They go to a temporary folder on the
import path, which is the current one, too.
"""

import csv
import doctest
import json
import re
import shlex

import numpy as np
import pytest

from protojax import __main__ as command_line
from protojax import cli, loading
from tests.conftest import ROOT
from tests.report.page_reader import Page

_POINTING = "python -m protojax mypackage.pointing --workdir="
_TEXT = (ROOT / "docs" / "adding.md").read_text("utf-8")


def _blocks(language):
  """Contents of the fenced blocks of a language, "" for commands."""
  found = re.findall(r"^```(\w*)\n(.*?)^```$", _TEXT, re.M | re.S)
  return [content for name, content in found if name == language]


def _files():
  """Name -> content."""
  return {
    block.split("\n", 1)[0].removeprefix("# "): block
    for block in _blocks("python")
  }


def _type(line):
  """Runs a command as a shell would; its exit code."""
  _, *words = shlex.split(line)
  if words[:2] == ["-m", "protojax"]:
    return command_line.main(words[2:])
  return cli.run(words[0].removesuffix(".py"), words[1:], words[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """The current folder: with the package of the page, and our configs."""
  folder = tmp_path_factory.mktemp("adding")
  for name, content in _files().items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
  (folder / "configs").symlink_to(ROOT / "configs")
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(folder))
    patch.chdir(folder)
    yield folder


@pytest.fixture(scope="module")
def typed(folder):
  """Types the commands, one after the other."""
  for line in "".join(_blocks("")).splitlines():
    assert _type(line) == 0, line


def _read_summary(run):
  return json.loads((run / "summary.json").read_text())


def test_each_part_has_a_file():
  assert sorted(_files()) == [
    "mypackage/glvq/config.py",
    "mypackage/glvq/method.py",
    "mypackage/glvq/pages.py",
    "mypackage/nets.py",
    "mypackage/pointing.py",
    "mypackage/prototree.py",
    "mypackage/shapes.py",
  ]
  for content in _files().values():
    assert max(map(len, content.splitlines())) <= 80


def test_the_session_gives_what_is_printed(folder):
  session = "\n".join(_blocks("pycon"))
  test = doctest.DocTestParser().get_doctest(session, {}, "adding", None, 0)
  said = []
  runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
  failed, attempted = runner.run(test, out=said.append)
  assert not failed, "".join(said)
  assert attempted > 60


@pytest.mark.parametrize("key", ["seeds", "save_seconds", "split_seed", "crop"])
def test_a_key_that_is_left_out_is_named(folder, capsys, key):
  whole = (folder / "mypackage/glvq/config.py").read_text()
  lines = [x for x in whole.splitlines() if f'"{key}"' not in x]
  (folder / "short.py").write_text("\n".join(lines))
  assert _type("python train.py --config=short.py --workdir=short") == 2
  said = capsys.readouterr().err
  assert re.match(rf"error: .*config.* has no key {key}, which every", said)


@pytest.mark.slow
def test_the_method_learns_and_its_report_is_whole(typed, folder):
  run = folder / "runs" / "glvq"
  summary = _read_summary(run)
  # Of 13 classes.
  assert summary["metrics"]["accuracy"] > 0.4
  assert summary["prototypes"] == summary["alive"] == 26
  made = run / "explanations"
  report = Page((made / "report.html").read_text("utf-8"))
  for words in ("because", "astronaut", "Neighbours in other classes"):
    assert words in report.text
  own = Page((made / "pages" / "neighbours.html").read_text("utf-8"))
  assert "easily mistaken" in own.text
  with (made / "global_test.csv").open(newline="") as file:
    found = {row["modification"] for row in csv.DictReader(file)}
  assert found >= {"hue", "shape", "texture", "contrast", "saturation"}


@pytest.mark.slow
def test_the_method_fits_another_data_set(typed, folder):
  summary = _read_summary(folder / "runs" / "shapes")
  assert summary["metrics"]["accuracy"] > 0.8
  assert summary["prototypes"] == 4


@pytest.mark.slow
def test_the_backbone_sees_the_shapes(typed, folder, capsys):
  run = folder / "runs" / "nets"
  assert _read_summary(run)["metrics"]["accuracy"] > 0.9
  assert _type(f"{_POINTING}{run}") == 0
  said = capsys.readouterr().out
  # A shape covers a seventh of its image.
  assert float(re.fullmatch(r"on the object: (\d\.\d\d)\n", said)[1]) > 0.5
  assert _type(f"{_POINTING}{folder / 'runs' / 'glvq'}") == 2
  assert "have no field 'mask'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_similarity_is_that_of_the_page(typed, folder):
  run = folder / "runs" / "prototree"
  assert _read_summary(run)["metrics"]["accuracy"] > 0.9
  method, _, _ = loading.load(run)
  assert method.network.similarity.name == "prototree"
  distances = np.array([0.0, 0.25, 4.0], np.float32)
  found = method.network.similarity.activation(distances)
  np.testing.assert_allclose(found, np.exp([0, -0.5, -2]), rtol=1e-5)
  back = method.network.similarity.inverse(found)
  np.testing.assert_allclose(back, distances, atol=1e-5)

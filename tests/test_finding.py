"""Modules are found by name: ours, and a user's own on the import path."""

import importlib
import sys

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import __main__ as command_line
from protojax import backbones, datasets, finding, methods, report
from protojax.datasets import dataset
from protojax.prototypes import similarity
from protojax.types import UserError


@pytest.fixture
def make(tmp_path, monkeypatch):
  """Function: (name of a module of the package `mine`, its text)."""
  folder = tmp_path / "mine"
  folder.mkdir()
  monkeypatch.syspath_prepend(tmp_path)

  def write(name, text):
    (folder / f"{name}.py").write_text(text)

  yield write
  for name in [n for n in sys.modules if n.partition(".")[0] == "mine"]:
    del sys.modules[name]


def test_names_are_those_that_declare_what_is_needed(tmp_path, monkeypatch):
  for name, text in {
    "a": "def load(data):\n  pass\n",
    "b": "class load:\n  pass\n",
    "c": "load: int = 1\n",
    "d": "load = 1\n",
    "e": '"""`load` is not here,\nload neither."""\n',
    "f": "def loads():\n  load = 1\n",
    "g": "def f():\n  pass\n\n\n  def load():\n    pass\n",
  }.items():
    (tmp_path / f"{name}.py").write_text(text)
  monkeypatch.setattr(datasets, "__path__", [str(tmp_path)])
  assert finding.names("protojax.datasets", "load") == ("a", "b", "c", "d")


@pytest.mark.parametrize(
  ("name", "own"),
  [
    ("mine.shapes", True),
    ("mine.more.shapes", True),
    ("shapes", False),
    ("mnist:3.0.1", False),
    ("imagenet2012:5.*.*", False),
    ("wikipedia/20230601.en", False),
    ("./shapes.py", False),
    (".", False),
    ("", False),
  ],
)
def test_a_dot_makes_a_name_the_users_own(name, own):
  assert finding.is_own(name) == own


def test_mistakes_in_own_modules(make):
  def find(name):
    return finding.own(name, ("load", "save"), "config.x")

  make("half", "def load():\n  pass\n")
  make("broken", "import nowhere_at_all\n")
  make("wrong", "1 / 0\n")
  for name, said in (
    ("yours.shapes", r"config\.x is 'yours\.shapes': .* no module 'yours' in"),
    ("mine.shapes", r"is 'mine\.shapes': there is no module 'mine\.shapes'"),
    ("mine.half.deeper", "no module 'mine.half.deeper'"),
    ("mine.half", r"is 'mine\.half': .*half\.py does not declare save\."),
  ):
    with pytest.raises(UserError, match=said) as error:
      find(name)
    assert "\n" not in str(error.value)
  # A backbone is a module, or a name in one.
  for name, said in (
    ("yours.nets", r"is 'yours\.nets': there is no module 'yours' in"),
    ("mine.hlf", r"'mine\.hlf': there is no module of .* mean 'mine\.half'\?"),
    ("mine.half.wide", r"'mine\.half\.wide': .*half\.py does not declare"),
  ):
    with pytest.raises(UserError, match=said) as error:
      backbones.load(name)
    assert "\n" not in str(error.value)
  # A mistake inside a module is told by its traceback.
  with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
    find("mine.broken")
  with pytest.raises(ZeroDivisionError):
    find("mine.wrong")


def test_the_current_folder_is_searched(tmp_path, monkeypatch):
  (tmp_path / "here").mkdir()
  (tmp_path / "here" / "shapes.py").write_text("load = 1\n")
  monkeypatch.chdir(tmp_path)
  path = [each for each in sys.path if each]
  monkeypatch.setattr(sys, "path", path)
  assert finding.own("here.shapes", ("load",), "x").load == 1
  assert sys.path[-1] == str(tmp_path)
  assert sys.path[:-1] == path[:-1]
  del sys.modules["here.shapes"], sys.modules["here"]


def test_unknown_names_list_what_there_is():
  error = finding.unknown("config.x", "fodler", ["photos", "folder"])
  assert isinstance(error, UserError)
  assert str(error).startswith(
    "config.x is 'fodler'. Did you mean 'folder'? Expected one of folder,"
    " photos, or a module"
  )
  found = str(finding.unknown("x", "zzz", ["folder"]))
  assert found.startswith("x is 'zzz'; expected one of folder, or a module")
  for load in (
    lambda: methods.load(ConfigDict({"method": "protonet"})),
    lambda: backbones.load("resnet1"),
    lambda: similarity.load("lin"),
    lambda: report.load("class_reports"),
    lambda: datasets.find("texture", "collect"),
  ):
    with pytest.raises(UserError, match=r"\. Did you mean '.*'\? Expected one"):
      load()


def test_a_data_set_is_a_module():
  """Those of docs/data.md; helpers beside them are none."""
  assert datasets.names() == (
    "abdomen",
    "acquisition",
    "ade20k",
    "bags",
    "boxes",
    "brats",
    "captioned_folder",
    "captioned_scenes",
    "cityscapes",
    "coco",
    "coco_stuff",
    "composites",
    "compositional",
    "confounded",
    "dialogue_scenes",
    "digit_bags",
    "digit_canvases",
    "digit_domains",
    "digit_scenes",
    "digit_web",
    "digits",
    "driving_scenes",
    "emotion_csv",
    "ferplus",
    "folder",
    "frames_folder",
    "generators",
    "kitti",
    "latents",
    "mask_folder",
    "measured_digits",
    "mmwhs",
    "mni",
    "mosxav",
    "nus_wide",
    "nuscenes",
    "panoptic_folder",
    "photos",
    "planted",
    "planted_mosaics",
    "regenerated",
    "simulated_acquisition",
    "tagged_folder",
    "texture_mosaics",
    "voc2007",
    "voc2012",
    "volume_folder",
    "web_folder",
    "web_lists",
  )
  assert datasets.names("collect") == ("elpv", "folder", "prepared", "textures")
  for name, module in datasets.preparers().items():
    assert all((module.PREPARES, module.WRITES, module.TRAINS)), name
  for name in datasets.names():
    assert datasets.find(name).__name__ == f"protojax.datasets.{name}"
  for name in "mnist", "mnist:3.0.1", "cub200", "prepared", "archive":
    assert datasets.find(name).__name__ == "protojax.datasets.tfds"


def test_an_own_data_set(make):
  make(
    "shapes",
    "import numpy as np\n"
    "class Shapes:\n"
    "  class_names, skipped = ('a', 'b'), ()\n"
    "  labels = np.array([0, 1], np.int32)\n"
    "  __len__ = lambda self: 2\n"
    "  __getitem__ = name = len\n"
    "def load(data, split, seed):\n"
    "  source = Shapes()\n"
    "  source.opened = (data.root, split, seed)\n"
    "  return source\n",
  )
  config = ConfigDict(
    {
      "name": "mine.shapes",
      "root": "r",
      "train": "train",
      "test": "test",
      "validation_fraction": 0.0,
      "split_seed": -1,
      "crop": False,
    }
  )
  found = dataset.open_split(config, "test", seed=3)
  assert found.opened == ("r", "test", 3)
  config.crop = True
  with pytest.raises(UserError, match=r"'mine\.shapes' has no bounding boxes"):
    dataset.open_split(config, "train")
  config.name = "mine.lost"
  with pytest.raises(UserError, match=r"no module 'mine\.lost'"):
    dataset.open_split(config, "train")


def test_an_own_method_and_report(make):
  make(
    "hello",
    "class Method:\n"
    "  def __init__(self, config, class_names):\n"
    "    self.given = config, class_names\n"
    "class Report:\n"
    "  pass\n",
  )
  config = ConfigDict({"method": "mine.hello"})
  assert methods.load(config, ("a",)).given == (config, ("a",))
  assert report.load("mine.hello").__name__ == "Report"
  make("other", "")
  with pytest.raises(UserError, match="does not declare Method"):
    methods.load(ConfigDict({"method": "mine.other"}))


def test_what_lies_beside_a_method(make):
  assert set(methods.parts("notes")) == {"csr", "epic", "st_protopnet"}
  assert methods.beside("csr", "foreign") is None
  make("hello", "class Method:\n  pass\n")
  assert methods.later("mine.hello") == methods.notes("mine.hello") == {}
  make("earlier", "LATER = {'a.b': 1}\n")
  make("notes", "NOTES = {'size': 'How large it is.'}\n")
  importlib.invalidate_caches()
  assert methods.later("mine.hello") == {"a.b": 1}
  assert methods.notes("mine.hello") == {"size": "How large it is."}


def test_own_backbones_and_similarities(make):
  make(
    "nets",
    "from protojax import backbones\n"
    "NAMES = ('deep', 'wide')\n"
    "asked = []\n"
    "def load(name):\n"
    "  asked.append(name)\n"
    "  return backbones.load('convnet')\n",
  )
  backbones.load("mine.nets")
  own = backbones.load("mine.nets.wide", "bfloat16")
  assert own.module.dtype == jnp.bfloat16
  assert sys.modules["mine.nets"].asked == ["deep", "wide"]
  with pytest.raises(UserError, match=r"one of mine\.nets\.deep, mine\.nets"):
    backbones.load("mine.nets.narrow")

  make(
    "near",
    "import dataclasses\n"
    "from protojax.prototypes import similarity\n"
    "SIMILARITY = dataclasses.replace(\n"
    "  similarity.load('log'), name='near', activation=lambda d: -2 * d)\n",
  )
  found = similarity.load("mine.near")
  assert found.name == "near"
  np.testing.assert_array_equal(found.activation(np.ones(2)), [-2, -2])


def test_an_own_command(make, capsys):
  make(
    "greet",
    '"""Greets."""\n'
    "def arguments(parser):\n"
    "  parser.add_argument('--times', type=int, default=1)\n"
    "def run(args):\n"
    "  print('hello ' * args.times)\n"
    "  return 4\n",
  )
  assert command_line.main(["mine.greet", "--times=2"]) == 4
  assert capsys.readouterr().out == "hello hello \n"
  with pytest.raises(SystemExit, match="0"):
    command_line.main(["mine.greet", "--help"])
  assert "usage: python -m protojax mine.greet" in capsys.readouterr().out
  with pytest.raises(SystemExit, match="2"):
    command_line.main(["mine.greet", "--time=2"])
  make("mute", "")
  for name, said in (
    ("mute", "does not declare arguments and run"),
    ("gone", "there is no module 'mine.gone'"),
  ):
    capsys.readouterr()
    assert command_line.main([f"mine.{name}"]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1

"""TFDS data sets of others: nothing in them is run, damage is one line."""

import json
import os
import sys

import numpy as np
import pytest

from protojax import datasets
from protojax.datasets import anomaly_records, array_records, photos, tfds
from protojax.types import UserError
from tests import json_faults
from tests.datasets import anomaly_fakes as fakes
from tests.datasets.conftest import written
from tests.datasets.test_tfds import pixels, png

_IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
_DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
  """Files of three prepared data sets: name -> {path: bytes}."""
  folder = tmp_path_factory.mktemp("kept")
  source = folder / "source"
  for i in range(12):
    path = source / ("train", "test")[i % 2] / "ab"[i % 4 // 2] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels(i % 3)))
  prepare = datasets.find("folder", "prepare", "DATA").prepare
  prepare(str(source), str(folder / "tfds"), lambda total: None, lambda: None)
  defects = written(folder / "defects", fakes.plain())
  anomaly_records.write(defects, str(folder / "anomaly"))
  return {
    name: {
      path.relative_to(folder / name): path.read_bytes()
      for path in (folder / name).rglob("*")
      if path.is_file()
    }
    for name in ("tfds", "anomaly")
  }


_OPEN = {
  "tfds": lambda root: tfds.opened("prepared", str(root), "train"),
  "anomaly": lambda root: anomaly_records.opened(str(root)),
}
_PLACE = {
  "tfds": "prepared/1.0.0",
  "anomaly": f"{anomaly_records.NAME}/{anomaly_records.VERSION}",
}


def _put(kept, name, root):
  """Writes a data set; returns the folder of its files."""
  for path, content in kept[name].items():
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
  return root / _PLACE[name]


@pytest.fixture
def canary(tmp_path, monkeypatch):
  """A module that can be imported; returns whether it was."""
  (tmp_path / "sys.path").mkdir()
  (tmp_path / "sys.path" / "canary_of_tests.py").write_text("class X: pass\n")
  monkeypatch.syspath_prepend(str(tmp_path / "sys.path"))
  yield lambda: "canary_of_tests" in sys.modules
  sys.modules.pop("canary_of_tests", None)


_CANARY = "canary_of_tests.X"
_LEGACY = {"type": _CANARY, "content": {}}
_TEXT = "tensorflow_datasets.core.features.text_feature.Text"
# Where a features.json can name a class.
_FEATURES = {
  "top": {"pythonClassName": _CANARY, "text": {}},
  "other key": {"python_class_name": _CANARY, "text": {}},
  "inside": {
    "pythonClassName": _DICT,
    "featuresDict": {"features": {"image": {"pythonClassName": _CANARY}}},
  },
  "escaped": {
    "pythonClassName": _DICT,
    "jsonFeature": {"json": json.dumps({"image": _LEGACY})},
  },
  "before 2021": _LEGACY,
  "before 2021, inside": {"type": _DICT, "content": {"image": _LEGACY}},
  "before 2021, escaped": {
    "type": _DICT,
    "proto_cls": "tensorflow_datasets.FeaturesDict",
    "content": json.dumps(
      {"features": {"image": {"pythonClassName": _CANARY, "text": {}}}}
    ),
  },
  "a folder's module": {"pythonClassName": "this.X", "text": {}},
  "like TFDS's": {"pythonClassName": f"{_IMAGE}/../x.y", "text": {}},
  "another of TFDS": {"pythonClassName": "tensorflow_datasets.x.Y", "text": {}},
}


@pytest.mark.parametrize("name", ["tfds", "anomaly", "photos"])
@pytest.mark.parametrize("features", _FEATURES.values(), ids=list(_FEATURES))
def test_no_module_of_a_folder_is_imported(
  kept, tmp_path, canary, name, features
):
  if name == "photos":
    root = tmp_path / "root"
    folder = root / "protojax_photos" / photos.VERSION
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    opened = photos.opened, (str(root), "train")
  else:
    folder = _put(kept, name, tmp_path / "root")
    opened = _OPEN[name], (tmp_path / "root",)
  (folder / "features.json").write_text(json.dumps(features))
  with pytest.raises(UserError, match=r"features\.json names the class '"):
    opened[0](*opened[1])
  assert not canary()


@pytest.mark.parametrize("name", ["tfds", "anomaly"])
def test_nor_one_that_the_facts_name(kept, tmp_path, canary, name):
  folder = _put(kept, name, tmp_path)
  facts = folder / "dataset_info.json"
  content = json.loads(facts.read_text())
  content["features"] = {"pythonClassName": _CANARY, "text": {}}
  facts.write_text(json.dumps(content))
  with pytest.raises(UserError, match=r"dataset_info\.json names the class"):
    _OPEN[name](tmp_path)
  assert not canary()


def test_the_canary_sings(kept, tmp_path, canary):
  """Without the check TFDS does import the module."""
  import tensorflow_datasets

  folder = _put(kept, "tfds", tmp_path)
  (folder / "features.json").write_text(json.dumps(_FEATURES["top"]))
  with pytest.raises(ValueError, match="Unrecognized FeatureConnector"):
    tensorflow_datasets.builder_from_directory(str(folder))
  assert canary()


def test_features_that_releases_of_tfds_write(kept, tmp_path):
  """Names and forms of data sets from before and after 2021."""
  folder = _put(kept, "tfds", tmp_path)
  kinds = "tensorflow_datasets.core.features."
  content = {
    "type": _DICT,
    "content": {
      "image": {
        "type": _IMAGE,
        "content": {
          "shape": [None, None, 3],
          "dtype": "uint8",
          "encoding_format": "png",
        },
      },
      "label": {
        "type": f"{kinds}class_label_feature.ClassLabel",
        "content": {"num_classes": 2},
      },
      "name": {"type": f"{kinds}text_feature.Text", "content": {}},
    },
  }
  (folder / "features.json").write_text(json.dumps(content))
  source = _OPEN["tfds"](tmp_path)
  assert len(source) == 6
  assert source.class_names == ("a", "b")


@pytest.mark.parametrize("name", ["tfds", "anomaly"])
@pytest.mark.parametrize(
  "damage",
  [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"splits": ' + b"9" * 5000 + b"}",
    b'{"name": NaN}',
    b'{"a": 1, "a": 1}',
    b'{"splits": [{"filepathTemplate": "../{SPLIT}"}]}',
    b'{"splits": [{"filepath_template": "{SPLIT:>99999999999}"}]}',
    b'{"splits": [{"shardLengths": [-1]}], "features": 3}',
  ],
)
@pytest.mark.parametrize("file", ["features.json", "dataset_info.json"])
def test_damaged_files_are_named(kept, tmp_path, name, file, damage):
  folder = _put(kept, name, tmp_path)
  (folder / file).write_bytes(damage)
  with pytest.raises(UserError) as error:
    _OPEN[name](tmp_path)
  assert str(tmp_path) in str(error.value)
  assert len(str(error.value)) < 600
  assert "\n" not in str(error.value)


def test_what_is_no_file_is_named(kept, tmp_path):
  folder = _put(kept, "tfds", tmp_path)
  for name in "features.json", "label.labels.txt":
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(UserError, match=name.partition(".")[0]):
      _OPEN["tfds"](tmp_path)
    (folder / name).rmdir()
    # TFDS would wait for someone to write.
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=f"{name} is no regular file"):
      _OPEN["tfds"](tmp_path)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
  assert len(_OPEN["tfds"](tmp_path)) == 6


def _damages(content):
  """Name -> damaged bytes of a file of records."""
  half = len(content) // 2
  flipped = bytearray(content)
  flipped[half] ^= 0xFF
  return {
    "empty": b"",
    "text": b"a text file\n" * 9000,
    "zeros": bytes(len(content)),
    "half": content[:half],
    "cut": content[:-9],
    "flipped": bytes(flipped),
    "noise": np.random.default_rng(0).bytes(len(content)),
  }


_READ = {
  "tfds": _OPEN["tfds"],
  "anomaly": lambda root: _OPEN["anomaly"](root).image(0),
}


@pytest.mark.parametrize("name", ["tfds", "anomaly"])
def test_damaged_records_are_named(kept, tmp_path, cache, name):
  folder = _put(kept, name, tmp_path / "root")
  (file,) = folder.glob("*train.array_record*")
  for damaged in _damages(file.read_bytes()).values():
    file.write_bytes(damaged)
    with pytest.raises(UserError, match=f"{file.name} is damaged at record 0"):
      _READ[name](tmp_path / "root")
  file.unlink()
  with pytest.raises(UserError, match=f"{file.name} is damaged.*No such file"):
    _READ[name](tmp_path / "root")


def test_a_record_is_counted_in_its_file(monkeypatch, tmp_path, cache):
  monkeypatch.setattr(array_records, "_SHARD", 4)
  monkeypatch.setattr(array_records, "_TOGETHER", 2)
  defects = written(tmp_path / "defects", fakes.plain())
  anomaly_records.write(defects, str(tmp_path / "out"))
  files = sorted(tmp_path.rglob("*train.array_record*"))
  assert len(files) > 1
  files[1].write_bytes(b"")
  found = anomaly_records.opened(str(tmp_path / "out"))
  rows = [i for i, e in enumerate(found.entries) if e.split != "test"]
  found.image(rows[3])
  with pytest.raises(UserError, match=f"{files[1].name} .* at record 1 "):
    found.image(rows[5])


def test_a_class_that_there_is_not(kept, tmp_path, cache):
  folder = _put(kept, "tfds", tmp_path / "root")
  features = folder / "features.json"
  content = json.loads(features.read_text())
  label = content["featuresDict"]["features"]["label"]
  label["classLabel"]["numClasses"] = "1"
  features.write_text(json.dumps(content))
  (folder / "label.labels.txt").write_text("a\n")
  with pytest.raises(UserError, match="an image of class 1, and 1 classes"):
    _OPEN["tfds"](tmp_path / "root")


def test_lists_that_do_not_fit_their_records(kept, tmp_path):
  folder = _put(kept, "anomaly", tmp_path)
  path = folder / "metadata.json"
  content = json.loads(path.read_text())
  for changed, found in (
    ({**content, "name": content["name"][1:]}, "lists {.* but .* holds {"),
    ({**content, "kind": "normal"}, "holds 'normal' at kind; expected a list"),
    ({**content, "split": [*content["split"][1:], 3]}, r"holds 3 at split\["),
  ):
    path.write_text(json.dumps(changed))
    with pytest.raises(UserError, match=rf"metadata\.json {found}"):
      _OPEN["anomaly"](tmp_path)


@pytest.mark.parametrize(
  "count", [15, pytest.param(200, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("file", ["features.json", "dataset_info.json"])
def test_generated_faults_end_in_a_line(kept, tmp_path, canary, file, count):
  """Each is a data set of images and labels, or the message is one line."""
  draw = np.random.default_rng(1)
  folder = _put(kept, "tfds", tmp_path)
  right = json.loads((folder / file).read_text())
  opened = 0
  for _ in range(count):
    (folder / file).write_bytes(json_faults.faulty(right, draw))
    try:
      source = _OPEN["tfds"](tmp_path)
    except UserError as error:
      told = str(error)
    else:
      opened, told = opened + 1, ""
      assert source[0]["image"].shape[-1] == 3
    assert "\n" not in told
  assert opened < count

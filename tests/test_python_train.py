"""`protojax.train`: labelled images of any form, and what a run keeps."""

import json

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

import protojax as pj
from protojax.__main__ import main
from protojax.datasets import labelled, tfds
from protojax.types import UserError
from tests.conftest import ARRAYS

_PIXELS = np.random.default_rng(0).integers(0, 256, (10, 9, 7, 3), np.uint8)
_LABELS = np.arange(10) % 2


class _OfPyTorch:
  """The protocol of a data set of PyTorch: iterating would not end."""

  classes = ("cat", "dog")

  def __init__(self, rows):
    self.rows = rows

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, i):
    return self.rows[i % len(self.rows)]


class _Tensor:
  """As much of a tensor as is asked for."""

  def __init__(self, values):
    self.values, self.dtype, self.shape = values, "torch.uint8", values.shape
    self.ndim = values.ndim

  def detach(self):
    return self

  def cpu(self):
    return self.values

  def item(self):
    return self.values.item()


class _OfHuggingFace:
  """The protocol of a data set of Hugging Face: rows by number, columns."""

  def __init__(self, columns, names=("cat", "dog")):
    kinds = {"img": "Image", "fine": "ClassLabel", "note": "Value"}
    self.columns = columns
    self.features = {
      name: type(kinds[name], (), {"names": list(names)})() for name in columns
    }

  def __len__(self):
    return len(next(iter(self.columns.values())))

  def __getitem__(self, key):
    if isinstance(key, str):
      return self.columns[key]
    return {name: column[key] for name, column in self.columns.items()}


def _forms():
  pictures = [Image.fromarray(x) for x in _PIXELS]
  rows = list(zip(pictures, _LABELS.tolist(), strict=True))
  yield _PIXELS, _LABELS
  yield [*_PIXELS], [*_LABELS]
  yield rows
  yield tuple(rows)
  yield [{"image": image, "label": label} for image, label in rows]
  yield _OfPyTorch(rows)
  yield _OfPyTorch(
    [
      (_Tensor(x), _Tensor(np.int64(k)))
      for x, k in zip(_PIXELS, _LABELS, strict=True)
    ]
  )
  columns = {"img": pictures, "fine": _LABELS.tolist(), "note": ["x"] * 10}
  yield _OfHuggingFace(columns)


@pytest.mark.parametrize("data", list(_forms()))
def test_every_form_holds_the_same_images(data):
  found = labelled.read(data, test_fraction=0.4)
  names = ("0", "1") if not hasattr(data, "features") else ("cat", "dog")
  assert found.class_names == getattr(data, "classes", names)
  assert sorted(i for s in found.places.values() for _, i, _ in s) == [
    *range(10)
  ]
  assert len(found.places["test"]) == 4
  for split in found.places.values():
    for part, i, label in split:
      assert label == _LABELS[i]
      pixels = labelled._pixels(found.parts[part].image(i), "")
      np.testing.assert_array_equal(pixels, _PIXELS[i])


@pytest.mark.torch
def test_data_sets_of_pytorch_itself(tmp_path):
  torch = pytest.importorskip("torch")
  data = torch.utils.data.TensorDataset(
    torch.from_numpy(_PIXELS), torch.from_numpy(_LABELS)
  )
  train = torch.utils.data.Subset(data, range(6))
  found = labelled.read({"train": train, "test": data})
  labelled.keep(found, tmp_path)
  kept = tfds.opened("prepared", str(tmp_path), "test")
  for i in range(10):
    np.testing.assert_array_equal(kept[i]["image"], _PIXELS[i])
    assert kept[i]["label"] == _LABELS[i]
  loader = torch.utils.data.DataLoader(data)
  with pytest.raises(UserError, match="found DataLoader; expected"):
    labelled.read(loader)


def test_splits_that_are_given_stay_and_labels_may_be_names():
  names = np.array(["b", "a"])[_LABELS]
  found = labelled.read(
    {"train": (_PIXELS, names), "test": (_PIXELS[:3], ["a", "b", "b"])}
  )
  assert found.class_names == ("a", "b")
  assert [k for *_, k in found.places["train"][:2]] == [1, 0]
  assert found.places["test"] == (
    ("test", 0, 0),
    ("test", 1, 1),
    ("test", 2, 1),
  )
  drawn = [labelled.read((_PIXELS, names), seed=s).places for s in (0, 0, 1)]
  assert drawn[0] == drawn[1] != drawn[2]
  both = labelled.read((_PIXELS, _LABELS), ["cat", "dog"])
  assert both.class_names == ("cat", "dog")


@pytest.mark.parametrize(
  ("data", "names", "said"),
  [
    (3, None, "found int; expected a pair of arrays"),
    (iter([]), None, "expected a pair of arrays"),
    ([], None, "no train image"),
    ((_PIXELS, _LABELS[:4]), None, "10 images and 4 labels"),
    ((_PIXELS, np.eye(2)[_LABELS]), None, r"shape 10x2; .*argmax\(1\)"),
    ((_PIXELS, _LABELS - 1), None, "train image 0 has the label -1; expected"),
    ((_PIXELS, _LABELS + 1), None, "class '0' has 0 images; expected 2"),
    ((_PIXELS, _LABELS * 0.5), None, "has the label 0.0; expected a whole"),
    ((_PIXELS, _LABELS * 3), ["cat", "dog"], "label 3; expected .* 0 to 1"),
    ((_PIXELS, ["cat"] * 9 + ["cow"]), ["cat", "dog"], "label 'cow'"),
    ((_PIXELS, _LABELS), ["cat", "cat"], "'cat' is named twice"),
    ((_PIXELS, _LABELS * 0), None, "found 1 class; expected two"),
    ((_PIXELS, [0] * 9 + [1]), None, "class '1' has 1 images; expected 2"),
    ({"valid": (_PIXELS, _LABELS)}, None, r"\['valid'\]; expected train"),
    ({"train": (_PIXELS, _LABELS), "test": []}, None, "no test image"),
    ([_PIXELS[0], _PIXELS[1], _PIXELS[2]], None, "ndarray at position 0"),
    (_OfHuggingFace({"note": ["x"]}), None, "expected one Image: rename"),
  ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_one_line(data, names, said):
  with pytest.raises(UserError, match=said) as error:
    labelled.read(data, names)
  assert len(str(error.value).splitlines()) == 1


def test_images_are_kept_as_they_are(tmp_path):
  found = labelled.read((_PIXELS, _LABELS))
  labelled.keep(found, tmp_path)
  for split, places in found.places.items():
    kept = tfds.opened("prepared", str(tmp_path), split)
    assert kept.class_names == ("0", "1")
    for n, (part, i, label) in enumerate(places):
      np.testing.assert_array_equal(kept[n]["image"], _PIXELS[i])
      assert (kept[n]["label"], kept.name(n)) == (label, f"{part}-{i:06d}")
  labelled.keep(found, tmp_path)
  others = labelled.read((_PIXELS[::-1], _LABELS))
  with pytest.raises(UserError, match="holds other images than those given"):
    labelled.keep(others, tmp_path)


@pytest.mark.parametrize(
  ("image", "said"),
  [
    (_PIXELS[0] / 255, r"train image \d: found pixels of type float64; .*255"),
    (_PIXELS[0].T, r"shape 3x7x9; .*np.moveaxis"),
    ("absent.png", "absent.png cannot be read"),
    (_PIXELS[:2], "found 2 images; expected one"),
  ],
)
def test_an_image_that_is_none_leaves_nothing(image, said, tmp_path):
  found = labelled.read([(image, k) for k in (0, 0, 1, 1)])
  with pytest.raises(UserError, match=said):
    labelled.keep(found, tmp_path / "data")
  assert not any((tmp_path / "data").rglob("*.array_record*"))


@pytest.mark.parametrize(
  ("config", "data", "changes", "said"),
  [
    ("protopnet_folder", "./absent", {}, "no folder ./absent"),
    ("protopnet_folder", "", {}, "no folder of an empty name"),
    ("protopnet_cub200", ".", {}, "whose name ends with _folder"),
    ("inp_former_folder", (_PIXELS, _LABELS), {}, "one label for each image"),
    ("protopnet_folder", None, {"warm.epoch": 5}, "Did you mean 'epochs'"),
    ("protopnet_folder", None, {"seeds": 3}, "one seed is trained at a time"),
    ("protopnet_foldr", None, {}, "Did you mean protopnet_folder"),
  ],
)
def test_what_cannot_be_trained_is_said_first(
  config, data, changes, said, tmp_path
):
  with pytest.raises(UserError, match=said):
    pj.train(config, data, tmp_path / "run", **changes)
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_on_arrays_is_explained_and_continued(train_arrays, capsys):
  model = train_arrays()
  run = model.folder
  assert model.class_names == ("red", "green", "blue")
  assert isinstance(model.config, ConfigDict)
  assert model.config.warm.epochs == 1
  assert model.predict(ARRAYS.images[0]).label in model.class_names
  assert model.prototypes[0].provenance.image.startswith("train-0000")
  flags = "--limit=6", "--format=json", "--preset=contrast=0.45"
  assert main(["explain", f"--workdir={run}", *flags]) == 0
  lines = (run / "explanations" / "explanations.jsonl").read_text().splitlines()
  kinds = [json.loads(line)["kind"] for line in lines]
  assert kinds.count("image") == 6
  assert kinds.count("prototype") == len(model.prototypes)
  capsys.readouterr()
  train_arrays()
  assert "This run is finished" in capsys.readouterr().out
  with pytest.raises(UserError, match="holds other images"):
    train_arrays(ARRAYS.images[::-1])

"""`python -m protojax import-config`: CaBRNet's three files -> one config."""

import copy
import runpy

import pytest
import yaml

from protojax import __main__ as command_line
from protojax.methods.protopnet.method import Method
from tests.methods.protopnet import test_cabrnet_checkpoints

_CONV = {"type": "Conv2d", "params": {"out_channels": 64, "kernel_size": 1}}
_RESIZE = {"type": "Resize", "params": {"size": [96, 96]}}


def _folder(root, **transforms):
  return {
    "module": "torchvision.datasets",
    "name": "ImageFolder",
    "params": {"root": root, "transform": {"resize": _RESIZE, **transforms}},
    "batch_size": 20,
    "num_workers": 4,
  }


def _files():
  """Three files as CaBRNet's for birds, with numbers of our own."""
  model = test_cabrnet_checkpoints.arch({"c": _CONV, "s": {"type": "Sigmoid"}})
  model = copy.deepcopy(model)
  model["extractor"]["backbone"]["weights"] = "IMAGENET1K_V1"
  model["classifier"]["params"] = {"num_classes": 4, "num_proto_per_class": 7}
  flip = {"type": "RandomHorizontalFlip"}
  grey = {"type": "RandomGrayscale", "params": {"p": 0.1}}
  data = {
    "train_set": _folder("birds/'x'/train", flip=flip, grey=grey),
    "test_set": _folder("birds/'x'/test/"),
  }
  training = {
    "param_groups": {
      "net": "extractor.convnet",
      "adds": "extractor.add_on",
      "protos": "classifier.prototypes",
      "last": "classifier.last_layer",
    },
    "optimizers": {
      "first": {
        "type": "Adam",
        "groups": {
          "adds": {"lr": 0.002, "weight_decay": 0.01},
          "protos": {"lr": 0.004},
        },
      },
      "second": {
        "type": "Adam",
        "groups": {"net": {"lr": "1e-4", "weight_decay": 0.5}},
        "scheduler": {
          "type": "StepLR",
          "params": {"step_size": 4, "gamma": 0.3},
        },
      },
      "last_layer_optimizer": {
        "type": "Adam",
        "groups": {"last": {"lr": 5e-4}},
      },
    },
    "num_epochs": 45,
    "periods": {
      "a": {"epoch_range": [0, 4], "freeze": ["net"], "optimizers": "first"},
      "b": {"num_epochs": 40, "freeze": "last", "optimizers": "second"},
    },
    "auxiliary_info": {
      "loss_coefficients": {"clustering": 0.7, "separability": -0.1},
      "projection_config": {
        "start_epoch": 10,
        "frequency": 10,
        "num_ft_epochs": 15,
      },
    },
    "epilogue": {"num_nearest_patches": 5, "pruning_threshold": 2},
  }
  return {
    "model_arch.yml": model,
    "dataset.yml": data,
    "training.yml": training,
  }


def _run(tmp_path, files):
  for name, tree in files.items():
    (tmp_path / name).write_text(yaml.safe_dump(tree, sort_keys=False))
  argv = ["import-config", str(tmp_path), f"--output={tmp_path / 'mine.py'}"]
  return command_line.main(argv)


def test_settings_come_over(tmp_path, capsys):
  assert _run(tmp_path, _files()) == 0
  printed = capsys.readouterr().err
  config = runpy.run_path(str(tmp_path / "mine.py"))["get_config"]()
  expected = {
    "batch_size": 20,
    "rounds": 4,
    "data.name": "folder",
    "data.root": "birds/'x'",
    "data.train": "train",
    "data.test": "test",
    "data.image_size": 96,
    "data.augment": "flip",
    "backbone.name": "resnet18",
    "backbone.weights": "hf:timm/resnet18.tv_in1k",
    "prototypes.per_class": 7,
    "prototypes.channels": 64,
    "prototypes.add_on": "single",
    "prototypes.activation": "sigmoid",
    "prototypes.similarity": "log",
    "loss.cluster": 0.7,
    "loss.separation": -0.1,
    "loss.l1": 1e-4,
    "warm.epochs": 5,
    "warm.add_on": 0.002,
    "warm.prototypes": 0.004,
    "warm.weight_decay": 0.01,
    "joint.epochs": 10,
    "joint.backbone": 1e-4,
    "joint.drop_epochs": 4,
    "joint.drop": 0.3,
    "last.solver": "adam",
    "last.epochs": 15,
    "last.head": 5e-4,
    "prune.nearest": 5,
    "prune.threshold": 2,
  }
  for key, value in expected.items():
    group, _, name = key.rpartition(".")
    found = config[group][name] if group else config[name]
    assert found == value, key
  for line in (
    "training.yml: no counterpart of optimizers.second.groups.net.weight_decay",
    "dataset.yml: no counterpart of train_set.params.transform.grey.type: 'R",
    "model_arch.yml: no counterpart of classifier.params.num_classes: 4",
  ):
    assert line in printed
  assert "train_set.params.root" not in printed
  method = Method(config, ("a", "b", "c", "d"))
  assert method.network.layer.count == 28


@pytest.mark.parametrize(
  ("size", "middle", "expected"),
  [
    ([96, 96], None, ("squash", 0, 96)),
    (96, None, ("aspect", 0, 96)),
    (96, 80, ("aspect", 96, 80)),
    ([96, 96], [80, 80], ("squash", 96, 80)),
  ],
)
def test_how_images_are_resized(tmp_path, size, middle, expected):
  """As torchvision's Resize, of one number or of two, and CenterCrop."""
  files = _files()
  transform = files["dataset.yml"]["train_set"]["params"]["transform"]
  transform["resize"] = {"type": "Resize", "params": {"size": size}}
  if middle:
    transform["middle"] = {"type": "CenterCrop", "params": {"size": middle}}
  assert _run(tmp_path, files) == 0
  made = runpy.run_path(str(tmp_path / "mine.py"))["get_config"]
  data = made().data
  assert (data.resize, data.resize_size, data.image_size) == expected
  small = made("debug").data
  assert (small.resize, small.resize_size, small.image_size) == (
    "squash",
    0,
    32,
  )


def test_variants_still_apply(tmp_path):
  assert _run(tmp_path, _files()) == 0
  config = runpy.run_path(str(tmp_path / "mine.py"))["get_config"]("debug")
  assert (config.data.name, config.loss.cluster) == ("photos", 0.7)


def test_no_text_of_a_file_becomes_code(tmp_path):
  files = _files()
  evil = '""" \n\nimport os; os.mkdir("trace")\n\'\\'
  for split in "train_set", "test_set":
    files["dataset.yml"][split]["params"]["root"] = f"{evil}/{split}"
  files["model_arch.yml"]["extractor"]["backbone"]["weights"] = evil
  assert _run(tmp_path, files) == 0
  config = runpy.run_path(str(tmp_path / "mine.py"))["get_config"]()
  assert config.data.root == evil
  assert config.backbone.weights == evil


def test_without_projections_pruning_or_folders(tmp_path, capsys):
  files = _files()
  training = files["training.yml"]
  del training["auxiliary_info"], training["epilogue"]
  files["dataset.yml"]["test_set"]["name"] = "CIFAR10"
  files["model_arch.yml"]["extractor"]["backbone"]["weights"] = None
  assert _run(tmp_path, files) == 0
  config = runpy.run_path(str(tmp_path / "mine.py"))["get_config"]()
  assert (config.rounds, config.joint.epochs) == (1, 40)
  assert config.prune.nearest == 0
  assert not config.backbone.pretrained
  assert config.data.root == ""
  assert "no counterpart of test_set.name: 'CIFAR10'" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("file", "path", "value", "message"),
  [
    ("training.yml", "num_epochs", {"x": 1}, ""),
    ("training.yml", "periods.b.num_epochs", "many", "'many', not a whole"),
    ("training.yml", "periods.a.epoch_range", [1], "epoch_range is [1], not"),
    ("training.yml", "optimizers.first.groups.adds.lr", [], "[], not a number"),
    ("training.yml", "periods.a.freeze", None, ""),
    ("training.yml", "param_groups.net", ["x"], ""),
    ("dataset.yml", "train_set.batch_size", 2.5, "2.5, not a whole number"),
    (
      "dataset.yml",
      "train_set.params.transform.resize.params.size",
      [96, 64],
      "[96, 64]; images must be square",
    ),
    ("model_arch.yml", "top_arch.name", "PIPNet", "'PIPNet'; configs can be"),
    (
      "model_arch.yml",
      "extractor.backbone.arch",
      "alexnet",
      "'alexnet'; choose from",
    ),
    ("model_arch.yml", "extractor.backbone.arch", "convnext_tiny", "cut after"),
    (
      "model_arch.yml",
      "extractor.add_on.c.params.kernel_size",
      3,
      "shapes [(64, 512, 3, 3)]",
    ),
  ],
)
def test_what_cannot_come_over_is_one_line(
  tmp_path, capsys, file, path, value, message
):
  files = _files()
  *parents, last = path.split(".")
  tree = files[file]
  for name in parents:
    tree = tree[name]
  tree[last] = value
  assert _run(tmp_path, files) == (2 if message else 0)
  printed = capsys.readouterr().err
  assert message in printed
  if message:
    assert f"cannot import {tmp_path / file}: " in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "mine.py").exists()


def test_the_output_is_a_new_python_file(tmp_path, capsys):
  (tmp_path / "there.py").write_text("")
  for name in "there.py", "mine.json":
    argv = ["import-config", str(tmp_path), f"--output={tmp_path / name}"]
    assert command_line.main(argv) == 2
    assert "must be a new file that ends in .py" in capsys.readouterr().err
  (tmp_path / "there.py").unlink()
  argv = ["import-config", str(tmp_path), f"--output={tmp_path / 'there.py'}"]
  assert command_line.main(argv) == 2
  assert (
    "model_arch.yml cannot be read: no such file" in capsys.readouterr().err
  )

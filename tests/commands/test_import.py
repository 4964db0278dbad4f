"""`python -m protojax import`: from a file of others to a run of ours."""

import json

import jax
import numpy as np
import pytest
import yaml

from configs import protopnet_folder, st_protopnet_folder
from protojax import __main__ as command_line
from protojax import loading, methods
from protojax.engine import workdir
from protojax.operations import importing as import_lib
from protojax.prototypes import push
from protojax.weights import reading
from tests.methods.protopnet import foreign_nets, test_cabrnet_checkpoints
from tests.methods.st_protopnet import test_st_checkpoints
from tests.weights import foreign_files

# Of the same weights and images by PyTorch 2.14.1, in ProtoPNet's formulas.
_LOGITS = [[-0.6412032, 0.636853, 1.0754027], [-0.699151, 0.6821942, 1.1445177]]
_DISTANCES = [
  [1.6242807, 2.0620308, 2.0981917, 2.3027382, 1.7310116, 1.9570746],
  [1.4975026, 1.8482065, 2.0981917, 2.0031047, 1.645016, 1.8288307],
]
_CLASSES = "ant\nbee 'n' \"co\"\n<b>../ü\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """What ProtoPNet saves: its module, in the format before PyTorch 1.6."""
  path = tmp_path_factory.mktemp("protopnet") / "10_18push0.7812.pth"
  with foreign_files.stand_ins():
    net, storages = foreign_nets.pickled_protopnet()
    path.write_bytes(foreign_files.legacy(net, storages))
  return path


@pytest.fixture(scope="module")
def run(checkpoint):
  folder = checkpoint.parent / "run"
  (checkpoint.parent / "classes.txt").write_text(_CLASSES, encoding="utf-8")
  code = command_line.main(
    [
      "import",
      str(checkpoint),
      f"--output={folder}",
      f"--classes={checkpoint.parent / 'classes.txt'}",
    ]
  )
  assert code == 0
  return folder


def test_logits_and_distances_are_those_of_pytorch(run):
  method, state, config = loading.load(run)
  assert config.backbone.name == "resnet18"
  assert config.data.image_size == foreign_nets.SIZE
  assert method.network.class_names == ("ant", "bee 'n' \"co\"", "<b>../ü")
  found, _ = jax.jit(
    lambda state, batch: method.network.forward(state.params, state, batch)
  )(state, {"image": foreign_nets.images()})
  np.testing.assert_allclose(found.logits, _LOGITS, atol=1e-4)
  np.testing.assert_allclose(found.distances, _DISTANCES, atol=1e-4)


def test_prototypes_without_a_known_source_are_stale(run, capsys):
  _, state, _ = loading.load(run)
  assert push.stale(state)
  assert np.all(state.buffers["provenance"].image == -1)
  summary = json.loads((run / "summary.json").read_text())
  assert (summary["prototypes"], summary["alive"]) == (6, 6)


def test_its_config_has_the_keys_of_a_run(run):
  config = workdir.load_config(run, methods.later)
  paper = protopnet_folder.get_config("paper")
  assert config.to_dict().keys() == paper.to_dict().keys()
  assert config.warm == paper.warm
  assert config.prototypes.per_class == 2


_HERD = """
from protojax.types import UserError
from tests.conftest import ArraySource

FOLDERS = True


def load(data, split, seed):
  if data.root == "far":
    raise UserError("far is not there")
  return ArraySource(classes=len(data.root))
"""
_OF_HERD = """
from configs import protopnet_folder


def get_config(variants=""):
  config = protopnet_folder.get_config("paper").unlock()
  config.data.update({"name": "herd.cows", "root": variants})
  return config.lock()
"""


@pytest.fixture
def herd(tmp_path, monkeypatch):
  """The flag of a config with a data set of someone else."""
  (tmp_path / "herd").mkdir()
  (tmp_path / "herd" / "cows.py").write_text(_HERD)
  (tmp_path / "config.py").write_text(_OF_HERD)
  monkeypatch.syspath_prepend(tmp_path)
  return f"--config={tmp_path / 'config.py'}"


def test_the_data_are_those_of_the_config(checkpoint, herd, tmp_path, capsys):
  argv = ["import", str(checkpoint), f"--output={tmp_path / 'run'}"]
  assert command_line.main([*argv, f"{herd}:two2"]) == 2
  assert "two2 names 4 classes, but" in capsys.readouterr().err
  assert command_line.main([*argv, f"{herd}:far", "--data=fives"]) == 2
  assert "fives names 5 classes, but" in capsys.readouterr().err


@pytest.mark.slow
def test_classes_that_nobody_can_read_get_numbers(
  checkpoint, herd, tmp_path, capsys
):
  run = tmp_path / "run"
  argv = ["import", str(checkpoint), f"--output={run}", f"{herd}:far"]
  assert command_line.main(argv) == 0
  assert "the classes get numbers for names: far is" in capsys.readouterr().err
  data = workdir.load_config(run, methods.later).data
  assert (data.name, data.root) == ("herd.cows", "far")
  assert workdir.class_names(run) == ("class 0", "class 1", "class 2")


def test_a_run_is_not_written_over(checkpoint, run, capsys):
  before = (run / "config.json").read_bytes()
  argv = ["import", str(checkpoint), f"--output={run}"]
  assert command_line.main(argv) == 2
  assert "holds a run; give --output another" in capsys.readouterr().err
  assert (run / "config.json").read_bytes() == before


def test_a_pruned_cabrnet_with_disabled_prototypes(tmp_path, capsys):
  kept = [0, 1, 2, 4, 5]
  classes = foreign_nets.class_map()[kept]
  head = foreign_nets.wave(2, 3, 5)
  classes[1], head[:, 1] = 0, 0
  arrays = {
    **{f"extractor.convnet.{k}": x for k, x in foreign_nets.features().items()},
    **foreign_nets.add_on("extractor.add_on.", ("conv1", "conv2")),
    "classifier.prototypes": foreign_nets.wave(1, 5, 8, 1, 1),
    "classifier.proto_class_map": classes,
    "classifier.last_layer.weight": head,
  }
  with foreign_files.stand_ins():
    content = foreign_files.zipped(*foreign_files.state_dict(arrays))
  (tmp_path / "model_state.pth").write_bytes(content)
  argv = ["import", str(tmp_path / "model_state.pth")]
  argv += [f"--output={tmp_path / 'run'}", "--image-size=32"]
  assert command_line.main(argv) == 2
  assert (
    "model_arch.yml cannot be read: no such file" in capsys.readouterr().err
  )
  assert not (tmp_path / "run").exists()

  text = yaml.safe_dump(test_cabrnet_checkpoints.arch(), sort_keys=False)
  (tmp_path / "model_arch.yml").write_text(text)
  assert command_line.main(argv) == 0
  assert "resnet18 with 5 prototypes of 3" in capsys.readouterr().err
  method, state, config = loading.load(tmp_path / "run")
  assert method.network.class_names == ("class 0", "class 1", "class 2")
  assert config.data.image_size == 32
  buffers = state.buffers
  np.testing.assert_array_equal(buffers["alive"], [1, 0, 1, 1, 1, 0])
  np.testing.assert_array_equal(buffers["class_of"], [0, 0, 1, 2, 2, 1])
  np.testing.assert_array_equal(
    state.params["prototypes"]["prototypes"][:5, 0, 0],
    arrays["classifier.prototypes"][:, :, 0, 0],
  )
  np.testing.assert_array_equal(state.params["head"]["weight"][:, :5], head)


def test_push_to_the_images_of_a_folder(checkpoint, tmp_path, capsys):
  from PIL import Image

  rng = np.random.default_rng(0)
  for split in "train", "test":
    for name in "ant", "bee", "cat":
      folder = tmp_path / "data" / split / name
      folder.mkdir(parents=True)
      for i in range(2):
        pixels = rng.integers(0, 255, (32, 32, 3)).astype("u1")
        Image.fromarray(pixels).save(folder / f"{i}.png")
  run = tmp_path / "run"
  argv = ["import", str(checkpoint), f"--output={run}", "--push"]
  argv += ["--image-size=32"]
  assert command_line.main(argv) == 2
  assert "give --data=DIR" in capsys.readouterr().err
  assert command_line.main([*argv, f"--data={tmp_path / 'data'}"]) == 0
  printed = capsys.readouterr().err
  assert "pushing to 6 training images\nprototypes moved by" in printed
  method, state, _ = loading.load(run)
  assert not push.stale(state)
  assert method.network.class_names == ("ant", "bee", "cat")
  labels = method.stream("train").labels
  source = state.buffers["provenance"].image
  np.testing.assert_array_equal(labels[source], [0, 0, 1, 1, 2, 2])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["cropped", "full"])
def test_an_st_protopnet_is_pushed_to_the_images_of_a_folder(
  variant, tmp_path, capsys
):
  from PIL import Image

  rng = np.random.default_rng(0)
  for name in "ant", "bee", "cat":
    folder = tmp_path / "data" / "train" / name
    folder.mkdir(parents=True)
    (tmp_path / "data" / "test" / name).mkdir(parents=True)
    for i in range(2):
      pixels = rng.integers(0, 255, (64, 64, 3)).astype("u1")
      Image.fromarray(pixels).save(folder / f"{i}.png")
      Image.fromarray(pixels).save(tmp_path / f"data/test/{name}/{i}.png")
  with foreign_files.stand_ins():
    arrays = test_st_checkpoints._arrays(variant, blank=False)
    arrays = {k: np.ascontiguousarray(x, "f4") for k, x in arrays.items()}
    content = foreign_files.zipped(*foreign_files.state_dict(arrays))
  (tmp_path / "state.pth").write_bytes(content)
  run = tmp_path / "run"
  argv = ["import", str(tmp_path / "state.pth"), f"--output={run}", "--push"]
  argv += ["--image-size=64", f"--data={tmp_path / 'data'}"]
  assert command_line.main(argv) == 0
  printed = capsys.readouterr().err
  assert f"of the code's folder {variant}/" in printed
  assert "resnet18 with 2 x 6 prototypes of 3 classes" in printed
  method, state, config = loading.load(run)
  assert config.method == "st_protopnet"
  assert config.warm == st_protopnet_folder.get_config(variant).warm
  assert not push.stale(state)
  labels = method.stream("train").labels
  source = state.buffers["provenance"].image
  np.testing.assert_array_equal(labels[source], [0, 0, 1, 1, 2, 2] * 2)
  assert method.evaluate(state, "test")["accuracy"] >= 0


@pytest.mark.parametrize(
  ("extra", "message"),
  [
    (["--classes=absent.txt"], "absent.txt cannot be read: no such file"),
    (["--config=configs/absent.py"], "there is no file configs/absent.py"),
    (["--config=configs/protopnet_folder.py:papr"], "no variant 'papr'"),
    (["--config=configs/inp_former_folder.py"], "is for inp_former, not"),
    (
      ["--config=configs/protopnet_photos.py:debug", "--data=DIR"],
      "photos, lie in no folder that can be given",
    ),
  ],
)
def test_mistakes_are_one_line(checkpoint, tmp_path, capsys, extra, message):
  argv = ["import", str(checkpoint), f"--output={tmp_path / 'run'}", *extra]
  assert command_line.main(argv) == 2
  printed = capsys.readouterr().err
  assert message in printed
  assert printed.count("\n") == 1
  assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_listed_with_their_file(tmp_path, capsys):
  arrays = foreign_nets.protopnet()
  head = 1.5 * foreign_nets.class_map().T - 0.5
  arrays["last_layer.weight"] = np.ascontiguousarray(head)
  arrays["features.layer1.0.bn1.weight"] = np.ones(3, "f4")
  del arrays["features.layer2.0.bn1.bias"]
  with foreign_files.stand_ins():
    content = foreign_files.zipped(*foreign_files.state_dict(arrays))
  (tmp_path / "x.pth").write_bytes(content)
  argv = ["import", str(tmp_path / "x.pth"), f"--output={tmp_path / 'run'}"]
  assert command_line.main(argv) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith(f"error: cannot import {tmp_path / 'x.pth'}: the weig")
  assert "layer1.0.bn1.weight has shape (3,)" in line
  assert "missing layer2.0.bn1.bias" in line
  assert not (tmp_path / "run").exists()


def test_the_number_of_classes_is_checked(checkpoint, tmp_path, capsys):
  for text, count in ("a\nb\n", 2), ("a\nb\nb\n", 2), ("", 0):
    (tmp_path / "classes.txt").write_text(text)
    argv = ["import", str(checkpoint), f"--output={tmp_path / 'run'}"]
    argv += [f"--classes={tmp_path / 'classes.txt'}"]
    assert command_line.main(argv) == 2
    assert f"names {count} classes, but the che" in capsys.readouterr().err


def test_files_that_are_no_classifier(tmp_path, capsys):
  path = tmp_path / "x.pth"
  np.savez(tmp_path / "x.npz", x=np.zeros(1))
  for content, message in (
    (b"\x80\x02K\x03.", "cut short or damaged"),
    ((tmp_path / "x.npz").read_bytes(), "neither PyTorch's nor NumPy's"),
  ):
    path.write_bytes(content)
    argv = ["import", str(path), f"--output={tmp_path / 'run'}"]
    assert command_line.main(argv) == 2
    assert message in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


def test_every_checkpoint_is_recognised_by_one_method(checkpoint):
  module = reading.read_module(checkpoint)
  assert import_lib.recognised(module)[0] == "protopnet"
  readers = methods.parts("foreign").values()
  assert sum(reader.recognised(module) for reader in readers) == 1


def test_a_checkpoint_of_another_system(tmp_path, capsys):
  arrays = {"stem.weight": np.zeros(1, "f4")}
  with foreign_files.stand_ins():
    content = foreign_files.zipped(*foreign_files.state_dict(arrays))
  (tmp_path / "x.pth").write_bytes(content)
  argv = ["import", str(tmp_path / "x.pth"), f"--output={tmp_path / 'run'}"]
  assert command_line.main(argv) == 2
  printed = capsys.readouterr().err
  assert "x.pth: its tensors (stem.weight, ...) are those of no s" in printed
  assert "ProtoPNet's code (tensors features" in printed
  assert printed.count("\n") == 1

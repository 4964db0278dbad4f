"""`python -m protojax prepare`: what it says, and what stopping it leaves."""

import argparse
import signal

from ml_collections import ConfigDict
import pytest
from safetensors.numpy import save_file

from protojax import cli
from protojax.commands import prepare
from protojax.datasets import cub200, latents, photo_records
from protojax.datasets import tfds as tfds_lib
from protojax.diffusion import autoencoder_file
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes
from tests.diffusion.foreign_autoencoder import tensors


@pytest.fixture(autouse=True)
def _signals():
  """The command changes what a signal does, for the rest of its process."""
  before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
  # A shell has it ignored by what it starts in the background.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


def run(*arguments):
  parser = argparse.ArgumentParser()
  prepare.arguments(parser)
  return prepare.run(parser.parse_args([str(a) for a in arguments]))


def test_what_it_says(tmp_path, capsys):
  tree = fakes.cub()
  first, second, *_, last = (name for name in tree if name.endswith(".jpg"))
  tree[last], tree[second] = tree[first], b"junk"
  source, output = fakes.pack(tmp_path, tree, "tgz"), tmp_path / "out"
  assert run("cub200", f"--source={source}", f"--output={output}") == 0
  said = capsys.readouterr()
  assert said.out == ""
  lines = [line for line in said.err.splitlines() if line.strip()]
  names = [n.removeprefix("CUB_200_2011/images/") for n in (first, last)]
  assert lines[-4].endswith("_1.jpg: not an image that Pillow can read")
  assert lines[-3] == f"the same file: {names[0]} and {names[1]}"
  assert lines[-2] == (
    f"written: {output}, test: 2, train: 3, skipped: 1, in two splits: 1"
  )
  assert lines[-1] == (
    "Next: python train.py --config=protopnet_cub200"
    f" --config.data.root={output}"
  )
  with pytest.raises(UserError, match=r"cub200/1\.0\.0 is there already"):
    run("cub200", f"--source={source}", f"--output={output}")


def test_many_notes_are_counted(tmp_path, capsys):
  tree = fakes.cub(20)
  for name in list(tree)[1:16]:
    tree[name] = b"junk"
  source, output = fakes.pack(tmp_path, tree, "zip"), tmp_path / "out"
  run("cub200", f"--source={source}", f"--output={output}")
  said = capsys.readouterr().err
  assert said.count("skipped 0") == 10
  assert "and 5 more\n" in said


def test_help_lists_what_can_be_prepared():
  parser = argparse.ArgumentParser()
  prepare.arguments(parser)
  listed = [line.split()[0] for line in parser.epilog.splitlines()[1:]]
  assert listed == [
    "anomaly",
    "cars196",
    "community_forensics",
    "compositional",
    "cub200",
    "dogs",
    "driving_scenes",
    "folder",
    "latents",
    "segmentation",
    "slides",
    "volumes",
  ]


def test_slides_need_a_backbone_and_others_take_none(tmp_path):
  paths = (f"--source={tmp_path}", f"--output={tmp_path}/out")
  for arguments, why in (
    (("slides", *paths), "prepare slides needs --backbone=NAME: choose from"),
    (("folder", *paths, "--backbone=convnet"), "takes no --backbone"),
    (
      ("slides", *paths, "--backbone=convnet"),
      "'convnet' has no pretrained weights of its own",
    ),
  ):
    with pytest.raises(UserError, match=why):
      run(*arguments)


def test_a_data_set_of_ones_own(tmp_path, monkeypatch, capsys):
  (tmp_path / "my_birds").mkdir()
  (tmp_path / "my_birds" / "birds.py").write_text(
    "from protojax.datasets.cub200 import prepare\n"
    "PREPARES, WRITES, TRAINS = 'birds', 'cub200', 'birds.py'\n"
  )
  (tmp_path / "my_birds" / "half.py").write_text("prepare = 1\n")
  monkeypatch.syspath_prepend(tmp_path)
  source, output = fakes.pack(tmp_path, fakes.cub(), "tgz"), tmp_path / "out"
  rest = (f"--source={source}", f"--output={output}")
  assert run("my_birds.birds", *rest) == 0
  assert "--config=birds.py" in capsys.readouterr().err
  for name, said in (
    ("my_birds.half", "does not declare PREPARES and WRITES and TRAINS"),
    ("cub20", "DATA is 'cub20'. Did you mean 'cub200'. Expected"),
    ("photos", "DATA is 'photos'"),
  ):
    with pytest.raises(UserError, match=said):
      run(name, *rest)


def test_latents_by_the_autoencoder_of_a_file(tmp_path, capsys):
  tree = {
    f"{split}/{name}/{i}.jpg": fakes.jpeg(i)
    for split in ("train", "test")
    for name in ("cat", "dog")
    for i in range(2)
  }
  source, output = fakes.pack(tmp_path, tree, "folder"), tmp_path / "out"
  weights = tmp_path / "vae.safetensors"
  save_file(tensors(channels=(2, 2), latent=1), weights)
  (tmp_path / "config.json").write_text('{"norm_num_groups": 1}')
  paths = (f"--source={source}", f"--output={output}")
  given = (*paths, f"--autoencoder={weights}", "--batch-size=2")
  assert run("latents", *given, "--image-size=4") == 0
  said = capsys.readouterr().err
  assert f"written: {output}, test: 4, train: 4, skipped: 0" in said
  data = ConfigDict({"root": str(output), "train": "train", "image_size": 2})
  found = latents.load(data, "train", 0)
  assert found.autoencoder == autoencoder_file.digest(weights)
  assert found[0]["latent"].shape == (2, 2, 2)
  for arguments, why in (
    (("latents", *paths), "prepare latents needs --autoencoder=FILE"),
    (("folder", *given), "prepare folder takes no --autoencoder"),
    (("latents", *given, "--image-size=5"), "size=5; .* needs a multiple of 2"),
  ):
    with pytest.raises(UserError, match=why):
      run(*arguments)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_leaves_nothing_and_starts_again(
  tmp_path, monkeypatch, number
):
  source, output = fakes.pack(tmp_path, fakes.cub(), "tgz"), tmp_path / "out"
  command = ("cub200", f"--source={source}", f"--output={output}")

  def stopped(source, output, begin, advance):
    def stop():
      signal.raise_signal(number)

    return photo_records.write(cub200.read, source, output, begin, stop)

  with monkeypatch.context() as patch:
    patch.setattr(cub200, "prepare", stopped)
    assert cli.guarded(lambda: run(*command)) == 128 + number
  assert list(output.iterdir()) == []
  assert run(*command) == 0
  assert len(tfds_lib.opened("cub200", str(output), "train")) == 4

"""`python -m protojax sample --base` with a tiny folder of diffusers."""

import numpy as np
from PIL import Image
import pytest

from protojax import cli, parallel
from protojax.diffusion.stable import base
from protojax.diffusion.stable.drawing import Generator
from protojax.methods.generating import Illustrates
from protojax.types import State, UserError
from tests.diffusion import stable_folder


def sample(*arguments):
  return cli.run("sample", list(arguments), "python -m protojax")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return stable_folder.write(tmp_path_factory.mktemp("stable"))


def refused(capsys, *arguments):
  """The line that a command ends with."""
  capsys.readouterr()
  assert sample(*arguments) == 2
  said = capsys.readouterr().err.splitlines()[-1]
  assert said.startswith("error: ")
  return said


def test_what_is_missing_or_too_much_is_told(folder, tmp_path, capsys):
  there = f"--base={folder}", f"--output={tmp_path}"
  for typed, why in (
    (there, "--base needs --prompt, too"),
    ((there[0], "--prompt=red"), "--base needs --output, too"),
    ((*there, "--prompt=red", "--workdir=x"), "give one of them"),
    (
      (f"--base={tmp_path}", there[1], "--prompt=red"),
      "has no model_index.json",
    ),
  ):
    assert why in refused(capsys, *typed)


@pytest.mark.slow
def test_images_of_a_text_stand_in_a_folder(folder, tmp_path, capsys):
  typed = [f"--base={folder}", "--prompt=a red cup", "--steps=2", "--seed=3"]
  first, second = tmp_path / "first", tmp_path / "second"
  assert sample(*typed, f"--output={first}", "--number=1") == 0
  assert sample(*typed, f"--output={second}", "--number=3") == 0
  images = [
    np.asarray(Image.open(f / "images" / "000000.png")) for f in (first, second)
  ]
  assert images[0].shape == (12, 12, 3)
  np.testing.assert_array_equal(*images)
  other = np.asarray(Image.open(second / "images" / "000001.png"))
  assert np.any(other != images[0])
  assert (second / "prompts.txt").read_text() == 3 * "a red cup\n"
  typed = [*typed, f"--output={first}"]
  said = refused(capsys, *typed, "--prompt=red")
  assert "--prompt: 'a red cup' there, 'red' now" in said
  assert "has no classes; leave it out" in refused(
    capsys, *typed, "--class=cup"
  )


@pytest.mark.slow
def test_images_tell_which_words_they_looked_at(folder):
  model, weights = base.load(folder)
  generator = Generator(model, 2)
  assert isinstance(generator, Illustrates)
  asked = {"prompt": ["red", "cup"], "steps": 2, "guidance": 2.0}
  key = parallel.key(1)
  images, found = generator.traced(State(weights, {}, {}), asked, key, 2)
  assert images.shape == (2, 12, 12, 3)
  assert found["words"].shape == (2, stable_folder.LENGTH, 6, 6)
  np.testing.assert_allclose(found["words"].sum(axis=1), 1, rtol=1e-5)
  with pytest.raises(UserError, match="3 prompts for 2 images"):
    generator.texts(["a"] * 3, 2)
  with pytest.raises(UserError, match="say what the images show"):
    generator.texts(None, 2)

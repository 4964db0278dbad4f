"""`python -m protojax sample --base` with a tiny folder of diffusers."""

import jax.numpy as jnp
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
    (("--size=12x12",), "--size is of --base: images of a run"),
    (("--dtype=bfloat16",), "--dtype is of --base: images of a run"),
    (
      (f"--base={tmp_path}", there[1], "--prompt=red"),
      "has no model_index.json",
    ),
  ):
    assert why in refused(capsys, *typed)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_weights_are_of_the_type_that_is_asked_for(
  folder, tmp_path, capsys, monkeypatch, name
):
  """What it changes is told in `tests/diffusion/test_stable.py`."""

  def load(folder, dtype):
    raise UserError(f"{folder} as {jnp.dtype(dtype)}")

  monkeypatch.setattr(base, "load", load)
  typed = f"--base={folder}", f"--output={tmp_path}", "--prompt=red"
  said = refused(capsys, *typed, f"--dtype={name}")
  assert said.endswith(f"{folder} as {name}")


@pytest.mark.slow
def test_images_of_a_text_stand_in_a_folder(folder, tmp_path, capsys):
  typed = [f"--base={folder}", "--seed=3", f"--output={tmp_path}"]
  typed += ["--number=2", "--steps=2"]
  assert sample(*typed, "--prompt=a red cup") == 0
  one, other = (
    np.asarray(Image.open(tmp_path / "images" / f"00000{i}.png"))
    for i in (0, 1)
  )
  assert one.shape == (12, 12, 3)
  assert np.any(one != other)
  assert (tmp_path / "prompts.txt").read_text() == 2 * "a red cup\n"
  said = refused(capsys, *typed, "--prompt=red")
  assert "--prompt: 'a red cup' there, 'red' now" in said
  said = refused(capsys, *typed, "--prompt=red", "--class=cup")
  assert "has no classes; leave it out" in said
  # The same numbers where what was looked at is told, too.
  model, weights = base.load(folder)
  generator = Generator(model, 2)
  assert isinstance(generator, Illustrates)
  asked = {"prompt": ["a red cup"] * 2, "steps": 2}
  state = State(weights, {}, {})
  images, found = generator.traced(state, asked, parallel.key(3), 2)
  difference = np.int32(images) - np.int32(np.stack([one, other]))
  assert np.abs(difference).max() <= 1
  assert found["words"].shape == (2, stable_folder.LENGTH, 6, 6)
  np.testing.assert_allclose(found["words"].sum(axis=1), 1, rtol=1e-5)
  with pytest.raises(UserError, match="3 prompts for 2 images"):
    generator.texts(["a"] * 3, 2)
  with pytest.raises(UserError, match="size 13x12: give multiples of 2"):
    Generator(model, 2, (13, 12))
  with pytest.raises(UserError, match="say what the images show"):
    generator.texts(None, 2)


@pytest.mark.slow
def test_images_of_another_size_and_in_half_precision(folder, tmp_path, capsys):
  typed = [f"--base={folder}", f"--output={tmp_path}", "--prompt=a red cup"]
  typed += ["--number=1", "--steps=2", "--dtype=bfloat16"]
  assert sample(*typed, "--size=8x20") == 0
  image = np.asarray(Image.open(tmp_path / "images" / "000000.png"))
  assert image.shape == (8, 20, 3)
  assert image.std() > 1
  said = refused(capsys, *typed)
  assert "--size: [8, 20] there, not given now" in said
  assert "checkpoint" not in said
  typed.remove("--dtype=bfloat16")
  assert "checkpoint" in refused(capsys, *typed, "--size=8x20")

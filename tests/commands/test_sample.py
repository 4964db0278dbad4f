"""`python -m protojax sample` with a toy that generates."""

import contextlib
import importlib
import json
import shutil
import signal
import time

import jax
import numpy as np
from PIL import Image
import pytest

from protojax import cli, methods, parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.evaluation import sample_folder
from protojax.operations import sampling
from protojax.types import State, UserError
from tests.common.processes import finish, start

COLOURS = np.float32([[200, 60, 40], [50, 90, 180]])


def run_of(folder, colours):
  """A run of the toy that has ended; its data are not read."""
  config = importlib.import_module("toyshop.painter.config").get_config()
  state = State({"bank": {"vectors": colours}}, {}, {})
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, ("disc", "square"))
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  (folder / "summary.json").write_text("{}")
  return folder


@pytest.fixture(scope="module")
def run(toyshop, tmp_path_factory):
  """Its workdir."""
  return run_of(tmp_path_factory.mktemp("painter"), COLOURS)


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
  """A folder of 11 images."""
  output = tmp_path_factory.mktemp("samples") / "new"
  assert sample(run, output, "--number=11", "--seed=3") == 0
  return output


def sample(run, output, *arguments):
  # Five at once: six on two devices.
  size = ["--batch-size=5"]
  if any(word.startswith("--batch-size") for word in arguments):
    size = []
  typed = [f"--workdir={run}", f"--output={output}", *size, *arguments]
  return cli.run("sample", typed, "python -m protojax")


def refused(capsys, *arguments):
  """The line that a command ends with."""
  capsys.readouterr()
  assert sample(*arguments) == 2
  said = capsys.readouterr().err.splitlines()
  assert said[-1].startswith("error: ")
  return said[-1]


def arrays(folder):
  with np.load(folder / "samples.npz") as found:
    return dict(found)


def files(folder):
  return {
    path.name: path.read_bytes() for path in (folder / "images").iterdir()
  }


def test_images_are_those_of_their_keys_one_by_one(made):
  """On one device, each alone."""
  painted = importlib.import_module("toyshop.painter.method")._painted

  @jax.jit
  def alone(colours, label, i):
    key = jax.random.key_data(parallel.key(3))
    given = {"colours": colours, "guidance": 1.0, "key": key}
    return painted(given, {"label": label[None], "index": i[None]})[0]

  found = arrays(made)
  assert found["arr_0"].shape == (11, 16, 16, 3)
  assert found["arr_0"].dtype == np.uint8
  np.testing.assert_array_equal(found["arr_1"], np.arange(11) % 2)
  for i in range(11):
    np.testing.assert_array_equal(
      found["arr_0"][i], alone(COLOURS, *np.int32([i % 2, i]))
    )
    with Image.open(made / "images" / f"{i:06}.png") as image:
      np.testing.assert_array_equal(np.asarray(image), found["arr_0"][i])
  assert len({image.tobytes() for image in found["arr_0"]}) == 11


def test_the_grid_has_a_column_for_each_class(made):
  with Image.open(made / "grid.png") as image:
    grid = np.asarray(image)
  # Of 16 pixels, enlarged to 64; two columns, six rows, one cell empty.
  assert grid.shape == (6 * 66 + 2, 2 * 66 + 2, 3)
  first = arrays(made)["arr_0"][3]
  np.testing.assert_array_equal(grid[68:132:4, 68:132:4], first)
  assert (grid[-66:, -66:] == 255).all()


def test_more_images_leave_the_first_as_they_are(run, made, tmp_path, capsys):
  output = tmp_path / "more"
  shutil.copytree(made, output)
  before = {p: p.stat().st_mtime_ns for p in (output / "images").iterdir()}
  assert sample(run, output, "--number=14", "--seed=3") == 0
  assert "11 of 14 images stand already" in capsys.readouterr().err
  assert {p: p.stat().st_mtime_ns for p in before} == before
  # In other batches, all at once, they are the same.
  once, arguments = tmp_path / "once", ["--number=14", "--batch-size=14"]
  assert sample(run, once, "--seed=3", *arguments) == 0
  assert files(output) == files(once)
  arrays = [(folder / "samples.npz").read_bytes() for folder in (output, once)]
  assert arrays[0] == arrays[1]


def test_an_interrupted_command_goes_on(run, made, tmp_path):
  output = tmp_path / "cut"
  shutil.copytree(made, output)
  wanted = files(output)
  for i in (4, 9, 10):
    (output / "images" / f"{i:06}.png").unlink()
  for name in ("grid.png", "samples.npz"):
    (output / name).unlink()
  assert sample(run, output, "--number=11", "--seed=3") == 0
  assert files(output) == wanted
  np.testing.assert_array_equal(arrays(output)["arr_0"], arrays(made)["arr_0"])


def test_one_class_and_guidance(run, tmp_path, capsys):
  middle = COLOURS.mean(0)
  for guidance, said in (
    (0, "show nothing of their"),
    (0.5, "show less of their class"),
  ):
    output = tmp_path / f"{guidance}"
    arguments = ["--number=8", "--class=square", f"--guidance={guidance}"]
    assert sample(run, output, *arguments) == 0
    assert said in capsys.readouterr().err
    found = arrays(output)
    assert set(found["arr_1"]) == {1}
    wanted = middle + guidance * (COLOURS[1] - middle)
    mean = found["arr_0"].mean((0, 1, 2))
    np.testing.assert_allclose(mean, wanted, atol=2)
  with Image.open(output / "grid.png") as image:
    assert image.size == (3 * 66 + 2, 3 * 66 + 2)


def test_other_images_are_not_mixed_in(run, made, toyshop, tmp_path, capsys):
  said = refused(capsys, run, made, "--seed=4", "--number=11")
  assert "(--seed: 3 there, 4 now)" in said
  assert "name another folder with --output" in said
  said = refused(capsys, run, made, "--seed=3", "--guidance=2")
  assert "(--guidance: not given there, 2.0 now)" in said
  said = refused(capsys, run, made, "--seed=3", "--class=disc")
  assert "--class: not given there, 'disc' now" in said
  other = run_of(tmp_path / "run", COLOURS + 1)
  assert "checkpoint: " in refused(capsys, other, made, "--seed=3")
  (tmp_path / "photos" / "images").mkdir(parents=True)
  (tmp_path / "photos" / "images" / "000000.png").write_bytes(b"mine")
  said = refused(capsys, run, tmp_path / "photos")
  assert "no sampling.json beside it" in said
  assert (tmp_path / "photos/images/000000.png").read_bytes() == b"mine"


def test_a_folder_without_images_is_free(run, tmp_path, capsys):
  (tmp_path / "sampling.json").write_text("{}")
  (tmp_path / "images").mkdir()
  assert sample(run, tmp_path, "--number=2", "--seed=3") == 0
  recipe = json.loads((tmp_path / "sampling.json").read_text())
  assert recipe["seed"] == 3
  assert recipe["classes"] == ["disc", "square"]
  assert "--class: " in refused(capsys, run, tmp_path, "--class=disc")


def test_a_recipe_that_is_damaged_is_one_line(run, made, tmp_path, capsys):
  output = tmp_path / "damaged"
  shutil.copytree(made, output)
  recipe = json.loads((output / "sampling.json").read_text())
  del recipe["seed"]
  (output / "sampling.json").write_text(json.dumps(recipe))
  assert "has no key 'seed'" in refused(capsys, run, output, "--seed=3")


def test_a_damaged_image_is_named(run, made, tmp_path, capsys):
  output = tmp_path / "damaged"
  shutil.copytree(made, output)
  path = output / "images" / "000007.png"
  path.write_bytes(path.read_bytes()[:60])
  arguments = [run, output, "--number=11", "--seed=3"]
  said = refused(capsys, *arguments)
  assert "000007.png cannot be read" in said
  assert "Delete it" in said
  path.unlink()
  assert sample(*arguments) == 0
  assert files(output) == files(made)


def test_mistakes_are_one_line(run, tmp_path, capsys):
  said = refused(capsys, run, tmp_path, "--class=sqare")
  assert "'sqare', which is none of the 2 classes of this run" in said
  assert "(disc, square); near: 'square'" in said
  said = refused(capsys, tmp_path / "none", tmp_path / "x")
  assert "holds no run" in said
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("--guidance=-1", "'-1' is not a number from 0 to 100"),
    ("--guidance=nan", "'nan' is not a number from 0 to 100"),
    ("--guidance=strong", "'strong' is not a number from 0 to 100"),
    ("--number=0", "'0' is not a whole number from 1"),
    ("--seed=x", "'x' is not a whole number from 0"),
  ],
)
def test_numbers_out_of_range_are_one_line(argument, said, capsys):
  with contextlib.suppress(SystemExit):
    assert cli.run("sample", ["--workdir=x", argument], "") == 2
  assert said in capsys.readouterr().err


def test_a_model_without_classes_has_no_guidance():
  with pytest.raises(UserError, match="has no classes; leave it out"):
    sampling._check_guidance(2.0, ())
  with pytest.raises(UserError, match="has no classes"):
    sampling._label("cat", ())
  assert not len(sampling._labels(5, None, ()))


def test_weights_of_any_type_have_a_digest():
  half = np.ones((2, 3), jax.numpy.bfloat16)
  one, other = (
    sampling._digest(State({"x": x, "y": np.float32(0)}, {}, {}))
    for x in (half, 2 * half)
  )
  assert one != other


def test_grey_images_are_grey_files_and_three_channels_for_evaluators(tmp_path):
  image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
  sample_folder.write(tmp_path, 0, image)
  with Image.open(sample_folder.place(tmp_path, 0)) as file:
    assert file.mode == "L"
  sample_folder.write_arrays(tmp_path, 1, [])
  found = arrays(tmp_path)
  assert set(found) == {"arr_0"}
  np.testing.assert_array_equal(found["arr_0"][0], image.repeat(3, -1))


@pytest.mark.slow
def test_killed_on_one_device_it_ends_as_on_two(run, tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  assert sample(run, whole, "--number=40", "--seed=3") == 0
  typed = [f"--workdir={run}", f"--output={killed}", "--seed=3"]
  command = ["-m", "protojax", "sample", *typed, "--batch-size=1"]
  (process,) = start([*command, "--number=100000"])
  while not sample_folder.place(killed, 20).exists():
    assert process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  for path in (killed / "images").iterdir():
    if path.name >= "000040.png" or path.name.startswith("."):
      path.unlink()
  assert not (killed / "samples.npz").exists()
  (said,) = finish(start([*command, "--number=40"]))
  assert "of 40 images stand already" in said
  assert files(killed) == files(whole)
  for name in ("samples.npz", "grid.png"):
    assert (killed / name).read_bytes() == (whole / name).read_bytes()

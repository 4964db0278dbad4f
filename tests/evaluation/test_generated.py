"""`evaluate --generated`: images against images, by a backbone of one layer."""

import importlib
import json

import numpy as np
from PIL import Image
import pytest
from scipy import linalg

from protojax import cli, methods
from protojax.engine import workdir
from protojax.evaluation import generated, sample_folder
from protojax.metrics import generation_features

SIDE, COUNT = 16, 24


def pictures(count, seed, tint=0):
  rng = np.random.default_rng(seed)
  mean = rng.integers(40, 160, (count, 1, 1, 3)) + tint
  noise = rng.integers(0, 60, (count, SIDE, SIDE, 3))
  return (mean + noise).astype(np.uint8)


def folder_of(folder, images):
  folder.mkdir()
  for i, image in enumerate(images):
    Image.fromarray(image).save(folder / f"{i:03}.png")
  return folder


@pytest.fixture(scope="module")
def sets(toyshop, tmp_path_factory):
  """A folder of 24 generated images, an npz of 24 real ones, and both.

  With other numbers, more programs would be compiled.
  """
  root = tmp_path_factory.mktemp("sets")
  made, real = pictures(COUNT, 0, tint=20), pictures(COUNT, 1)
  np.savez(root / "real.npz", made=np.zeros(3), arr_0=real)
  return folder_of(root / "made", made), root / "real.npz", made, real


def evaluate(*arguments):
  typed = ["--backbone=toyshop.nets", *arguments]
  return cli.run("evaluate", typed, "python -m protojax")


def figures(tmp_path, *arguments):
  path = tmp_path / "figures.json"
  assert evaluate(*arguments, f"--json={path}") == 0
  return json.loads(path.read_text())


def refused(capsys, *arguments):
  capsys.readouterr()
  assert evaluate(*arguments) == 2
  said = capsys.readouterr().err.splitlines()
  assert said[-1].startswith("error: ")
  return said[-1]


def features(images):
  """Of the backbone, by NumPy."""
  nets = importlib.import_module("toyshop.nets")
  x = np.float64(images) / 255 * 2 - 1
  x = x.reshape(-1, 4, 4, 4, 4, 3).swapaxes(2, 3).reshape(-1, 16, 48)
  x = np.maximum(x @ nets.variables()["params"]["kernel"], 0)
  head = nets.tensors()
  x = x.mean(1)
  return x, x @ head["fc.weight"].T + head["fc.bias"]


def test_figures_are_those_of_features_by_numpy(sets, tmp_path, capsys):
  folder, real, made, theirs = sets
  found = figures(tmp_path, f"--generated={folder}", f"--real={real}")
  out = capsys.readouterr().out
  assert found["counts"] == {"generated": COUNT, "real": COUNT}
  assert found["features"] == "toyshop.nets"
  assert found["image_size"] == SIDE
  (x, _), (y, logits) = features(theirs), features(made)
  covariances = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
  apart = x.mean(0) - y.mean(0)
  shared = np.trace(linalg.sqrtm(covariances[0] @ covariances[1])).real
  frechet = apart @ apart + np.trace(sum(covariances)) - 2 * shared
  told = found["figures"]
  assert told["frechet_distance"]["mean"] == pytest.approx(frechet, rel=1e-4)
  assert f"{frechet:.3f}" in out
  shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  score = generated.generation.inception_score(shares)
  assert told["inception_score"]["mean"] == pytest.approx(score.mean, rel=1e-5)
  kernel = generated.generation.kernel_distance(x, y)
  assert told["kernel_distance"] == {
    "mean": pytest.approx(1000 * kernel.mean, rel=1e-3),
    "std": pytest.approx(1000 * kernel.std, rel=1e-3),
    "n": 100,
  }
  assert set(told) == set(generated.FIGURES)
  assert "| precision" in out


def test_equal_images_are_near_however_they_are_given(sets, tmp_path):
  folder, _, made, _ = sets
  ours = tmp_path / "sampled"
  for i, image in enumerate(made):
    sample_folder.write(ours, i, image)
  (ours / "sampling.json").write_text("{}")
  Image.new("RGB", (70, 90)).save(ours / "grid.png")
  found = figures(tmp_path, f"--generated={folder}", f"--real={ours}")
  assert found["counts"] == {"generated": COUNT, "real": COUNT}
  told = {name: row["mean"] for name, row in found["figures"].items()}
  assert told["frechet_distance"] == pytest.approx(0, abs=1e-9)
  assert told["precision"] == told["recall"] == 1


def test_mean_and_covariance_stand_for_real_images(sets, tmp_path):
  folder, real, _, theirs = sets
  x, _ = features(theirs)
  path = tmp_path / "statistics.npz"
  np.savez(path, mu=x.mean(0), sigma=np.cov(x, rowvar=False))
  found = figures(tmp_path, f"--generated={folder}", f"--real={path}")
  whole = figures(tmp_path, f"--generated={folder}", f"--real={real}")
  assert set(found["figures"]) == {"frechet_distance", "inception_score"}
  assert found["counts"] == {"generated": COUNT}
  assert found["figures"]["frechet_distance"]["mean"] == pytest.approx(
    whole["figures"]["frechet_distance"]["mean"], rel=1e-4
  )


def test_real_images_are_those_of_a_run(sets, tmp_path, capsys):
  folder = sets[0]
  run = tmp_path / "run"
  config = importlib.import_module("toyshop.painter.config").get_config()
  workdir.claim(run, config, methods.later)
  typed = [f"--generated={folder}", f"--workdir={run}"]
  found = figures(tmp_path, *typed)
  assert found["counts"] == {"generated": COUNT, "real": COUNT}
  assert found["real"] == f"train of {run}"
  said = refused(capsys, *typed, "--split=validation")
  assert "no split 'validation': choose from train, test" in said


def test_an_unreadable_image_is_named_and_left_out(sets, tmp_path, capsys):
  _, real, made, _ = sets
  folder = folder_of(tmp_path / "made", made)
  (folder / "broken.png").write_bytes(b"no image")
  found = figures(tmp_path, f"--generated={folder}", f"--real={real}")
  assert found["counts"]["generated"] == COUNT
  assert "broken.png: not an image" in capsys.readouterr().err


def test_few_images_have_figures_and_a_note(sets, tmp_path, capsys):
  _, real, made, _ = sets
  folder = folder_of(tmp_path / "made", made[:3])
  found = figures(tmp_path, f"--generated={folder}", f"--real={real}")
  assert "precision" not in found["figures"]
  assert np.isfinite(found["figures"]["frechet_distance"]["mean"])
  said = capsys.readouterr().err
  assert "3 images are not more than the 6 features" in said
  assert "a mean over parts of 1 of the 3 images and cannot be above" in said


def test_images_that_cannot_be_compared_are_one_line(sets, tmp_path, capsys):
  folder, real, made, _ = sets
  typed = f"--real={real}"
  assert "give --workdir=RUN" in refused(capsys, f"--generated={folder}")
  assert "--real and --weights are of --generated" in refused(capsys, typed)
  one = folder_of(tmp_path / "one", made[:1])
  said = refused(capsys, f"--generated={one}", typed)
  assert "1 generated image cannot be compared: give 2 or more" in said
  mixed = folder_of(tmp_path / "mixed", made[:3])
  Image.new("RGB", (20, 20)).save(mixed / "001.png")
  said = refused(capsys, f"--generated={mixed}", typed)
  assert "has 20 x 20 pixels, and" in said
  assert "000.png has 16 x 16" in said
  wide = folder_of(tmp_path / "wide", made[:2, :, :8])
  said = refused(capsys, f"--generated={wide}", typed)
  assert "has 16 x 8 pixels: images must be square" in said
  small = folder_of(tmp_path / "small", made[:4, :8, :8])
  said = refused(capsys, f"--generated={folder}", f"--real={small}")
  assert "generated images have 16 pixels a side, and the real ones 8" in said
  (tmp_path / "empty").mkdir()
  said = refused(capsys, f"--generated={tmp_path / 'empty'}", typed)
  assert "no readable image" in said
  said = refused(capsys, f"--generated={tmp_path / 'none'}", typed)
  assert "none cannot be read: no such file" in said


def test_arrays_that_are_no_images_are_one_line(sets, tmp_path, capsys):
  folder = sets[0]
  path = tmp_path / "x.npz"
  for arrays, said in [
    ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "expected an array arr_0"),
    ({"arr_0": np.zeros((2, 4, 4, 3))}, "it has float64 (2, 4, 4, 3)"),
    ({"arr_0": np.zeros((2, 4, 4), np.uint8)}, "it has uint8 (2, 4, 4)"),
    ({"arr_0": np.zeros((0, 4, 4, 3), np.uint8)}, "its arr_0 is empty"),
  ]:
    np.savez(path, **arrays)
    assert said in refused(capsys, f"--generated={path}", f"--real={folder}")
  np.savez(path, mu=np.zeros(5), sigma=np.zeros((5, 4)))
  said = refused(capsys, f"--generated={folder}", f"--real={path}")
  assert "mu (5,) and sigma (5, 4)" in said
  for sigma in (np.full((6, 6), np.nan), -np.eye(6)):
    np.savez(path, mu=np.zeros(6), sigma=sigma)
    said = refused(capsys, f"--generated={folder}", f"--real={path}")
    assert "not finite, or variances below 0: make it again" in said
  np.savez(path, mu=np.zeros(5), sigma=np.eye(5))
  said = refused(capsys, f"--generated={folder}", f"--real={path}")
  assert "features of 5 and of 6 channels cannot be compared" in said


def test_a_backbone_without_weights_is_one_line(sets, capsys):
  folder, real, *_ = sets
  typed = [f"--generated={folder}", f"--real={real}"]
  said = refused(capsys, *typed, "--backbone=inception_v3_fid")
  assert "has no pretrained weights of its own: give a file" in said
  said = refused(capsys, *typed, "--backbone=convnet")
  assert "nobody knows at which size convnet takes images" in said


@pytest.mark.parametrize(("side", "size"), [(3, 7), (9, 4)])
def test_images_are_resized_as_for_the_fid(side, size):
  """Bilinear between the two nearest pixels, also where it makes smaller."""
  image = pictures(1, 0)[:, :side, :side]
  found = generation_features.resized(image, size, antialias=False)

  def along(rows):
    made = []
    for i in range(size):
      at = max((i + 0.5) * side / size - 0.5, 0)
      low = int(at)
      high = min(low + 1, side - 1)
      made.append(rows[low] * (1 - at + low) + rows[high] * (at - low))
    return np.stack(made)

  wanted = along(along(np.float64(image[0])).swapaxes(0, 1)).swapaxes(0, 1)
  np.testing.assert_allclose(found[0], wanted, atol=1e-3)


def test_grey_becomes_colour():
  grey = pictures(2, 0)[..., :1]
  found = generation_features.resized(grey, SIDE, antialias=True)
  np.testing.assert_array_equal(found, np.float32(grey.repeat(3, -1)))

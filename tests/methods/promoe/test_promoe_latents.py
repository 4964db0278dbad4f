"""Training on prepared latents, and the autoencoder that must be theirs."""

import dataclasses

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_imagenet
from protojax.datasets import latent_files
from protojax.diffusion import autoencoder_file
from protojax.diffusion.autoencoder import Autoencoder
from protojax.engine import descent
from protojax.engine.stage import steps
from protojax.methods.base import needed
from protojax.types import UserError

SIZE, CLASSES = 4, ("cat", "dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Six latent images of each split, of random values."""
  place = tmp_path_factory.mktemp("latents")
  rng = np.random.default_rng(0)
  names = [f"{i}.png" for i in range(6)]
  split = {"names": names, "labels": [0, 1] * 3}
  for name in ("train", "test"):
    rows = np.abs(rng.normal(size=(6, 2, SIZE, SIZE, 8))).astype(np.float16)
    np.save(latent_files.file(place, name, 0), rows)
  latent_files.write(
    place,
    {
      "complete": True,
      "autoencoder": "0" * 32,
      "image_size": 32,
      "size": SIZE,
      "channels": 4,
      "class_names": list(CLASSES),
      "splits": {"train": split, "test": split},
    },
  )
  return place


def config(folder, **space):
  made = promoe_imagenet.get_config("S").unlock()
  made.data.update(root=str(folder), image_size=SIZE)
  made.network.update(size="", channels=16, depth=2, heads=2)
  made.network.dtype = "float32"
  made.moe.routing = "dense"
  made.batch_size = 4
  made.space.update(space)
  return made


@pytest.mark.slow
def test_a_step_on_latents(folder):
  method = methods.load(config(folder))
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (stage,) = method.stages()
  stage = dataclasses.replace(stage, length=steps(1))
  moments = stage.optimizer.init(state.params)
  (update,) = descent.fit(stage, state, moments, parallel.key(0))
  metrics = parallel.to_host(update.metrics)
  # At the start nothing is predicted: noise less latents, of variances of 1.
  assert 1 < metrics["diffusion"] < 4


def test_mean_and_mirror_image_are_told_apart(folder):
  net = methods.load(config(folder)).network
  source = methods.load(config(folder)).dataset.source("train")
  batch = {
    name: np.stack([source[i][name] for i in range(6)])
    for name in ("latent", "flipped")
  }
  clean = np.asarray(net.space.clean(batch))
  np.testing.assert_array_equal(clean, batch["latent"][..., :4])
  keys = parallel.example_keys(parallel.key(0), np.arange(6))
  drawn = np.asarray(net.space.drawn(batch, keys))
  assert drawn.shape == clean.shape
  assert (drawn != clean).all()


def test_images_need_the_autoencoder_of_the_latents(folder, tmp_path):
  method = methods.load(config(folder))
  assert not method.assets
  with pytest.raises(UserError, match="which an autoencoder turns into images"):
    method.network.space.images({}, np.zeros((1, SIZE, SIZE, 4)))
  file = tmp_path / "other.safetensors"
  file.write_bytes(b"another autoencoder")
  digest = autoencoder_file.digest(file)[:8]
  other = methods.load(config(folder, autoencoder=str(file)))
  with pytest.raises(UserError, match=f"autoencoder 00000000, .* is {digest}"):
    next(other.stages())
  assert needed(method, "generates").class_names == CLASSES


def test_images_need_no_latents(tmp_path, monkeypatch):
  """Of a trained run, whose classes are known."""
  decoder = Autoencoder()
  monkeypatch.setattr(autoencoder_file, "read", lambda _: (decoder, {}))
  gone = config(tmp_path / "gone", autoencoder="vae.safetensors")
  method = methods.load(gone, CLASSES)
  assert method.network.space.autoencoder is decoder
  assert needed(method, "generates").class_names == CLASSES
  assert not method.dataset.sources
  with pytest.raises(UserError):
    method.stream("train")


def test_latents_of_other_channels_are_refused(folder):
  method = methods.load(config(folder, channels=8))
  said = r"latents of 4 channels, and --config.space.channels is 8: set .*=4"
  with pytest.raises(UserError, match=said):
    method.stream("train")
  assert len(methods.load(config(folder)).stream("train")) == 6

"""Latent images in files: written, stopped and gone on with, and read."""

import functools
import json

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax.data import images, stream
from protojax.data.resizing import ADM
from protojax.datasets import folder, latent_files, latents
from protojax.datasets.latent_files import Encoder
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes

_DIGEST = "0123456789abcdef" * 2


def _means(scale, state, batch):
  """Means of squares of four pixels as latents, and of the mirror image."""
  x = jnp.asarray(batch["image"], jnp.float32) * scale * state
  x = x.reshape(len(x), 4, 2, 4, 2, 3).mean((2, 4))[..., :2]
  return {"latents": jnp.stack([x, x[:, :, ::-1]], axis=1)}


def _encoder(digest=_DIGEST):
  encode = functools.partial(_means, 0.01)
  return Encoder(digest, np.float32(1), encode, 8, 4, 1, 4)


def _tree(count=5):
  return {
    f"{split}/{name}/{i}.jpg": fakes.jpeg(100 * k + i, 20, 11 + i)
    for split in ("train", "test")
    for k, name in enumerate(("cat", "dog"))
    for i in range(count if split == "train" else 2)
  }


def _data(home, **changed):
  data = {"root": str(home), "train": "train", "test": "test", "image_size": 4}
  return ConfigDict({**data, **changed})


def _prepare(source, output, digest=_DIGEST, stop_after=None):
  """How many images it said that it would encode."""
  said, done = [], []

  def advance():
    done.append(1)
    if len(done) == stop_after:
      raise KeyboardInterrupt

  outcome = latents.prepare(
    str(source), str(output), said.append, advance, _encoder(digest)
  )
  assert said == [len(done)]
  assert outcome.counts == {"train": 10, "test": 4}
  return said[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return fakes.pack(tmp_path_factory.mktemp("images"), _tree(), "folder")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, source):
  output = tmp_path_factory.mktemp("latents") / "out"
  with pytest.MonkeyPatch.context() as patch:
    for module in (latents, latent_files):
      patch.setattr(module, "SHARD", 4)
    assert _prepare(source, output) == 14
    yield output


def _expected(name):
  pixels = images.decode(_tree()[name])
  seen = ADM.frame(pixels.shape, 8).pixels(pixels)
  return 0.01 * np.float32(seen).reshape(4, 2, 4, 2, 3).mean((1, 3))[..., :2]


@pytest.mark.parametrize("split", ["train", "test"])
def test_holds_both_ways_of_the_cropped_image(prepared, split):
  found = latents.load(_data(prepared), split, 0)
  assert found.class_names == ("cat", "dog")
  assert len(found) == (10 if split == "train" else 4)
  np.testing.assert_array_equal(
    found.labels, np.repeat([0, 1], len(found) // 2)
  )
  for i in range(len(found)):
    example = found[i]
    expected = _expected(example["name"])
    np.testing.assert_allclose(example["latent"], expected, rtol=2e-3)
    np.testing.assert_array_equal(
      example["flipped"], example["latent"][:, ::-1]
    )
    assert example["label"] == found.labels[i]


def test_comes_in_batches(prepared):
  found = latents.load(_data(prepared), "train", 0)
  batches = stream.shuffled(found, 4, batch_size=4, seed=0).batches(stop=2)
  for batch in batches:
    assert batch["latent"].shape == batch["flipped"].shape == (4, 4, 4, 2)
    for row, i in enumerate(batch["index"].tolist()):
      np.testing.assert_array_equal(batch["latent"][row], found[i]["latent"])


def test_goes_on_where_it_was_stopped(prepared, source, tmp_path):
  with pytest.raises(KeyboardInterrupt):
    _prepare(source, tmp_path, stop_after=6)
  with pytest.raises(UserError, match="is not complete: run python -m protoj"):
    latents.load(_data(tmp_path), "train", 0)
  with pytest.raises(UserError, match=r"other latents \(autoencoder differ\)"):
    _prepare(source, tmp_path, "f" * 32)
  # Of the first six images, four are in a file.
  assert _prepare(source, tmp_path) == 10
  for path in sorted(prepared.iterdir()):
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
  with pytest.raises(UserError, match="is there already: remove it or take"):
    _prepare(source, tmp_path)


def test_reads_records_of_tfds_too(prepared, source, tmp_path):
  folder.prepare(source, str(tmp_path))
  home = tmp_path / "prepared" / "1.0.0"
  assert _prepare(home, tmp_path / "latents") == 14
  for split in ("train", "test"):
    found, expected = (
      latents.load(_data(root), split, 0)
      for root in (tmp_path / "latents", prepared)
    )
    assert found.class_names == expected.class_names
    known = {n.partition("/")[2]: i for i, n in enumerate(expected.names)}
    assert set(known) == {n.partition("/")[2] for n in found.names}
    for i, name in enumerate(found.names):
      other = expected[known[name.partition("/")[2]]]
      np.testing.assert_array_equal(found[i]["latent"], other["latent"])
      assert found[i]["label"] == other["label"]


def test_latents_of_another_autoencoder_are_refused(prepared):
  found = latents.load(_data(prepared), "train", 0)
  latent_files.require_autoencoder(found, _DIGEST, "vae.safetensors")
  with pytest.raises(UserError) as told:
    latent_files.require_autoencoder(found, "f" * 32, "vae.safetensors")
  assert str(told.value) == (
    f"{prepared} holds latents of the autoencoder 01234567, and vae.safetensors"
    " is ffffffff: give the file that they were prepared with, or prepare them"
    " with this one"
  )


@pytest.mark.parametrize(
  ("changed", "told"),
  [
    ({"root": ""}, "data.root is empty: give the folder that python -m protoj"),
    ({"image_size": 8}, r"image_size is 8; .* images of 4 x 4: set it to 4"),
    ({"augment": "flip"}, "augment=flip: latent images cannot be varied"),
    ({"train": "all"}, "has no split 'all'; it has train, test"),
  ],
)
def test_wrong_settings_are_told(prepared, changed, told):
  with pytest.raises(UserError, match=told):
    latents.load(_data(prepared, **changed), "train", 0)


def test_damage_is_told(prepared, source, tmp_path):
  with pytest.raises(UserError, match="holds no latents: give the folder"):
    latents.load(_data(tmp_path), "train", 0)
  with pytest.raises(UserError, match=r"is not a folder: unpack it"):
    _prepare(tmp_path / "images.tar", tmp_path / "out")
  for path in prepared.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  array = np.load(tmp_path / "train-00002.npy")
  np.save(tmp_path / "train-00002.npy", array[:1])
  with pytest.raises(UserError, match=r"float16 \(1, 2, 4, 4, 2\); expected"):
    latents.load(_data(tmp_path), "train", 0)
  (tmp_path / "train-00002.npy").unlink()
  with pytest.raises(UserError, match=r"train-00002\.npy is missing: run"):
    latents.load(_data(tmp_path), "train", 0)
  # The two images of that file.
  assert _prepare(source, tmp_path) == 2
  assert len(latents.load(_data(tmp_path), "train", 0)) == 10
  index = json.loads((tmp_path / "latents.json").read_text())
  del index["channels"]
  (tmp_path / "latents.json").write_text(json.dumps(index))
  with pytest.raises(UserError, match=r"latents\.json .*channels"):
    latents.load(_data(tmp_path), "train", 0)
  (tmp_path / "latents.json").unlink()
  with pytest.raises(UserError, match=r"has test-00000\.npy, and no index"):
    _prepare(source, tmp_path)


def test_latents_that_are_too_large_are_told(source, tmp_path):
  encoder = _encoder()._replace(state=np.float32(1e9))
  with pytest.raises(UserError, match=r"0\.jpg becomes latents up to .*e\+0"):
    latents.prepare(
      str(source), str(tmp_path), lambda n: None, lambda: None, encoder
    )

"""The autoencoder against a NumPy twin, and the reader of its files."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from protojax.diffusion import autoencoder_file, flips
from protojax.types import UserError
from tests.diffusion.foreign_autoencoder import Twin, tensors

_CONFIG = {"norm_num_groups": 2, "scaling_factor": 0.5, "_class_name": "x"}


def _saved(folder, found, config=_CONFIG):
  folder.mkdir(exist_ok=True)
  if config is not None:
    (folder / "config.json").write_text(json.dumps(config))
  save_file(found, folder / "weights.safetensors")
  return folder / "weights.safetensors"


@pytest.fixture(scope="module")
def read(tmp_path_factory):
  folder = tmp_path_factory.mktemp("autoencoder")
  return autoencoder_file.read(_saved(folder, tensors()))


def test_equals_the_twin(read):
  module, variables = read
  assert module.stride == 2
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (2, 4, 6, 3), np.uint8)

  def there_and_back(variables, images):
    latents = flips.encoded(module, variables, {"image": images})["latents"]
    mean = latents[:, 0, ..., :2]
    return latents, module.apply(variables, mean, method="decode")

  latents, back = jax.jit(there_and_back)(variables, images)
  assert latents.shape == (2, 2, 2, 3, 4)
  twin = Twin(tensors(), groups=2)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  for n, image in enumerate(images):
    for flip, seen in enumerate((image, image[:, ::-1])):
      mean, log_variance = twin.encode(seen.transpose(2, 0, 1) / 127.5 - 1)
      found = latents[n, flip].transpose(2, 0, 1)
      close(found[:2], 0.5 * mean)
      close(found[2:], 0.5 * np.exp(log_variance / 2))
      if not flip:
        close(back[n], twin.decode(mean).transpose(1, 2, 0))


def test_earlier_names_of_attention_are_read(read, tmp_path):
  """As convolutions, too."""
  _, variables = read
  older = {
    name: x[..., None, None] if ".attentions." in name and x.ndim == 2 else x
    for name, x in tensors(newer=False).items()
  }
  _, found = autoencoder_file.read(_saved(tmp_path, older))
  jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_files_of_another_network_are_told(tmp_path):
  with pytest.raises(UserError, match=r"no autoencoder: among 1 tensors \(x"):
    autoencoder_file.read(_saved(tmp_path, {"x": np.zeros(3, np.float32)}))
  found = tensors()
  found["decoder.conv_in.weight"] = np.zeros((8, 3, 3, 3), np.float32)
  found["more"] = found.pop("encoder.conv_out.bias")
  with pytest.raises(UserError, match=r"missing encoder\.conv_out") as told:
    autoencoder_file.read(_saved(tmp_path, found))
  assert "decoder.conv_in.weight has shape (3, 3, 3, 8)" in str(told.value)
  assert "superfluous more" in str(told.value)
  with pytest.raises(UserError, match=r"config\.json of the same model"):
    autoencoder_file.read(_saved(tmp_path / "bare", tensors(), None))
  for config, why in (
    ({"shift_factor": 0.1, **_CONFIG}, "shift_factor=0.1"),
    ({**_CONFIG, "scaling_factor": 0}, "expected one above 0"),
    ({**_CONFIG, "norm_num_groups": "x"}, "norm_num_groups"),
  ):
    with pytest.raises(UserError, match=why):
      autoencoder_file.read(_saved(tmp_path, tensors(), config))


def test_digests_tell_files_apart(tmp_path):
  one = _saved(tmp_path / "one", tensors())
  other = _saved(tmp_path / "other", tensors(seed=1))
  again = _saved(tmp_path / "again", tensors())
  found = [autoencoder_file.digest(path) for path in (one, other, again)]
  assert found[0] == found[2] != found[1]
  assert len(found[0]) == 32


def test_images_of_other_sides_are_told(read):
  module, variables = read
  with pytest.raises(ValueError, match=r"5 x 4; the autoencoder needs mult"):
    module.apply(variables, jnp.zeros((1, 5, 4, 3)), method="encode")

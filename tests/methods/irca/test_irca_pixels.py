"""Every pixel calibrated for itself: responses are streamed, not held."""

import tracemalloc

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import irca_folder
from protojax import methods, parallel
from protojax.datasets import acquisition, responses
from protojax.datasets import simulated_acquisition as simulated

pytestmark = pytest.mark.slow


@pytest.fixture
def held(monkeypatch):
  """Bytes that JAX holds, whenever some rows are read."""
  found = []
  read = responses.Responses.__getitem__

  def watched(self, i):
    if i % 16 == 0:
      found.append(sum(array.nbytes for array in jax.live_arrays()))
    return read(self, i)

  monkeypatch.setattr(responses.Responses, "__getitem__", watched)
  return found


def written(folder, pixels):
  """The source of an acquisition of so many pixels, in float32."""
  folder.mkdir()
  one = simulated.load(None, "test", 0)
  level = np.random.default_rng(0).uniform(0.5, 2, (pixels, 1, 1))
  np.save(folder / "data.npy", (level * one.data).astype(np.float32))
  np.save(folder / "norm.npy", one.norm[0])
  np.save(folder / "central_wavenumbers.npy", one.wavenumbers)
  data = {"root": str(folder), "sheet": "", "opd_step": simulated.STEP}
  return acquisition.load(ConfigDict(data), "test", 0)


def begun(method, source):
  """Step 3 on a source, and the state before it."""
  method.__dict__.update(source=source)
  method.__dict__.pop("_nominal", None)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  *first, last = method.stages()
  for stage in first:
    state, _ = stage.sweep(state, stage.data)
  return last, state


def test_memory_grows_with_what_is_found_alone(tmp_path, held):
  config = irca_folder.get_config("debug").unlock()
  config.update({"batch_size": 16, "refine": {"covariance": False}})
  method = methods.load(config.lock())
  # Enough for all batches that are read ahead.
  few, many = (written(tmp_path / str(n), n) for n in (8, 24))
  stage, state = begun(method, few)
  # What is compiled and imported once is not counted.
  stage.sweep(state, stage.data)
  most = []
  for source in (few, many):
    stage, state = begun(method, source)
    held.clear()
    tracemalloc.start()
    state, _ = stage.sweep(state, stage.data)
    _, of_numpy = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    most.append(of_numpy + max(held))
  apart = np.abs(
    state.params["interferometers"]["opd"].reshape(24, -1)
    - simulated.truth()["opd"]
  )
  assert np.median(apart) < 0.01
  # Results take 160 bytes of a fit, and some copies; its curves, which are read
  # as float64, 3,840.
  curves = 3 * 8 * simulated.SOURCES * (len(many) - len(few))
  assert most[1] - most[0] < curves / 4

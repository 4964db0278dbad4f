"""A classifier on corrupted images: figures, their table, and what is said."""

import contextlib
import types

import jax.numpy as jnp
import numpy as np
import pytest

from protojax.data import stream
from protojax.evaluation import printed_tables, robustness
from protojax.methods import base
from protojax.types import State
from tests.conftest import ArraySource


class _Grainy(ArraySource):
  """Smooth images, and the same with grain."""

  def __init__(self):
    super().__init__(16, 16, 2)
    rng = np.random.default_rng(0)
    grain = rng.choice([-40, 40], self.images.shape)
    fine = (self.labels == 1)[:, None, None, None]
    self.images = (120 + grain * fine).astype(np.uint8)


class _Detector:
  """Says "class 1" where neighbours differ by more than 20 grey levels."""

  config = types.SimpleNamespace(method="detector")
  capabilities = base.Capabilities(classifies=lambda method: method)

  def stream(self, split):
    assert split == "test"
    return stream.ordered(_Grainy(), 16, 4)

  def predict(self, state, batch):
    x = jnp.asarray(batch["image"], jnp.float32)
    rough = jnp.abs(x[:, 1:] - x[:, :-1]).mean(axis=(1, 2, 3)) / 40
    return {"probabilities": jnp.stack([1 - rough, rough], axis=1)}


@pytest.fixture
def run(monkeypatch):
  """Function: makes every folder a run of this method."""

  def make(method):
    loaded = method, State({}, {}, {}), types.SimpleNamespace()
    monkeypatch.setattr(robustness.loading, "load", lambda folder: loaded)
    described = lambda folder, config: contextlib.nullcontext()  # noqa: E731
    monkeypatch.setattr(robustness.loading, "described_by", described)

  return make


def test_what_rests_on_grain_does_not_bear_blur(run, tmp_path, monkeypatch):
  run(_Detector())
  few = {
    "jpeg": (90.0,),
    "blur": (0.25, 2.0),
    "resize": (0.5,),
    "noise": (60.0,),
  }
  monkeypatch.setattr(robustness, "STRENGTHS", few)
  found = robustness.measure(tmp_path)
  assert list(found) == ["clean", *few]
  assert found["clean"][""] == {"accuracy": 1.0, "ap": 1.0}
  assert found["blur"]["0.25"]["accuracy"] == 1.0
  assert found["blur"]["2"] == {"accuracy": 0.5, "ap": 1.0}
  assert found["resize"]["0.5"]["accuracy"] < 1
  # Noise makes smooth images rough.
  assert found["noise"]["60"]["accuracy"] < 1
  assert found["jpeg"]["90"]["accuracy"] == 1.0
  lines = printed_tables.robustness(found).splitlines()
  assert lines[0] == "| corruption | strength | accuracy | ap    |"
  assert "| blur       | 2        | 0.500    | 1.000 |" in lines

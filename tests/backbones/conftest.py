"""What the tests of foreign files share."""

import sys

import foreign_files
import pytest


@pytest.fixture
def torch():
  """As much of torch as its pickles name, for the time of a test."""
  before = dict(sys.modules)
  for name in before:
    if name.split(".")[0] == "torch":
      del sys.modules[name]
  for kind in "Float", "Double", "Half", "Long", "BFloat16", "QInt8":
    foreign_files.stand_in(f"torch.{kind}Storage")
  foreign_files.stand_in("torch._utils._rebuild_tensor_v2")
  yield sys.modules["torch"]
  for name in set(sys.modules) - set(before):
    del sys.modules[name]
  sys.modules.update(before)

"""What the tests of foreign files share."""

import pytest

from tests.backbones import foreign_files


@pytest.fixture
def torch():
  """As much of torch as its pickles name, for the time of a test."""
  with foreign_files.stand_ins() as module:
    yield module

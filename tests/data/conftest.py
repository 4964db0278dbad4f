"""The folders and the cache of `tests/datasets`."""

from tests.datasets.conftest import cache, data_config, make_folder  # noqa: F401

"""Each number of a config has a range, and is refused by its key outside."""

import importlib
import math
import re

from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from protojax import configuration, methods, ranges
from protojax.data import stream
from protojax.engine import seeds
from protojax.engine.stage import Fit, epochs
from protojax.types import UserError
from tests.test_configs import NAMES, ROOT

_HUGE = 10**25
# They have all keys of all configs.
_CONFIGS = (
  "comel_digits",
  "drivegen_scenes",
  "csr_composites",
  "csr_bccd",
  "epic_composites",
  "fopro_digits",
  "fopro_folder",
  "gapl_folder",
  "inp_former_folder",
  "irca_folder",
  "neurogaze_distill_digits",
  "noisy_pseudo_label_diffusion_folder",
  "patchct_folder",
  "pem_folder",
  "proactive_agents_scenes",
  "promoe_digits",
  "scaleprotoseg_folder",
  "protopnet_composites",
  "st_protopnet_composites",
  "tcsa_uda_digits",
  "text_to_image_driving",
  "text_to_image_scenes",
  "vsc_scenes",
)


def _config(name):
  config = importlib.import_module(f"configs.{name}").get_config()
  return config.copy_and_resolve_references().unlock()


def _numbers(tree, prefix=""):
  """Key -> number, or several of them in a tuple."""
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from _numbers(value, f"{prefix}{key}.")
      continue
    first = value[0] if isinstance(value, tuple) and value else value
    if type(first) in (int, float):
      yield prefix + key, value


def _set(config, key, value):
  *groups, last = key.split(".")
  for group in groups:
    config = config[group]
  config[last] = value


def test_every_number_of_every_config_is_tried():
  found = {}
  for name in NAMES:
    config = _config(name)
    found[name] = {
      (config.method, key) for key, _ in _numbers(config.to_dict())
    }
  tried = set().union(*map(found.get, _CONFIGS))
  assert tried == set().union(*found.values())


@pytest.mark.parametrize("name", _CONFIGS)
def test_no_number_is_taken_that_is_none_or_absurd(name):
  config = _config(name)
  for key, right in _numbers(config.to_dict()):
    # The comparisons that refuse these refuse infinity, too.
    wrong = [math.nan, 1e30, -1e30]
    if isinstance(right, int):
      wrong = [_HUGE, -_HUGE]
    if isinstance(right, tuple):
      wrong = [(right[0], value) for value in wrong]
    for value in wrong:
      _set(config, key, value)
      with pytest.raises(UserError, match=rf"config\.{re.escape(key)}\b"):
        # Data sets compare the keys that they alone have.
        methods.load(config).dataset.source("train")
    _set(config, key, right)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_numbers_are_in_their_ranges(name):
  module = importlib.import_module(f"configs.{name}")
  for variant in ("", *getattr(module, "VARIANTS", ())):
    methods.load(module.get_config(variant))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("joint.backbone", "nan", "joint.backbone is nan; it must be finite"),
    ("warm.weight_decay", "-1e-4", "is -0.0001; it must be a number from 0"),
    ("joint.drop", "1.5", "drop is 1.5; it must be a number from 0 to 1"),
    ("save_seconds", "nan", "save_seconds is nan; it must be a number from 0"),
    ("save_seconds", "inf", "save_seconds is inf; it must be"),
    ("seed", "9" * 5000, r"seed=9+ \.\.\. .*limit"),
    ("seed", str(_HUGE), "must be a whole number from 0 to 4,294,967,295"),
    # JAX would take it for 1.
    ("seed", str(2**32 + 1), "seed is 4294967297; it must be a whole number"),
    ("data.image_size", "100000", "is 100000; it must be a whole number from"),
    ("joint.epochs", "-1", "joint.epochs is -1; it must be a whole number"),
    ("data.validation_fraction", "1", "a number of at least 0 and below 1"),
    ("prune.threshold", "7", "threshold is 7; .* 0 to 6, the images that vote"),
  ],
)
def test_a_typed_number_is_refused_with_what_is_expected(key, value, message):
  file = str(ROOT / "configs/protopnet_photos.py:debug")
  with pytest.raises(UserError, match=message) as caught:
    methods.load(configuration.load(file, [f"--config.{key}={value}"]))
  assert "\n" not in str(caught.value)
  assert len(str(caught.value)) < 350


def test_keys_of_ones_own_method_must_be_finite():
  config = ConfigDict({"method": "mine.method", "mine": {"strength": 1e30}})
  ranges.require(config)
  for value in (math.inf, math.nan):
    config.mine.strength = value
    with pytest.raises(UserError, match=r"mine.strength is .*must be finite"):
      ranges.require(config)
  config.mine.strength, config.mine.steps = 1.0, (1.0, math.nan)
  with pytest.raises(UserError, match=r"mine.steps is \(1.0, nan\)"):
    ranges.require(config)


def test_the_last_of_several_seeds_is_a_seed(tmp_path):
  config = ConfigDict({"seed": 2**32 - 2, "seeds": 3})
  with pytest.raises(UserError, match="at seed 4294967296; a seed must be"):
    seeds.runs(tmp_path, config)
  assert len(seeds.runs(tmp_path, ConfigDict({"seed": 7, "seeds": 2}))) == 2


@pytest.mark.parametrize(
  ("known", "inside", "outside", "text"),
  [
    (
      ranges.whole(1, 3_000),
      (1, 3, np.int32(2)),
      (0, 3_001, 2.0, True, "2"),
      "a whole number from 1 to 3,000",
    ),
    (
      ranges.Range(0, 1),
      (0, 1, 0.5),
      (-0.1, math.nan, 10**400),
      "a number from 0 to 1",
    ),
    (
      ranges.Range(0, 0.5, above=True),
      (0.5, 1e-9),
      (0.0, None),
      "a number above 0 and at most 0.5",
    ),
    (
      ranges.Range(0, 1, above=True, below=True),
      (0.5, np.float32(0.1)),
      (0, 1),
      "a number above 0 and below 1",
    ),
  ],
)
def test_a_range_has_its_ends_and_says_so(known, inside, outside, text):
  assert all(value in known for value in inside)
  assert not any(value in known for value in outside)
  assert str(known) == text


def test_more_steps_than_are_counted_are_refused(array_source):
  data = stream.shuffled(array_source(count=30, size=1), 1, 1, 0, copies=1000)

  def loss(params, state, batch, now):
    raise AssertionError("not called")

  fit = Fit("joint", loss, data, optax.identity(), epochs(100_000))
  with pytest.raises(UserError, match="'joint' would take 3,000,000,000 steps"):
    fit.total_steps  # noqa: B018

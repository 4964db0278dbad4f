"""Configs of ProMoE: parameters as in the paper, settings that do not fit."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.configs import promoe_folder
from protojax.diffusion import processes
from protojax.diffusion.processes import Diffusion, Flow
from protojax.methods.promoe import settings
from protojax.methods.promoe.method import Method
from protojax.types import UserError


def config(**changes):
  made = promoe_folder.get_config().unlock()
  for key, value in changes.items():
    group, name = key.split("__")
    made[group][name] = value
  return made


def millions(made):
  """With the fixed table of positions, as the paper's code counts."""
  net = settings.network(made, 1000)
  shapes = jax.eval_shape(
    net.init,
    jax.random.key(0),
    jnp.zeros((1, 32, 32, 4)),
    jnp.zeros(1),
    jnp.zeros(1, jnp.int32),
  )
  total = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
  return (total + 256 * net.channels) / 1e6


@pytest.mark.parametrize(
  ("name", "total", "dense", "rounded"),
  [
    ("S", 75.54, 32.96, 75),
    pytest.param("B", 300.61, 130.51, 300, marks=pytest.mark.slow),
    pytest.param("L", 1062.68, 458.10, 1063, marks=pytest.mark.slow),
    ("XL", 1567.73, 675.13, 1568),
  ],
)
def test_parameters_are_as_many_as_in_the_paper(name, total, dense, rounded):
  sizes = {"network__size": name, "network__learn_sigma": True}
  found = millions(config(**sizes))
  assert found == pytest.approx(total, abs=0.006)
  assert found == pytest.approx(rounded, rel=0.01)
  plain = millions(config(**sizes, moe__routing="dense"))
  assert plain == pytest.approx(dense, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize(
  "routing", ["dense", "token_choice", "prototypical", "classes"]
)
def test_every_routing_has_as_many_parameters(routing):
  """Within the biases of a wider expert and the vectors of one more."""
  full = millions(config())
  found = millions(config(moe__routing=routing))
  if routing == "dense":
    assert found < full / 2
  else:
    assert found == pytest.approx(full, rel=0.005)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"moe__routing": "promo"}, "moe.routing='promo': choose from 'promoe'"),
    ({"moe__strategy": "loop"}, "moe.strategy='loop': choose from 'buckets'"),
    ({"moe__top_k": 13}, "moe.top_k=13 is more than --config.moe.experts=12"),
    ({"moe__every": 3}, "depth=8 does not divide by --config.moe.every=3"),
    ({"network__channels": 30}, "channels=30 must be a multiple of 4 and of"),
    ({"network__patch": 5}, "image_size=32 does not divide into patches"),
    ({"moe__strategy": "capacity"}, "spreads 13 experts .* over 2 devices"),
    ({"optimizer__average": 1.0}, "optimizer.average is 1.0"),
    ({"space__channels": 2}, "channels=2: images have 3 channels, or 1"),
    ({"space__kind": "latents"}, "kind=latents does not go with .*=folder"),
    ({"data__name": "latents"}, "kind=pixels does not go with .*=latents"),
    ({"network__ratio": 0.005}, "leaves 1 units for the 2 experts of a token"),
    ({"explanation__layer": 4}, "layer=4: the network has 4 mixtures, 0 to 3"),
    ({"explanation__layer": -5}, "or from the last one -1 to -4"),
  ],
)
def test_settings_that_do_not_fit_are_refused(changes, said):
  with pytest.raises(UserError, match=said):
    Method(config(**changes))


def test_the_way_out_of_uneven_shards_is_one():
  settings.require(config(moe__strategy="capacity", moe__experts=13))


def test_times_of_evaluation_are_quantiles_of_those_of_training():
  keys = jax.random.split(jax.random.key(0), 4000)
  for process in (Flow(), Diffusion()):
    drawn = np.asarray(process.draw(keys))
    grid = processes.grid(process, 4)
    below = (drawn[:, None] < grid).mean(0)
    np.testing.assert_allclose(below, [1 / 8, 3 / 8, 5 / 8, 7 / 8], atol=0.03)
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize("name", ["digits", "folder", "imagenet"])
def test_every_variant_is_accepted(name):
  module = importlib.import_module(f"protojax.configs.promoe_{name}")
  for variants in ("", *module.VARIANTS):
    settings.require(module.get_config(variants))

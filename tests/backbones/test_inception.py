"""Inception-v3 in both layouts: sizes of maps, poolings, files, a golden."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import inception
from protojax.heat import receptive_field
from protojax.types import UserError
from tests.backbones import formula
from tests.backbones.test_goldens import projected

# Projections of the map of 139 x 139 pixels, from the package pytorch-fid 0.3.0
# with the weights of `formula`.
GOLDEN = [-0.082388, 0.011466, -0.181443, -0.085292]


def test_maps_have_the_cells_of_the_paper():
  backbone, side = backbones.load("inception_v3_fid"), inception.SIZE
  # Shapes alone, which take seconds to trace.
  init = functools.partial(backbone.module.init_with_output, mutable=True)
  features, variables = jax.eval_shape(
    init, jax.random.key(0), jnp.zeros((1, side, side, 3))
  )
  assert features.shape == (1, 8, 8, 2048)
  cells = {"mixed_5": 35, "mixed_6": 17, "mixed_7": 8}
  for level in backbone.levels:
    (found,) = variables["intermediates"][level.name]
    wide = cells[level.name]
    assert found.shape == (1, wide, wide, level.channels)
  # The count of torchvision's network with 1000 classes, without its two heads.
  sizes = map(np.size, jax.tree.leaves(variables["params"]))
  assert sum(sizes) == 27_161_264 - 3_326_696 - 1000 * 2049
  field = receptive_field.chain(backbone.layers, side)
  assert features.shape[1:3] == (field.rows.cells, field.columns.cells)
  assert field.rows.jump == backbone.stride


@pytest.mark.parametrize(
  ("average", "padding"), [(True, True), (True, False), (False, False)]
)
def test_poolings_are_those_of_each_network(average, padding):
  x = np.float32(np.random.default_rng(0).normal(size=(1, 4, 3, 2)))
  wanted = np.zeros_like(x)
  for i in range(4):
    for j in range(3):
      seen = x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].reshape(-1, 2)
      mean = seen.sum(0) / (9 if padding else len(seen))
      wanted[0, i, j] = mean if average else seen.max(0)
  np.testing.assert_allclose(
    inception.pool(jnp.asarray(x), average, padding),
    wanted,
    rtol=1e-6,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  ("name", "other", "logits"),
  [
    ("inception_v3", "inception_v3_fid", 1008),
    ("inception_v3_fid", "inception_v3", 1000),
  ],
)
def test_a_file_of_the_other_network_is_refused(name, other, logits):
  (layout,) = backbones.load(name).layouts
  head = {"fc.weight": np.zeros((logits, 2048), np.float32)}
  with pytest.raises(UserError, match=f"{logits} logits .* backbone {other}"):
    layout.arrange(head)


@pytest.mark.slow
def test_features_are_those_of_the_fid():
  net = formula.net("inception_v3_fid", 139)
  variables = net.backbone.convert(net.checkpoint())
  features = jax.jit(net.backbone.module.apply)(
    variables, formula.images(net.image_size)
  )
  np.testing.assert_allclose(projected(features), GOLDEN, atol=1e-4)

"""A bank sharded over two devices against the same bank on each."""

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.losses import prototype as losses
from protojax.parallel import sharding
from protojax.prototypes import head
from protojax.prototypes.placement import LOCAL, Sharded

_LABELS = np.array([0, 1, 2, 3], np.int32)
_CLASSES = np.array([0, 0, 1, 2, 0, 1, 1, 2], np.int32)
_ALIVE = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)


def _distances():
  """Whole numbers, so that prototypes of both devices are equally near."""
  rng = np.random.default_rng(0)
  found = rng.integers(1, 4, (4, 8)).astype(np.float32)
  found[0, [0, 4]] = 0.5
  return found


def _terms(placement, own, distances, weight, labels, class_of, alive):
  """What a loss makes of one device's part; each image counts unequally."""
  met = distances, placement.meet(labels), class_of, alive
  cluster, _ = placement.smallest(*losses.cluster(*met))
  separation, there = placement.smallest(*losses.separation(*met))
  logits = placement.logits(head.logits(jnp.exp(-distances), weight, alive))
  norm = placement.total(jnp.sum(jnp.abs(weight)))
  rows = {"cluster": cluster, "separation": separation, "logits": logits}
  scale = own + 1.0
  total = jnp.sum(scale * (cluster - 0.3 * separation + logits[:, 1] ** 2))
  return total + norm * len(own), {**rows, "there": there}


def _slope(placement):
  def slope(own, *rest):
    def total(distances, weight):
      return _terms(placement, own, distances, weight, *rest[2:])

    return jax.value_and_grad(total, (0, 1), has_aux=True)(*rest[:2])

  return slope


def test_values_and_gradients_are_those_of_the_whole():
  weight = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
  own = np.arange(4, dtype=np.float32)
  rest = _distances(), weight, _LABELS, _CLASSES, _ALIVE
  (value, rows), slopes = jax.jit(_slope(LOCAL))(own, *rest)

  # Images over devices, prototypes over devices.
  along = 0, 1, 1, 0, 0, 0
  split = [
    sharding.to_shards(x, axis, 2)
    for x, axis in zip((own, *rest), along, strict=True)
  ]
  step = parallel.pmap(
    _slope(Sharded()), in_axes=along, out_axes=((0, 0), (1, 1))
  )
  (parts, part_rows), part_slopes = step(*split)
  np.testing.assert_allclose(parts.sum(), value, rtol=1e-5)
  for name, row in parallel.unshard(part_rows).items():
    np.testing.assert_allclose(row, rows[name], rtol=1e-5, err_msg=name)
  for part, slope in zip(part_slopes, slopes, strict=True):
    np.testing.assert_allclose(
      sharding.from_shards(np.asarray(part), 1), slope, rtol=1e-5, atol=1e-6
    )
  # Of two equally near ones the first alone was moved.
  assert rows["cluster"][0] == 0.5
  assert slopes[0][0, 0] - slopes[0][0, 4] > 0.5
  # No prototype is of class 3.
  assert rows["cluster"][3] == 0

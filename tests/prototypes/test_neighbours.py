"""What is kept of a stream, against a sort of the whole of it."""

import jax
import numpy as np
from numpy.testing import assert_array_equal

from protojax.prototypes import neighbours

COUNT, IMAGES, K = 5, 23, 4


def _stream(distances, payload, batch_size, order):
  for start in range(0, len(order), batch_size):
    rows = order[start : start + batch_size]
    pad = batch_size - len(rows)
    index = np.pad(rows, (0, pad), mode="edge").astype(np.int32)
    batch = {
      "index": index,
      "label": (index % 3).astype(np.int32),
      "valid": np.arange(batch_size) < len(rows),
    }
    yield distances[index], batch, {"cell": payload[index]}


def _kept(distances, payload, batch_size, order):
  add = jax.jit(neighbours.add)
  kept = neighbours.empty(COUNT, K, {"cell": payload[0, 0]})
  for found, batch, more in _stream(distances, payload, batch_size, order):
    kept = add(kept, found, batch, more)
  return kept


def test_the_nearest_of_a_stream_and_what_belongs_to_them():
  rng = np.random.default_rng(0)
  # Few values: many ties, where the smaller index comes first.
  distances = rng.integers(0, 6, (IMAGES, COUNT)).astype(np.float32)
  distances[3, 1] = np.nan
  payload = rng.normal(size=(IMAGES, COUNT, 2)).astype(np.float32)
  halves = np.array_split(rng.permutation(IMAGES), 2)
  devices = [_kept(distances, payload, 8, half) for half in halves]
  stacked = jax.tree.map(lambda *x: np.stack(x), *devices)
  found = neighbours.gathered(stacked)
  expected = np.where(np.isnan(distances), np.inf, distances)
  order = np.argsort(expected, axis=0, kind="stable")[:K].T
  columns = np.arange(COUNT)[:, None]
  assert_array_equal(found.images, order)
  assert_array_equal(found.labels, order % 3)
  assert_array_equal(found.distances, expected[order, columns])
  assert_array_equal(found.more["cell"], payload[order, columns])


def test_where_there_are_too_few_the_rest_says_so():
  distances = np.ones((2, COUNT), np.float32)
  payload = np.ones((2, COUNT, 2), np.float32)
  kept = _kept(distances, payload, 8, np.arange(2))
  found = neighbours.gathered(jax.tree.map(lambda x: np.asarray(x)[None], kept))
  assert_array_equal(found.images, [[0, 1, -1, -1]] * COUNT)
  assert_array_equal(found.labels[:, 2:], -1)
  assert np.isinf(found.distances[:, 2:]).all()

"""Queues, class means and averages, against loops in NumPy, on two devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.engine import memory
from protojax.engine.memory import Queue

SIZE, WIDTH, ROWS = 6, 3, 4


def _over_devices(step):
  """A step over two devices: (memory, one batch of rows) -> memory."""
  assert jax.device_count() == 2
  mapped = parallel.pmap(step, in_axes=(None, 0), out_axes=None)
  return lambda kept, batch: jax.device_get(mapped(kept, parallel.shard(batch)))


def _batches(count, rows=ROWS, seed=0):
  rng = np.random.default_rng(seed)
  for _ in range(count):
    yield {
      "rows": rng.normal(size=(rows, WIDTH)).astype(np.float32),
      "valid": rng.random(rows) < 0.7,
      "label": rng.integers(-1, 3, rows).astype(np.int32),
    }


def test_a_queue_holds_the_newest_rows_of_all_devices():
  step = _over_devices(lambda q, b: memory.enqueue(q, b["rows"], b["valid"]))
  queue, newest = jax.device_get(Queue.empty(SIZE, WIDTH)), []
  assert not queue.filled.any()
  for batch in _batches(5):
    queue = step(queue, batch)
    newest = [*newest, *batch["rows"][batch["valid"]]][-SIZE:]
    # A ring: from the next place on, the oldest comes first.
    order = (queue.place + np.arange(SIZE)) % SIZE
    held = queue.rows[order][queue.filled[order]]
    np.testing.assert_array_equal(held, np.stack(newest))
  assert queue.filled.all()


def test_a_queue_takes_all_rows_by_default_and_no_gradient():
  def loss(rows):
    step = functools.partial(memory.enqueue, Queue.empty(SIZE, WIDTH))
    added = parallel.pmap(step, in_axes=(0,), out_axes=None)
    return jnp.sum(added(rows).rows ** 2)

  rows = jnp.ones((2, 2, WIDTH))
  assert loss(rows) == 4 * WIDTH
  np.testing.assert_array_equal(jax.grad(loss)(rows), 0)


def test_a_batch_larger_than_the_queue_is_refused():
  step = _over_devices(lambda q, b: memory.enqueue(q, b["rows"]))
  batch = next(_batches(1, rows=8))
  with pytest.raises(ValueError, match="8 rows do not fit into a queue of 6"):
    step(Queue.empty(SIZE, WIDTH), batch)


def test_class_means_move_by_the_rows_of_all_devices():
  step = _over_devices(
    lambda means, b: memory.class_means(means, b["rows"], b["label"], 0.75)
  )
  means = np.zeros((3, WIDTH), np.float32)
  expected = means.copy()
  for batch in _batches(4, seed=1):
    means = step(means, batch)
    for k in range(3):
      own = batch["rows"][batch["label"] == k]
      if len(own):
        expected[k] = 0.75 * expected[k] + 0.25 * own.mean(axis=0)
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)


def test_an_average_is_the_closed_form():
  """From 0 towards a constant 1: 1 - decay**n."""
  average, now = {"w": np.zeros(2)}, {"w": np.ones(2)}
  for n in range(1, 6):
    average = memory.ema(average, now, 0.9)
    np.testing.assert_allclose(average["w"], 1 - 0.9**n, rtol=1e-6)

"""Rows of a frozen network, kept for as long as it stays."""

import numpy as np

from protojax.data import stream as stream_lib
from protojax.engine.cached import Cached
from protojax.types import State


def _state(scale=2.0):
  params = {"frozen": np.float32(scale), "head": np.float32(1)}
  return State(params=params, statistics={}, buffers={})


def _mean(state, batch):
  images = batch["image"].astype("float32")
  return {"mean": state.params["frozen"] * images.mean(axis=(1, 2, 3))}


def _twice(state, batch):
  return {"twice": 2 * batch["mean"]}


def _frozen(state):
  return state.params["frozen"]


def _all(kept, state, stream, name, **options):
  parts = [
    batch[name][batch["valid"]]
    for batch in kept.batches(state, stream, **options)
  ]
  return np.concatenate(parts)


def test_rows_stand_in_for_images(array_source):
  source = array_source(count=10, size=8)
  stream = stream_lib.ordered(source, 8, 4)
  kept = Cached(_mean, _frozen)
  expected = 2 * source.images.mean(axis=(1, 2, 3))
  np.testing.assert_allclose(
    _all(kept, _state(), stream, "mean"), expected, rtol=1e-6
  )
  # Not one image is read again, by whatever stream of the source.
  source.images[:] = 0
  again = stream_lib.ordered(source, 8, 6, cache_bytes=0)
  found = _all(kept, _state(), again, "mean")
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert all("image" not in b for b in kept.batches(_state(), again))
  # Until what they are made with has changed.
  assert not np.any(_all(kept, _state(3.0), again, "mean"))


def test_some_rows_of_a_source_share_those_of_all(array_source):
  source = array_source(count=10, size=8)
  kept, rows = Cached(_mean, _frozen), [7, 2, 5]
  some = stream_lib.ordered(source, 8, 4, rows=rows)
  expected = 2 * source.images.mean(axis=(1, 2, 3))
  found = _all(kept, _state(), some, "mean")
  np.testing.assert_allclose(found, expected[rows], rtol=1e-6)
  source.images[:] = 0
  found = _all(kept, _state(), some.whole(), "mean")
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_are_made_of_batches_of_one_size(array_source):
  """Whatever the stream: a resumed run has the same rows, to the last bit."""
  sizes = []

  def mean(state, batch):
    sizes.append(len(batch["image"]))
    return _mean(state, batch)

  stream = stream_lib.ordered(array_source(count=10, size=8), 8, 8)
  rows = Cached(mean, _frozen, batch_size=3).rows(_state(), stream)
  assert rows["mean"].shape == (10,)
  # Rounded up to two devices, half a batch on each.
  assert set(sizes) == {2}


def test_rows_can_be_made_of_rows(array_source):
  source = array_source(count=6, size=8)
  stream = stream_lib.ordered(source, 8, 4)
  first = Cached(_mean, _frozen)
  second = Cached(_twice, _frozen, after=first)
  expected = 4 * source.images.mean(axis=(1, 2, 3))
  found = _all(second, _state(), stream, "twice")
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_does_not_fit_stays_with_its_images(array_source):
  source = array_source(count=10, size=8)
  stream = stream_lib.ordered(source, 8, 4)
  kept = Cached(_mean, _frozen, limit=8)
  assert _all(kept, _state(), stream, "image").shape == (10, 8, 8, 3)
  # Then it pays to ask only for those that are wanted.
  wanted = np.array([1, 7, 8])
  found = _all(kept, _state(), stream, "index", only=wanted)
  np.testing.assert_array_equal(found, wanted)

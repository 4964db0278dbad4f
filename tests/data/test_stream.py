"""Batches by step: order, padding, shares of a process, memory."""

import functools
import gc
import threading

import jax
import numpy as np
import pytest

from protojax import parallel
from protojax.data import memory
from protojax.data import stream as stream_lib
from protojax.types import UserError


class Planted:
  """Image i has the value i; the indices of decoded images are kept."""

  class_names = ("a", "b", "c")
  skipped = ()

  def __init__(self, count=23):
    self.labels = (np.arange(count) % 3).astype(np.int32)
    self.decoded = []

  def __len__(self):
    return len(self.labels)

  def __getitem__(self, i):
    self.decoded.append(int(i))
    image = np.full((6, 9, 3), i, np.uint8)
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}

  def name(self, i):
    return f"{i}"


def check(batch, source, size=4):
  """Every row is the example that its index says."""
  rows = len(batch["index"])
  assert {k: v.dtype for k, v in batch.items()} == {
    "label": np.int32,
    "index": np.int32,
    "valid": bool,
    "image": np.uint8,
  }
  expected = np.broadcast_to(
    batch["index"][:, None, None, None], (rows, size, size, 3)
  )
  np.testing.assert_array_equal(batch["image"], expected)
  np.testing.assert_array_equal(batch["label"], source.labels[batch["index"]])


def indices(stream, *args):
  batches = stream.batches(*args, read_images=False)
  return np.concatenate([b["index"] for b in batches])


def test_ordered_pads_the_last_batch_and_says_so():
  source = Planted()
  # Rounded up from 5: a batch divides over the two devices.
  stream = stream_lib.ordered(source, 4, 5)
  assert stream.batch_size == 6
  assert len(stream) == 23
  assert stream.steps_per_epoch == 4
  assert stream.image_size == 4
  assert not stream.varies
  batches = list(stream.batches())
  for batch in batches:
    check(batch, source)
  index = np.concatenate([b["index"] for b in batches])
  valid = np.concatenate([b["valid"] for b in batches])
  np.testing.assert_array_equal(index[valid], np.arange(23))
  assert index[~valid].tolist() == [22]
  (third,) = stream.batches(2, 3)
  assert third["index"].tolist() == [12, 13, 14, 15, 16, 17]


def test_chosen_examples_come_in_the_order_given():
  source = Planted()
  batches = list(stream_lib.ordered(source, 4, 4).some([20, 3, 11, 7, 5]))
  for batch in batches:
    check(batch, source)
  index = np.concatenate([b["index"] for b in batches])
  valid = np.concatenate([b["valid"] for b in batches])
  assert index.tolist() == [20, 3, 11, 7, 5, 5, 5, 5]
  assert valid.tolist() == 5 * [True] + 3 * [False]


def test_a_limit_is_spread_over_the_source():
  stream = stream_lib.ordered(Planted(), 4, 4)
  (batch,) = stream.spread(3)
  assert batch["index"][batch["valid"]].tolist() == [0, 11, 22]
  for limit in (None, 23, 99):
    assert sum(int(b["valid"].sum()) for b in stream.spread(limit)) == 23


def test_shuffled_covers_each_epoch_once_in_another_order():
  source = Planted(24)
  stream = stream_lib.shuffled(source, 4, 6, seed=3, augment="flip")
  assert stream.steps_per_epoch == 4
  epochs = indices(stream, 0, 40).reshape(10, 24)
  np.testing.assert_array_equal(
    np.sort(epochs), np.tile(np.arange(24), (10, 1))
  )
  assert len({tuple(e) for e in epochs}) == 10
  for batch in stream.batches(0, 8):
    check(batch, source)
    assert batch["valid"].all()


def test_shuffled_drops_the_remainder():
  stream = stream_lib.shuffled(Planted(23), 4, 6, seed=0)
  epochs = indices(stream, 0, 12 * 3).reshape(12, 18)
  assert all(len(set(e)) == 18 for e in epochs)
  # Another remainder each time: no example is left out for ever.
  assert set(epochs.ravel()) == set(range(23))


def test_an_epoch_may_have_every_image_several_times():
  once = stream_lib.shuffled(Planted(), 4, 6, seed=3)
  often = stream_lib.shuffled(Planted(), 4, 6, seed=3, copies=30)
  assert often.steps_per_epoch == 30 * once.steps_per_epoch == 90
  # The batches are the same; only the length of an epoch differs.
  np.testing.assert_array_equal(indices(often, 0, 9), indices(once, 0, 9))


def test_any_step_is_read_directly():
  stream = stream_lib.shuffled(Planted(), 4, 5, seed=7)
  whole = indices(stream, 0, 30)
  np.testing.assert_array_equal(indices(stream, 13, 21), whole[13 * 5 : 21 * 5])
  far = indices(stream, 10**6, 10**6 + 1)
  assert len(set(far)) == 5
  assert list(stream.batches(3, 3)) == []


def test_order_depends_on_the_seed_alone():
  first = indices(stream_lib.shuffled(Planted(), 4, 5, seed=1), 0, 8)
  again = indices(stream_lib.shuffled(Planted(), 4, 5, seed=1), 0, 8)
  other = indices(stream_lib.shuffled(Planted(), 4, 5, seed=2), 0, 8)
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  indices(stream_lib.shuffled(Planted(), 4, 5, seed=-1), 0, 1)


def test_rows_are_some_of_the_source_and_keep_their_index():
  source, rows = Planted(), [20, 3, 11, 7, 5, 2, 17]
  stream = stream_lib.shuffled(source, 4, 3, seed=2, rows=rows)
  assert len(stream) == 7
  assert stream.steps_per_epoch == 2
  epochs = indices(stream, 0, 40).reshape(20, 6)
  assert all(len(set(e)) == 6 for e in epochs)
  assert set(epochs.ravel()) == set(rows)
  for batch in stream.batches(0, 4):
    check(batch, source)
  # Those of other rows are not labels of the stream.
  assert (stream.labels[rows] == source.labels[rows]).all()
  assert (np.delete(stream.labels, rows) == -1).all()
  assert len(stream.whole()) == 23
  assert (stream.whole().labels == source.labels).all()


def test_rows_in_their_order():
  source, rows = Planted(), np.array([20, 3, 11, 7, 5])
  stream = stream_lib.ordered(source, 4, 4, rows=rows)
  batches = list(stream.batches())
  for batch in batches:
    check(batch, source)
  index = np.concatenate([b["index"] for b in batches])
  valid = np.concatenate([b["valid"] for b in batches])
  assert index.tolist() == [20, 3, 11, 7, 5, 5, 5, 5]
  assert valid.sum() == 5
  (batch,) = stream.spread(3)
  assert batch["index"][batch["valid"]].tolist() == [20, 11, 5]
  # The memory is that of the whole source.
  list(stream_lib.ordered(source, 4, 4).batches())
  assert sorted(source.decoded) == list(range(23))


def test_all_rows_are_the_stream_without_rows():
  plain = indices(stream_lib.shuffled(Planted(), 4, 5, seed=7), 0, 9)
  whole = stream_lib.shuffled(Planted(), 4, 5, seed=7, rows=range(23))
  np.testing.assert_array_equal(indices(whole, 0, 9), plain)


def test_weights_draw_in_proportion_by_seed_and_epoch():
  weights = np.arange(23) % 4
  make = functools.partial(
    stream_lib.shuffled, Planted(), 4, 5, weights=weights
  )
  drawn = indices(make(seed=3), 0, 4000)
  counts = np.bincount(drawn, minlength=23)
  expected = weights / weights.sum()
  assert (counts[weights == 0] == 0).all()
  deviation = np.sqrt(20000 * expected * (1 - expected)) + 1e-9
  assert (np.abs(counts - 20000 * expected) < 4.5 * deviation).all()
  # Any step is read directly; epochs (of 4 steps) and seeds differ.
  np.testing.assert_array_equal(indices(make(seed=3), 13, 21), drawn[65:105])
  epochs = drawn.reshape(-1, 20)[:50]
  assert len({tuple(e) for e in epochs}) == 50
  assert (indices(make(seed=4), 0, 4) != drawn[:20]).any()
  some = make(seed=3, rows=[1, 2, 3, 4, 5])
  assert set(indices(some, 0, 50)) == {1, 2, 3, 5}


def test_labels_in_place_of_the_sources():
  given = np.full(23, -1)
  given[[4, 9]] = 2
  stream = stream_lib.shuffled(Planted(), 4, 5, seed=0, labels=given)
  for read_images in (True, False):
    for batch in stream.batches(0, 4, read_images=read_images):
      np.testing.assert_array_equal(batch["label"], given[batch["index"]])
      assert batch["label"].dtype == np.int32
  np.testing.assert_array_equal(stream.labels, given)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"rows": [3, 23] * 5}, "rows hold 23, expected positions from 0 to 22"),
    ({"rows": [-1] * 5}, "rows hold -1"),
    ({"rows": np.ones(5, bool)}, "rows are bool, expected positions"),
    ({"rows": [1, 2]}, "2 training images are fewer than a batch of 5"),
    ({"weights": [1.0] * 5}, r"weights have shape \(5,\), expected one for"),
    ({"weights": [-1.0] * 23}, "weights must be finite, and 0 or more"),
    ({"weights": [np.nan] * 23}, "weights must be finite, and 0 or more"),
    ({"weights": np.zeros(23)}, "all weights are 0"),
    ({"labels": np.zeros(23)}, "labels are float64, expected classes"),
    ({"labels": [0] * 22 + [3]}, "labels are from 0 to 3, expected -1"),
    ({"labels": [0]}, r"labels have shape \(1,\)"),
    ({"columns": {"a": np.ones(5)}}, "column 'a' has 5 values, .* 23 rows"),
  ],
)
def test_choices_that_cannot_be_made(given, message):
  with pytest.raises(UserError, match=message):
    stream_lib.shuffled(Planted(), 4, 5, seed=0, **given)


@pytest.mark.parametrize("make", [
  lambda s: stream_lib.shuffled(s, 4, 6, seed=1),
  lambda s: stream_lib.ordered(s, 4, 6),
  lambda s: stream_lib.shuffled(s, 4, 6, seed=1, weights=np.arange(23) % 3),
  lambda s: stream_lib.shuffled(s, 4, 6, seed=1, padded=True,
                                columns={"row": np.arange(23)}),
])  # fmt: skip
@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_every_batch(make, count, monkeypatch):
  source = Planted()
  whole = list(make(source).batches(0, 4))
  shares = []
  for number in range(count):
    monkeypatch.setattr(
      parallel, "process_index_count", lambda n=number: (n, count)
    )
    shares.append(list(make(source).batches(0, 4)))
  for step, batch in enumerate(whole):
    for key, value in batch.items():
      joined = np.concatenate([share[step][key] for share in shares])
      np.testing.assert_array_equal(joined, value)


def test_batch_must_divide_over_processes(monkeypatch):
  monkeypatch.setattr(parallel, "process_index_count", lambda: (0, 4))
  stream = stream_lib.ordered(Planted(), 4, 6)
  with pytest.raises(UserError, match="batch_size 6 does not divide over 4"):
    stream.batches()


def test_labels_without_images_touch_no_file():
  source = Planted()
  (batch, *_) = stream_lib.ordered(source, 4, 5).batches(read_images=False)
  assert set(batch) == {"label", "index", "valid"}
  assert source.decoded == []


def test_chosen_examples():
  source = Planted()
  stream = stream_lib.shuffled(source, 4, 5, seed=0)
  batch = stream.examples([7, 3, 3])
  check(batch, source)
  assert batch["index"].tolist() == [7, 3, 3]
  assert batch["valid"].all()
  np.testing.assert_array_equal(stream.labels, source.labels)


def test_each_image_is_decoded_once_for_all_streams():
  source = Planted(20)
  ordered = stream_lib.ordered(source, 4, 5)
  shuffled = stream_lib.shuffled(source, 4, 5, seed=0)
  list(ordered.batches())
  assert sorted(source.decoded) == list(range(20))
  for batch in shuffled.batches(0, 8):
    check(batch, source)
  assert len(source.decoded) == 20
  list(stream_lib.ordered(source, 5, 5).batches())  # another size
  assert len(source.decoded) == 40


def test_the_memory_keeps_to_its_limit():
  source = Planted(24)
  stream = stream_lib.ordered(source, 4, 6, cache_bytes=8 * 4 * 4 * 3)
  for _ in range(2):
    for batch in stream.batches():
      check(batch, source)
  assert len(source.decoded) == 24 + 16


def test_a_stream_for_one_pass_keeps_nothing():
  source = Planted(20)
  stream = stream_lib.ordered(source, 4, 5).once()
  for _ in range(2):
    for batch in stream.batches():
      check(batch, source)
  assert len(source.decoded) == 40


def test_the_memory_goes_with_its_streams():
  gc.collect()
  before = len(memory._MEMORIES)
  stream = stream_lib.ordered(Planted(), 4, 5)
  assert len(memory._MEMORIES) == before + 1
  del stream
  gc.collect()
  assert len(memory._MEMORIES) == before


def test_a_stream_left_early_stops_its_threads():
  before = threading.active_count()
  stream = stream_lib.shuffled(Planted(), 4, 5, seed=0)
  batches = stream.batches(0, 1000)
  next(batches)
  batches.close()
  gc.collect()
  for thread in threading.enumerate():
    if thread.name.startswith("grain-prefetch"):
      thread.join(300)
  assert threading.active_count() <= before


def test_noise_follows_the_example_not_the_device(array_source):
  """The same images meet the same noise whatever their place in the batch."""
  stream = stream_lib.shuffled(array_source(), 16, 8, 1, augment="crop,flip")
  assert stream.varies
  (batch,) = stream.batches(0, 1)
  varied = jax.jit(stream.varied)
  order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
  whole = np.asarray(varied(batch, parallel.key(3))["image"])
  mixed = varied({k: v[order] for k, v in batch.items()}, parallel.key(3))
  np.testing.assert_array_equal(whole[order], mixed["image"])


def test_a_stream_without_augmentation_does_not_vary():
  stream = stream_lib.ordered(Planted(), 4, 4)
  assert not stream.varies
  batch = stream.examples([0])
  same = stream.varied(batch, parallel.key(0))
  assert all(same[name] is value for name, value in batch.items())


def test_errors_of_the_source_reach_the_reader():
  class Broken(Planted):
    def __getitem__(self, i):
      raise UserError(f"image {i} is broken")

  with pytest.raises(UserError, match="is broken"):
    list(stream_lib.ordered(Broken(), 4, 5).batches())


def test_bad_streams():
  with pytest.raises(UserError, match="23 training images are fewer than"):
    stream_lib.shuffled(Planted(), 4, 24, seed=0)
  with pytest.raises(UserError, match="no augmentation 'flop'"):
    stream_lib.shuffled(Planted(), 4, 5, seed=0, augment="flop")
  with pytest.raises(UserError, match="batch_size 0 must be positive"):
    stream_lib.ordered(Planted(), 4, 0)
  with pytest.raises(ValueError, match="give stop"):
    stream_lib.shuffled(Planted(), 4, 5, seed=0).batches()

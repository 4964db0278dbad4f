"""Shuffled epochs that end in a padded batch, and columns of rows."""

import functools

import numpy as np

from protojax.data import stream as stream_lib
from tests.conftest import ArraySource


def test_a_padded_epoch_has_each_row_once_with_its_columns():
  source = ArraySource(23, 6, 3)
  rows = np.array([20, 3, 3, 3, 5, 2, 17], np.int32)
  number = np.arange(7, dtype=np.int32)
  make = functools.partial(
    stream_lib.shuffled, source, 4, 4, 2, rows=rows, columns={"row": number}
  )
  stream = make(padded=True)
  assert stream.steps_per_epoch == 2
  layout = {k: (x.shape, x.dtype) for k, x in stream.layout().items()}
  for epoch in range(5):
    batches = list(stream.batches(2 * epoch, 2 * epoch + 2))
    for batch in batches:
      np.testing.assert_array_equal(batch["index"], rows[batch["row"]])
      assert {k: (x.shape, x.dtype) for k, x in batch.items()} == layout
    row, valid = (
      np.concatenate([b[name] for b in batches]) for name in ("row", "valid")
    )
    assert valid.tolist() == 7 * [True] + [False]
    assert sorted(row[valid]) == list(range(7))
  assert make(padded=True, copies=3).steps_per_epoch == 6
  # Without padding the remainder is dropped.
  (batch,) = make().batches(0, 1)
  assert batch["valid"].all()
  assert make().steps_per_epoch == 1
  # It may be less than a batch.
  few = make(rows=rows[:3], columns={"row": number[:3]}, padded=True)
  (batch,) = few.batches(0, 1)
  assert batch["valid"].tolist() == [True, True, True, False]

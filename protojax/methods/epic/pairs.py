"""Pairs of a channel and an image that it chose, for the paper's descent.

In a round each of D channels chooses N images. The D N pairs are shuffled and
go through in batches (Borycki et al., section 4, and the authors' code, whose
batch is 512 pairs). Only their numbers are held: two integers for each pair.
"""

import dataclasses

import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.datasets.dataset import Dataset
from protojax.types import State, UserError


def stream(
  dataset: Dataset, channels: int, images: int, size: int, order: str
) -> Stream:
  """Shuffled pairs of a round, in batches with the "channel" of each.

  The last batch of an epoch has what remains, and padding. Which images the
  pairs have is known when the round begins; see `chosen`.

  Args:
    dataset: of the training images.
    channels: D.
    images: N, that each channel chooses; all if there are not so many.
    size: pairs of a batch.
    order: name of the round, which draws its orders.

  Raises:
    UserError: a batch does not divide over the devices.
  """
  if size % (devices := parallel.device_count()):
    raise UserError(
      f"--config.rotation.pairs={size} does not divide over {devices} devices:"
      f" use a multiple of {devices}."
    )
  images = min(images, len(dataset.source("train")))
  return dataset.shuffled(
    order=order,
    rows=np.tile(np.arange(images, dtype=np.int32), channels),
    columns={"channel": np.repeat(np.arange(channels, dtype=np.int32), images)},
    padded=True,
    batch_size=size,
  )


def chosen(state: State, data: Stream) -> Stream:
  """The stream, with the images "chosen" by the channels of a state.

  Raises:
    UserError: a channel chose too few.
  """
  images = np.asarray(state.buffers["chosen"])
  count = len(data) // len(images)
  rows = images[:, :count].reshape(-1).astype(np.int32)
  if np.any(rows < 0):
    channel = int(np.argmax(rows < 0)) // count
    raise UserError(
      f"channel {channel} chose fewer than {count} images: its values for the"
      " others are not finite; see the backbone and its weights"
    )
  return dataclasses.replace(data, rows=rows)

"""A data stream of a few arrays, in any order, for push and prune."""

import numpy as np

CLASS_NAMES = ("ash", "birch", "cedar")


class ArrayStream:
  """Images held in memory; the last batch is padded with image 0."""

  def __init__(self, images, labels, batch_size=4, order=None):
    self.images = images
    self.labels = labels
    self.batch_size = batch_size
    self.order = np.arange(len(images)) if order is None else order

  def batches(self):
    for start in range(0, len(self.order), self.batch_size):
      index = self.order[start : start + self.batch_size]
      mask = np.arange(self.batch_size) < len(index)
      index = np.resize(index, self.batch_size).astype(np.int32)
      index = np.where(mask, index, 0).astype(np.int32)
      yield {**self.examples(index), "valid": mask}

  def examples(self, indices):
    return {
      "image": self.images[indices],
      "label": self.labels[indices],
      "index": np.asarray(indices, np.int32),
    }


def photographs(count=22, seed=0):
  """Images of noise 5x4 and labels of three classes."""
  generator = np.random.default_rng(seed)
  images = generator.integers(0, 256, (count, 5, 4, 3), np.uint8)
  labels = np.arange(count, dtype=np.int32) % 3
  return images, labels


def embed(state, batch):
  """Every pixel is a cell; the add-on's gain makes the features."""
  gain = state.params["add_on"]["gain"]
  return batch["image"].astype(np.float32) / 255 * gain

"""Each class has one prototype, the mean of its vectors: a sweep finds it."""

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.datasets.dataset import Dataset
from protojax.engine.stage import Pass
from protojax.methods.base import NO_ASSETS, Capabilities
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import State
from toyshop.vectors import WIDTH


class Nearest:
  """The classes, in the order of the logits."""

  def __init__(self, method):
    self.class_names = method.dataset.class_names
    self.groups = Groups(CLASS, self.class_names)


def summed(state, carry, batch):
  """Adds the vectors of a batch to the sums of their classes."""
  del state
  sums, counts = carry
  own = jax.nn.one_hot(batch["label"], len(counts)) * batch["valid"][:, None]
  return sums + own.T @ batch["vector"], counts + own.sum(0)


class Method:
  """The toy, as its config says."""

  splits = ("train", "test")
  assets = NO_ASSETS
  capabilities = Capabilities(classifies=Nearest)

  def __init__(self, config, class_names=None):
    self.config = config
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names
    )

  def init(self, key):
    """Zeros."""
    del key
    count = len(self.dataset.class_names)
    return State({"bank": {"vectors": jnp.zeros((count, WIDTH))}}, {}, {})

  def stages(self):
    """A single sweep."""
    yield Pass("mean", self.mean, self.stream("train"))

  def mean(self, state, data):
    """Every prototype becomes the mean of its class."""
    count = len(self.dataset.class_names)
    carry = np.zeros((count, WIDTH), np.float32), np.zeros(count, np.float32)
    sums, counts = parallel.fold(summed, state, carry, data.batches())
    means = sums.sum(0) / counts.sum(0)[:, None]
    return state.replace(params={"bank": {"vectors": means}}), {}

  def stream(self, split):
    """The vectors of a split in source order."""
    return self.dataset.ordered(split)

  def predict(self, state, batch):
    """Logits: minus the squared distances."""
    apart = batch["vector"][:, None] - state.params["bank"]["vectors"][None]
    logits = -jnp.sum(apart**2, axis=-1)
    return {"logits": logits, "probabilities": jax.nn.softmax(logits)}

  def evaluate(self, state, split):
    """Accuracy."""
    right = [
      (np.argmax(rows["logits"], axis=1) == batch["label"])[batch["valid"]]
      for batch, rows in parallel.each(
        self.predict, state, self.stream(split).batches()
      )
    ]
    return {"accuracy": float(np.concatenate(right).mean())}

  def summary(self, state, stages):
    """Nothing more."""
    del state, stages
    return {}

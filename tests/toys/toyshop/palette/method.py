"""Prototypes are the colours that images are painted of; nothing has a label.

Each pixel pulls the nearest colour.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protojax import parallel
from protojax.datasets.dataset import Dataset
from protojax.engine.stage import Fit, epochs
from protojax.engine.terms import Aux, Term
from protojax.methods.base import NO_ASSETS, Capabilities
from protojax.types import State

COLOURS = 4


class Method:
  """The toy, as its config says."""

  splits = ("train", "test")
  assets = NO_ASSETS
  capabilities = Capabilities()

  def __init__(self, config, class_names=None):
    del class_names
    self.config = config
    self.dataset = Dataset(config.data, config.seed, config.batch_size)

  def init(self, key):
    """Random colours."""
    colours = jax.random.uniform(key, (COLOURS, 3))
    return State({"bank": {"vectors": colours}}, {}, {})

  def stages(self):
    """Gradient descent alone."""
    yield Fit(
      "mix",
      self.loss,
      self.dataset.shuffled("flip"),
      optax.sgd(0.5, momentum=0.5),
      epochs(self.config.epochs),
    )

  def apart(self, params, batch):
    """Squared distance of each pixel to its nearest colour [b H W]."""
    pixels = jnp.asarray(batch["image"], jnp.float32) / 255
    colours = params["bank"]["vectors"][None, None, None]
    apart = pixels[..., None, :] - colours
    return jnp.sum(apart**2, axis=-1).min(-1)

  def loss(self, params, state, batch, now):
    """The mean squared distance."""
    del state, now
    apart = self.apart(params, batch).mean((1, 2))
    return {"distance": Term(apart.sum(), len(apart))}, Aux()

  def stream(self, split):
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  def predict(self, state, batch):
    """How badly the colours paint an image."""
    return {"error": self.apart(state.params, batch).mean((1, 2))}

  def evaluate(self, state, split):
    """The mean error."""
    found = [
      rows["error"][batch["valid"]]
      for batch, rows in parallel.each(
        self.predict, state, self.stream(split).batches()
      )
    ]
    return {"error": float(np.concatenate(found).mean())}

  def summary(self, state, stages):
    """Nothing more."""
    del state, stages
    return {"headline": "error"}

"""The three stages of gradient descent of a concept model (CSR, section 5).

They train the presence of concepts, then their prototypes, then the classes.
Each stage freezes what the one before has learned, so the second and the third
use cached rows.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool
import numpy as np
import optax

from protojax import parallel
from protojax.data.stream import Stream
from protojax.engine.cached import Cached
from protojax.engine.stage import Aux, Fit, Length
from protojax.losses.prototype import cross_entropy
from protojax.methods.csr import losses
from protojax.methods.csr.network import ConceptNetwork
from protojax.types import Array, Batch, PyTree, State

Present = Bool[np.ndarray, "n c"]


def presence(
  network: ConceptNetwork,
  present: Present,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
  *,
  features: Cached,
  frozen: bool,
  train_norm: bool,
) -> Fit:
  """Stage 1: binary cross entropy of the means of the concept maps.

  Args:
    network: whose concept head learns.
    present: which concepts each training image shows.
    data: shuffled batches.
    optimizer: of the group "concepts" and, unless frozen, "backbone".
    length: in epochs or steps.
    features: cached rows of the frozen backbone.
    frozen: the backbone does not learn, and its features are cached.
    train_norm: BatchNorm uses the batch, if the backbone learns.
  """

  def loss(
    params: PyTree, state: State, batch: Batch, key: Array
  ) -> tuple[Array, Array, Aux]:
    del key
    statistics, found = state.statistics, batch.get("features")
    if found is None:
      found, statistics = network.features(
        params, statistics, batch["image"], train_norm
      )
    logits = network.concept_logits(params, found)
    shown = jnp.asarray(present)[batch["index"]]
    entropy = jnp.sum(losses.presence(logits, shown))
    right = jnp.mean((logits > 0) == shown, axis=1)
    metrics = {"cross_entropy": entropy, "concept_accuracy": jnp.sum(right)}
    return entropy, jnp.float32(len(logits)), Aux(statistics, metrics)

  if not frozen:
    return Fit("concepts", loss, data, optimizer, length)
  return Fit("concepts", loss, data, optimizer, length, cached=features)


def likeness(
  name: str,
  network: ConceptNetwork,
  present: Present,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
  *,
  features: Cached,
  gamma: float,
  scale: float,
  margin: float,
) -> Fit:
  """Stage 2: prototypes attract the vectors of their concept (eqs. 6-9).

  The loss is a sum over the concepts of an image, and a mean over images.

  Args:
    name: of the stage.
    network: whose projector and prototypes learn.
    present: which concepts each training image shows.
    data: shuffled batches.
    optimizer: of the groups "projector" and "prototypes".
    length: in epochs or steps.
    features: cached rows of the frozen backbone.
    gamma: see `losses.relaxed_maximum`.
    scale, margin: see `losses.concept_contrast`.
  """

  def loss(
    params: PyTree, state: State, batch: Batch, key: Array
  ) -> tuple[Array, Array, Aux]:
    del key
    projected = network.project(params, batch["vectors"])
    similar = losses.relaxed_maximum(network.cosines(params, projected), gamma)
    shown = jnp.asarray(present)[batch["index"]]
    contrast = losses.concept_contrast(similar, scale, margin)
    total = jnp.sum(jnp.where(shown, contrast, 0.0))
    own = jnp.argmax(similar, axis=2) == jnp.arange(shown.shape[1])[None]
    found = {
      "concepts_shown": jnp.sum(shown, dtype=jnp.float32),
      "concepts_told": jnp.sum(shown & own, dtype=jnp.float32),
    }
    # Divided by images, not by vectors, of which a batch may have none.
    return total, jnp.float32(len(shown)), Aux(state.statistics, found)

  return Fit(
    name,
    loss,
    data,
    optimizer,
    length,
    cached=Cached(network.vector_rows, after=features),
  )


def task(
  network: ConceptNetwork,
  data: Stream,
  optimizer: optax.GradientTransformation,
  length: Length,
  *,
  features: Cached,
  dropout: float,
) -> Fit:
  """Stage 3: cross entropy of the classes, from the scores.

  Args:
    network: whose task head learns.
    data: shuffled batches.
    optimizer: of the group "head".
    length: in epochs or steps.
    features: cached rows of the frozen backbone.
    dropout: probability that a concept of an image is rejected, as a person
      might do, so that the head learns to do without it.
  """
  concepts = len(network.concept_names)

  def loss(
    params: PyTree, state: State, batch: Batch, key: Array
  ) -> tuple[Array, Array, Aux]:
    scores, labels = batch["scores"], batch["label"]
    if dropout:
      draw = functools.partial(
        jax.random.bernoulli, p=dropout, shape=(concepts,)
      )
      dropped = jax.vmap(draw)(parallel.example_keys(key, batch["index"]))
      scores = network.rejected(state, scores, dropped)
    logits = network.logits(params, state, scores)
    entropy = jnp.sum(cross_entropy(logits, labels))
    correct = jnp.argmax(logits, axis=1) == labels
    found = {
      "cross_entropy": entropy,
      "accuracy": jnp.sum(correct.astype(jnp.float32)),
    }
    return entropy, jnp.float32(len(labels)), Aux(state.statistics, found)

  return Fit(
    "task head",
    loss,
    data,
    optimizer,
    length,
    cached=Cached(network.score_rows, after=features),
  )

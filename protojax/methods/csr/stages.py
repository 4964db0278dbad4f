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
from protojax.engine.stage import Fit, Length
from protojax.engine.terms import Aux, Now, Term
from protojax.losses.prototype import cross_entropy
from protojax.methods.csr import losses
from protojax.methods.csr.network import ConceptNetwork
from protojax.types import Batch, PyTree, State

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
    params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    del now
    statistics, found = state.statistics, batch.get("features")
    if found is None:
      found, statistics = network.features(
        params, statistics, batch["image"], train_norm
      )
    logits = network.concept_logits(params, found)
    shown = jnp.asarray(present)[batch["index"]]
    entropy = jnp.sum(losses.presence(logits, shown))
    right = jnp.mean((logits > 0) == shown, axis=1)
    count = len(logits)
    return (
      {"cross_entropy": Term(entropy, count)},
      Aux(
        statistics, metrics={"concept_accuracy": Term(jnp.sum(right), count)}
      ),
    )

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
    params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    del now
    projected = network.project(params, batch["vectors"])
    similar = losses.relaxed_maximum(network.cosines(params, projected), gamma)
    shown = jnp.asarray(present)[batch["index"]]
    contrast = losses.concept_contrast(similar, scale, margin)
    total = jnp.sum(jnp.where(shown, contrast, 0.0))
    own = jnp.argmax(similar, axis=2) == jnp.arange(shown.shape[1])[None]
    images = len(shown)
    return (
      {"contrast": Term(total, images)},
      Aux(
        metrics={
          "concepts_shown": Term(jnp.sum(shown, dtype=jnp.float32), images),
          "concepts_told": Term(
            jnp.sum(shown & own, dtype=jnp.float32), images
          ),
        }
      ),
    )

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
    params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    scores, labels = batch["scores"], batch["label"]
    if dropout:
      draw = functools.partial(
        jax.random.bernoulli, p=dropout, shape=(concepts,)
      )
      keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
      dropped = jax.vmap(draw)(keys)
      scores = network.rejected(state, scores, dropped)
    logits = network.logits(params, state, scores)
    entropy = jnp.sum(cross_entropy(logits, labels))
    correct = jnp.argmax(logits, axis=1) == labels
    count = len(labels)
    return (
      {"cross_entropy": Term(entropy, count)},
      Aux(metrics={"accuracy": Term(jnp.sum(correct), count)}),
    )

  return Fit(
    "task head",
    loss,
    data,
    optimizer,
    length,
    cached=Cached(network.score_rows, after=features),
  )

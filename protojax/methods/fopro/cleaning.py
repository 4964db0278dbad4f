"""Which labels of the web are kept, changed or dropped.

u is the vote of classifier and prototypes on an image's class, rho the score of
the relation module. Few-shot images are trusted: nothing changes them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import ArrayLike

# Mode of cleaning, by the number that the authors' code has.
NOTHING, VOTE, RELATION, BOTH = range(4)


class Cleaned(NamedTuple):
  """What becomes of the images of a batch.

  Fields are typed as Any, as in `moving.Prototypes`.

  Attributes:
    label: int32 [b], the given one or a new one.
    kept: False for images that are dropped.
    replaced: whether vote or relation gave the label, if it is the same, too.
    confidence: w, the vote for the given label.
    score: rho, the relation of the given label; 0 where it was not asked.
  """

  label: Any
  kept: Any
  replaced: Any
  confidence: Any
  score: Any


def of_label(
  rows: Float[ArrayLike, "b k"], labels: Int[ArrayLike, " b"]
) -> Float[jax.Array, " b"]:
  """The entry of each row at its label."""
  return jnp.take_along_axis(jnp.asarray(rows), labels[:, None], axis=1)[:, 0]


def vote(
  logits: Float[ArrayLike, "b k"],
  near: Float[ArrayLike, "b k"] | None,
  labels: Int[ArrayLike, " b"],
  trusted: Bool[ArrayLike, " b"],
  alpha: float,
) -> Float[jax.Array, "b k"]:
  """u = alpha softmax(logits) + (1 - alpha) softmax(s / t), without gradient.

  Args:
    logits: of the classifier.
    near: cosines to the prototypes by their temperatures, s / t; None before
      there are prototypes: the vote is the classifier's.
    labels: as they were given.
    trusted: few-shot images, whose vote is their label.
    alpha: share of the classifier.
  """
  found = jax.nn.softmax(jnp.asarray(logits))
  if near is not None:
    found = alpha * found + (1 - alpha) * jax.nn.softmax(near)
    own = jax.nn.one_hot(labels, found.shape[-1])
    found = jnp.where(jnp.asarray(trusted)[:, None], own, found)
  return jax.lax.stop_gradient(found)


def cleaned(
  mode: int,
  votes: Float[ArrayLike, "b k"],
  relations: Float[ArrayLike, "b k"] | None,
  labels: Int[ArrayLike, " b"],
  trusted: Bool[ArrayLike, " b"],
  threshold: float,
) -> Cleaned:
  """Cleans a batch by one of the authors' rules.

  A label is kept if its vote is above 1 / k, or its relation above the
  threshold. It is replaced by the best class if the vote for that is above the
  threshold and, where the relation is asked, that of the given label is not.

  Args:
    mode: NOTHING changes nothing; VOTE and RELATION ask one of the two, BOTH
      both.
    votes: u.
    relations: rho; None for modes that do not ask.
    labels: as they were given.
    trusted: few-shot images, which are kept as they are.
    threshold: gamma.

  Raises:
    ValueError: the mode asks the relation, and there is none.
  """
  votes, labels = jnp.asarray(votes), jnp.asarray(labels)
  trusted = jnp.asarray(trusted)
  given = of_label(votes, labels)
  if mode in (NOTHING, VOTE):
    score, believed = jnp.zeros_like(given), jnp.zeros_like(trusted)
  elif relations is None:
    raise ValueError(f"mode {mode} needs the relation")
  else:
    score = of_label(relations, labels)
    believed = score > threshold
  if mode == NOTHING:
    everyone = jnp.ones_like(trusted)
    return Cleaned(labels, everyone, ~everyone, given, score)
  asked = jnp.asarray(relations) if mode == RELATION else votes
  sure = jnp.max(asked, axis=1) > threshold
  replaced = sure & ~trusted & ~believed
  label = jnp.where(replaced, jnp.argmax(asked, axis=1), labels)
  kept = believed | replaced | trusted
  if mode != RELATION:
    kept = kept | (given > 1 / votes.shape[-1])
  return Cleaned(label.astype(labels.dtype), kept, replaced, given, score)


def apart(
  vectors: Float[ArrayLike, "k d"],
  cosines: Float[ArrayLike, "b k"],
  labels: Int[ArrayLike, " b"],
) -> Float[jax.Array, " b"]:
  """How far an image's cosines are from those of its class's prototype.

  0.5 |c_y . c_y - s_y| + 0.5 sum over the other classes of |c_y . c_k - s_k|.

  Args:
    vectors: prototypes.
    cosines: s.
    labels: y.
  """
  vectors = jnp.asarray(vectors)
  between = jnp.matmul(
    vectors[labels], vectors.T, precision=jax.lax.Precision.HIGHEST
  )
  return 0.5 * jnp.sum(jnp.abs(between - cosines), axis=-1)

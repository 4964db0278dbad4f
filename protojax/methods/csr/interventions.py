"""The answer of a concept model after an intervention of a person.

"Look here" and "not there" come as an importance of each cell; "do not trust
this concept" rejects it. Both act on the similarities before the head (CSR,
section 6, eqs. 12-13). The functions take one image; `jax.vmap` runs them over
many images or interventions.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.prototypes import distance
from protojax.types import ArrayLike


@struct.dataclass
class Readout:
  """The arrays that turn similarities into an answer.

  Attributes:
    prototypes: of length one, [p d].
    concept_of: the concept of each prototype, int32 [p].
    alive: prototypes that count, bool [p].
    weight: of the head, [k p].
    bias: of the head, [k].
    absent: score of each prototype if its concept is rejected, [p].
  """

  # Any: tree transformations store axes and stacked arrays here.
  prototypes: Any
  concept_of: Any
  alive: Any
  weight: Any
  bias: Any
  absent: Any


@struct.dataclass
class Answer:
  """The answer to one image.

  Attributes:
    logits: [k].
    concept_scores: the best score of each concept's prototypes, [c].
    contributions: of each concept to the logit of the predicted class, [c].
    best: the prototype of each concept with the best score, int32 [c].
    maps: similarity of that prototype to every cell, times the importance,
      [h w c].
  """

  logits: Any
  concept_scores: Any
  contributions: Any
  best: Any
  maps: Any


def pooled(
  embedded: Float[ArrayLike, "h w d"],
  prototypes: Float[ArrayLike, "p d"],
  importance: Float[ArrayLike, "h w"],
) -> Float[jax.Array, " p"]:
  """Scores: the largest similarity of each prototype over the cells (eq. 13).

  Negative similarities are 0, so that more importance never lowers a score.
  Cell by cell, so that the maps `h w p` are never held.
  """
  directions = distance.direction(embedded).reshape(-1, embedded.shape[-1])
  flat = distance.direction(prototypes)

  def step(
    best: Float[jax.Array, " p"], cell: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, None]:
    z, a = cell
    similar = jnp.matmul(flat, z, precision=distance.PRECISION)
    return jnp.maximum(best, a * similar), None

  cells = directions, jnp.asarray(importance).reshape(-1)
  best, _ = jax.lax.scan(step, jnp.zeros(len(prototypes)), cells)
  return best


def rejected_scores(
  scores: Float[ArrayLike, " p"],
  rejected: Bool[ArrayLike, " c"],
  concept_of: Int[ArrayLike, " p"],
  absent: Float[ArrayLike, " p"],
) -> Float[jax.Array, " p"]:
  """Scores with those of rejected concepts replaced by `absent`."""
  return jnp.where(jnp.asarray(rejected)[concept_of], absent, scores)


def predict_with(
  embedded: Float[ArrayLike, "h w d"],
  readout: Readout,
  importance: Float[ArrayLike, "h w"],
  rejected: Bool[ArrayLike, " c"],
) -> Answer:
  """The answer after an intervention.

  With importance 1 everywhere and nothing rejected it is the answer without an
  intervention.

  Args:
    embedded: features of one image.
    readout: prototypes and head.
    importance: of every cell, in [0, 1].
    rejected: which concepts are rejected.
  """
  r, alive = readout, jnp.asarray(readout.alive)
  scores = pooled(embedded, r.prototypes, importance)
  scores = rejected_scores(scores, rejected, r.concept_of, r.absent)
  scores = jnp.where(alive, scores, 0.0)
  weight = jnp.where(alive[None], r.weight, 0.0)
  logits = jnp.matmul(weight, scores, precision=distance.PRECISION) + r.bias
  concepts = jnp.arange(len(rejected))[:, None]
  belongs = alive[None] & (jnp.asarray(r.concept_of)[None] == concepts)
  best = jnp.argmax(jnp.where(belongs, scores[None], -1.0), axis=1)
  points = weight[jnp.argmax(logits)] * scores
  chosen = distance.direction(r.prototypes)[best]
  similar = jnp.einsum(
    "hwd,cd->hwc",
    distance.direction(embedded),
    chosen,
    precision=distance.PRECISION,
  )
  return Answer(
    logits,
    jnp.max(jnp.where(belongs, scores[None], 0.0), axis=1),
    jnp.sum(jnp.where(belongs, points[None], 0.0), axis=1),
    best.astype(jnp.int32),
    jnp.maximum(similar, 0.0) * jnp.asarray(importance)[..., None],
  )

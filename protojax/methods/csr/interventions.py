"""What a person says to a concept model, and what it answers then.

"Look here", "not there" become an importance map over the cells; "this concept
is not to be trusted" rejects it. Both act on the similarities before the head
(CSR, section 6, eqs. 12-13), on the features of one image, so that `jax.vmap`
asks many questions about it at once.
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
  """What turns similarities into an answer.

  Attributes:
    prototypes: of length one, [p d].
    concept_of: the concept of each prototype, int32 [p].
    alive: prototypes that count, bool [p].
    weight: of the head, [k p].
    bias: of the head, [k].
    absent: the score a prototype has once its concept is rejected, [p].
  """

  # Any, since tree transformations put axes and whole stacks in.
  prototypes: Any
  concept_of: Any
  alive: Any
  weight: Any
  bias: Any
  absent: Any


@struct.dataclass
class Answer:
  """What the model says of one image.

  Attributes:
    logits: [k].
    concept_scores: the best score of each concept's prototypes, [c].
    contributions: what each concept adds to the predicted class's logit, [c].
    best: the prototype of each concept that has the best score, int32 [c].
    maps: its similarity in every cell, times the importance, [h w c].
  """

  logits: Any
  concept_scores: Any
  contributions: Any
  best: Any
  maps: Any


def importance_map(
  boxes_pos: Float[ArrayLike, "n 4"],
  boxes_neg: Float[ArrayLike, "m 4"],
  alpha: float | jax.Array,
  grid: tuple[int, int],
) -> Float[jax.Array, "h w"]:
  """How much every cell counts: A of eq. 12.

  1 in a positive box, 0 in a negative one, which wins where both lie. The rest
  is `alpha` if there is a positive box, otherwise 1: who says only where not to
  look has said nothing about the rest. A box covers the cells whose centres lie
  in it, and always the cell at its own centre.

  Args:
    boxes_pos: (top, left, bottom, right) in shares of the image; a box without
      area is padding.
    boxes_neg: the same.
    alpha: in [0, 1].
    grid: rows and columns of the cells.
  """
  positive, negative = _covered(boxes_pos, grid), _covered(boxes_neg, grid)
  rest = jnp.where(jnp.any(positive), alpha, 1.0)
  return jnp.where(negative, 0.0, jnp.where(positive, 1.0, rest))


def pooled(
  embedded: Float[ArrayLike, "h w d"],
  prototypes: Float[ArrayLike, "p d"],
  importance: Float[ArrayLike, "h w"],
) -> Float[jax.Array, " p"]:
  """Scores: the largest similarity of each prototype over the cells (eq. 13).

  Negative similarities are 0, so that more importance never lowers a score.
  One cell after the other: the maps `h w p` are never held.
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
  """What the model says once it was told where to look and what to leave out.

  With an importance of 1 everywhere and nothing rejected it is what the model
  says by itself.

  Args:
    embedded: features of one image.
    readout: prototypes and head.
    importance: of every cell, in [0, 1].
    rejected: which concepts are.
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


def _covered(
  boxes: Float[ArrayLike, "n 4"], grid: tuple[int, int]
) -> Bool[jax.Array, "h w"]:
  """The cells of at least one box."""
  top, left, bottom, right = jnp.moveaxis(jnp.asarray(boxes), -1, 0)[
    :, :, None, None
  ]
  height, width = grid
  rows, columns = jnp.arange(height)[None, :, None], jnp.arange(width)
  columns = columns[None, None]
  y, x = (rows + 0.5) / height, (columns + 0.5) / width
  inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
  own = _cell((top + bottom) / 2, height) == rows
  own &= _cell((left + right) / 2, width) == columns
  real = (top < bottom) & (left < right)
  return jnp.any(real & (inside | own), axis=0)


def _cell(share: jax.Array, cells: int) -> jax.Array:
  return jnp.clip(jnp.floor(share * cells), 0, cells - 1)

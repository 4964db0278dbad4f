"""Relations of classes: those of their features, and those of their words.

The loss named VLCoL compares two matrices of classes: how alike the mean
features of two classes are, and how alike their texts are. There are three
modes. "copt" and "gram_parity" follow the code that they are named after;
"relation" is ours and the default (docs/tcsa_uda.md says why).
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax import parallel
from protojax.types import Array, ArrayLike

Mode = Literal["relation", "copt", "gram_parity"]
MODES: tuple[str, ...] = get_args(Mode)

# Classes that a matrix needs to say something.
_FEWEST = {"relation": 3, "copt": 2, "gram_parity": 2}
_HIGHEST = jax.lax.Precision.HIGHEST
_EPSILON = 1e-12
_KEPT = 0.5  # of CoPT's memory


class Means(NamedTuple):
  """Mean features of each class in a batch of all devices.

  Attributes:
    vectors: 0 of classes that no pixel has.
    there: whether a pixel of the batch has the class.
  """

  vectors: Float[Array, "k d"]
  there: Bool[Array, " k"]


def class_means(
  features: Float[ArrayLike, "b h w d"],
  labels: Int[ArrayLike, "b h w"],
  classes: int,
) -> Means:
  """Means over the pixels of all devices; the gradient goes through them.

  Args:
    features: of this device's cells.
    labels: their classes; others than 0..k-1 are left out.
    classes: k.
  """
  features = jnp.asarray(features, jnp.float32)
  own = jax.nn.one_hot(jnp.asarray(labels), classes)
  sums = jnp.einsum("bhwk,bhwd->kd", own, features, precision=_HIGHEST)
  counts = jnp.sum(own, axis=(0, 1, 2))
  sums, counts = parallel.gather((sums[None], counts[None]))
  counts = jnp.sum(counts, axis=0)
  vectors = jnp.sum(sums, axis=0) / jnp.maximum(counts, 1)[:, None]
  return Means(vectors, counts > 0)


def blended(
  old: Float[ArrayLike, "k d"],
  known: Bool[ArrayLike, " k"],
  means: Means,
  decay: float,
) -> tuple[Float[Array, "k d"], Bool[Array, " k"]]:
  """decay * old + (1 - decay) * now; the first value of a class is copied.

  A class that is not in the batch keeps what it had. The gradient goes through
  what is new.

  Args:
    old: running means; constant.
    known: classes that have one.
    means: of the batch.
    decay: the share of what was.
  """
  old = jax.lax.stop_gradient(jnp.asarray(old))
  known = jnp.asarray(known)
  moved = decay * old + (1 - decay) * means.vectors
  found = jnp.where(known[:, None], moved, means.vectors)
  found = jnp.where(means.there[:, None], found, old)
  return found, known | means.there


def gram(vectors: Float[ArrayLike, "k d"]) -> Float[Array, "k k"]:
  """Cosines of all pairs of rows; 0 of a row of zeros."""
  vectors = jnp.asarray(vectors, jnp.float32)
  squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
  # Of zeros the root has no gradient.
  unit = vectors * jax.lax.rsqrt(jnp.maximum(squares, _EPSILON))
  return jnp.matmul(unit, unit.T, precision=_HIGHEST)


def correlations(vectors: Float[ArrayLike, "k d"]) -> Float[Array, "k k"]:
  """Pearson correlations of all pairs of rows."""
  return gram(_centred(vectors))


def covariances(vectors: Float[ArrayLike, "k d"]) -> Float[Array, "k k"]:
  """X X^T / (d - 1) of rows that are centred over their own features."""
  x = _centred(vectors)
  return jnp.matmul(x, x.T, precision=_HIGHEST) / max(x.shape[1] - 1, 1)


def _centred(vectors: Float[ArrayLike, "k d"]) -> Float[Array, "k d"]:
  vectors = jnp.asarray(vectors, jnp.float32)
  return vectors - jnp.mean(vectors, axis=-1, keepdims=True)


def of_vectors(
  vectors: Float[ArrayLike, "k d"], mode: str
) -> Float[Array, "k k"]:
  """The matrix that a mode compares."""
  if mode == "relation":
    return correlations(vectors)
  return covariances(vectors) if mode == "copt" else gram(vectors)


def distance(
  image: Float[Array, "k k"],
  text: Float[ArrayLike, "k k"],
  there: Bool[ArrayLike, " k"],
  mode: str,
) -> Float[Array, ""]:
  """1 - the cosine of two matrices; 0 of too few classes.

  In "relation", only pairs of two classes count, and their mean is taken off on
  both sides: it is 1 - the correlation of the two relations.

  Args:
    image: of features.
    text: of words; constant.
    there: classes that count.
    mode: one of `MODES`.
  """
  there = jnp.asarray(there)
  pairs = (there[:, None] & there[None]).astype(jnp.float32)
  text = jax.lax.stop_gradient(jnp.asarray(text, jnp.float32))
  if mode == "relation":
    pairs = pairs * (1 - jnp.eye(len(pairs)))
    count = jnp.maximum(jnp.sum(pairs), 1)
    image, text = (x - jnp.sum(x * pairs) / count for x in (image, text))
  image, text = image * pairs, text * pairs
  product = jnp.sum(image * text)
  squares = jnp.sum(image**2) * jnp.sum(text**2)
  found = 1 - product * jax.lax.rsqrt(jnp.maximum(squares, _EPSILON))
  return jnp.where(jnp.sum(there) >= _FEWEST[mode], found, 0.0)


class Memory(NamedTuple):
  """Running means of the embedding by class, of source and target together.

  Attributes:
    vectors: of each class.
    known: classes that have one.
  """

  vectors: Float[ArrayLike, "k d"]
  known: Bool[ArrayLike, " k"]

  @classmethod
  def empty(cls, classes: int, channels: int) -> "Memory":
    """Of no class."""
    return cls(jnp.zeros((classes, channels)), jnp.zeros(classes, bool))


def compared(
  means: Means,
  text: Float[ArrayLike, "k k"],
  memory: Memory,
  mode: str,
  decay: float,
  detached: bool,
) -> tuple[Float[Array, ""], Memory]:
  """The loss of a batch, and the memory after it.

  Args:
    means: of the batch.
    text: relations of the words, in the form of the mode.
    memory: before the batch; "relation" has no use for it.
    mode: "relation" takes the batch's own means. "copt" blends them with the
      memory in equal parts, of classes that the batch has. "gram_parity" takes
      the running means of all classes seen so far.
    decay: of the memory, in "gram_parity".
    detached: in "gram_parity", whether the batch's part has no gradient either,
      as in the authors' cached code.
  """
  share = decay if mode == "gram_parity" else _KEPT
  moved, known = blended(memory.vectors, memory.known, means, share)
  there = known if mode == "gram_parity" else means.there
  vectors = means.vectors if mode == "relation" else moved
  if mode == "gram_parity" and detached:
    vectors = jax.lax.stop_gradient(vectors)
  found = distance(of_vectors(vectors, mode), text, there, mode)
  return found, Memory(jax.lax.stop_gradient(moved), known)


def centre_distance(
  source: Float[ArrayLike, "k d"],
  target: Float[ArrayLike, "k d"],
  known: Bool[ArrayLike, " k"],
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
  """L_proto, the sum over classes of the mean square, and each class's part.

  Args:
    source: centres of the classes in the source.
    target: the same in the target.
    known: classes that both have.
  """
  apart = jnp.mean((jnp.asarray(source) - target) ** 2, axis=-1)
  each = jnp.where(jnp.asarray(known), apart, 0.0)
  return jnp.sum(each), each

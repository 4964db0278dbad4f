"""The dictionary of prototypes: principal directions of each class.

Section 3 of GAPL: of the embeddings of each class the mean is taken off, and
the first N / 2 eigenvectors of their covariance are its prototypes. Their sign,
which no eigenvector has of itself, is fixed: the largest entry is positive.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.types import Array, UserError
from protojax.weights import reading

# Rows of a published file are unit vectors to this.
_UNIT = 1e-3


def of_classes(
  embeddings: Float[np.ndarray, "n d"],
  labels: Int[np.ndarray, " n"],
  count: int,
) -> Float[np.ndarray, "count d"]:
  """Prototypes of both classes, the real ones first.

  Args:
    embeddings: unit vectors.
    labels: 0 real, 1 generated.
    count: N, of both together; even.

  Raises:
    UserError: a class has too few embeddings for so many directions.
  """
  halves = []
  for label, name in enumerate(("real", "generated")):
    own = embeddings[labels == label].astype(np.float64)
    if len(own) <= count // 2:
      raise UserError(
        f"{len(own)} {name} images give at most {max(len(own) - 1, 0)}"
        f" directions, and --config.prototypes.count={count} asks for"
        f" {count // 2} of each class: add images, or ask for fewer"
      )
    halves.append(directions(own, count // 2))
  return np.concatenate(halves).astype(np.float32)


def directions(
  embeddings: Float[np.ndarray, "n d"], count: int
) -> Float[np.ndarray, "count d"]:
  """The first eigenvectors of the covariance, by falling eigenvalue."""
  centred = embeddings - embeddings.mean(axis=0)
  covariance = centred.T @ centred / (len(centred) - 1)
  _, vectors = np.linalg.eigh(covariance)
  rows = vectors.T[::-1][:count]
  largest = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], axis=1)
  return rows * np.sign(largest)


def random(key: Array, count: int, channels: int) -> Float[Array, "count d"]:
  """Random orthonormal rows for each class, to compare with."""
  halves = jax.random.normal(key, (2, channels, count // 2))
  return jax.vmap(lambda x: jnp.linalg.qr(x)[0].T)(halves).reshape(
    count, channels
  )


def read(file: str, count: int, channels: int) -> Float[np.ndarray, "count d"]:
  """The dictionary of a file, such as the authors' `pca_3type_num64.pt`.

  A file of PyTorch tells the strides of its tensor, and this one is stored
  column by column.

  Args:
    file: of weights that holds one tensor of two axes.
    count: N, that the config asks for.
    channels: of a prototype.

  Raises:
    UserError: it holds another tensor, or rows that are no unit vectors.
  """
  tensors = list(reading.read(Path(file)).values())
  if len(tensors) != 1:
    raise UserError(f"{file} holds {len(tensors)} tensors; expected one")
  (found,) = tensors
  if found.shape != (count, channels):
    raise UserError(
      f"{file} holds a tensor of shape {found.shape}; expected ({count},"
      f" {channels}), as --config.prototypes.count and channels say"
    )
  lengths = np.linalg.norm(found, axis=1)
  if np.abs(lengths - 1).max() > _UNIT:
    raise UserError(
      f"{file}: rows have lengths from {lengths.min():.3f} to"
      f" {lengths.max():.3f}; expected unit vectors"
    )
  return np.array(found, np.float32, order="C")

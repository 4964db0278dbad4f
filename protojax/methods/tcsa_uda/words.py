"""How alike the words of two classes are: where the relations come from.

An array file holds vectors that were computed elsewhere; a CSV holds a matrix
of relations; descriptions of the classes are compared by the words and letters
that they share (TF-IDF), or by a sentence encoder. Nothing is downloaded.
"""

from collections import Counter
from collections.abc import Sequence
import math
import re
from typing import Any, NamedTuple

import jax
from jaxtyping import Float
import numpy as np

from protojax import csv_files, json_files, text
from protojax.datasets import digit_domains
from protojax.methods.tcsa_uda import relations
from protojax.types import UserError

KINDS = ("tfidf", "encoder", "array", "matrix", "strokes")
_LETTERS = 3  # of a piece of a word
_NAMED = re.compile(r"[^\W_]+")


class Words(NamedTuple):
  """What is known of the classes' texts.

  Attributes:
    relations: in the form of the mode.
    vectors: of each text; None where only relations are given.
    texts: of the classes; may be empty.
  """

  relations: Float[np.ndarray, "k k"]
  vectors: Float[np.ndarray, "k t"] | None
  texts: tuple[str, ...]


def of_config(
  c: Any, class_names: Sequence[str], mode: str, data: Any
) -> Words:
  """The relations that a config asks for.

  Args:
    c: `kind`, `file`, `weights` and `shuffled` of the config's text.
    class_names: of the run.
    mode: of the loss.
    data: of the config, for relations of strokes.

  Raises:
    UserError: a class has no text or row, or the file is not as expected.
  """
  # A program that is being traced may be the first to ask.
  with jax.ensure_compile_time_eval():
    vectors, matrix, texts = _asked(c, class_names, mode, data)
  if c.shuffled:
    matrix, vectors = _shuffled(matrix, vectors)
  return Words(matrix.astype(np.float32), vectors, texts)


def _asked(
  c: Any, class_names: Sequence[str], mode: str, data: Any
) -> tuple[Any, Float[np.ndarray, "k k"], tuple[str, ...]]:
  """Vectors, relations and texts, before any are exchanged."""
  if c.kind == "matrix":
    return None, _matrix(c.file, class_names), ()
  if c.kind == "strokes":
    return None, _strokes(class_names, data), ()
  texts: tuple[str, ...] = ()
  if c.kind == "array":
    vectors = _array(c.file, class_names)
  else:
    texts = _texts(c.file, class_names)
    vectors = tfidf(texts) if c.kind == "tfidf" else _encoded(texts, c.weights)
  rows = np.asarray(vectors, np.float32)
  return vectors, np.asarray(relations.of_vectors(rows, mode)), texts


def tfidf(texts: Sequence[str]) -> Float[np.ndarray, "k t"]:
  """Unit vectors of texts: counts of words and of threes of letters.

  Each count is weighted by log((1 + n) / (1 + texts that have it)) + 1.
  """
  counted = [Counter(_pieces(each)) for each in texts]
  pieces = sorted(set().union(*counted))
  counts = np.array([[one[p] for p in pieces] for one in counted], float)
  having = (counts > 0).sum(axis=0)
  weighted = counts * (np.log((1 + len(texts)) / (1 + having)) + 1)
  length = np.linalg.norm(weighted, axis=1, keepdims=True)
  return weighted / np.maximum(length, 1e-12)


def _pieces(sentence: str) -> list[str]:
  words = _NAMED.findall(sentence.lower())
  found = list(words)
  for word in words:
    edged = f"<{word}>"
    found += [edged[i : i + _LETTERS] for i in range(len(edged) - _LETTERS + 1)]
  return found


def _texts(file: str, class_names: Sequence[str]) -> tuple[str, ...]:
  """A description of each class; without a file, its name.

  Raises:
    UserError: the file has no text for a class.
  """
  if not file:
    return tuple(class_names)
  given = json_files.read_json(file, dict[str, str])
  missing = [n for n in class_names if not given.get(n, "").strip()]
  if missing:
    raise UserError(
      f"--config.text.file={file} has no text for {', '.join(missing)}: it must"
      f" describe each class, as in {{{class_names[0]!r}: '...'}}"
    )
  return tuple(given[n] for n in class_names)


def _encoded(texts: Sequence[str], weights: str) -> Float[np.ndarray, "k t"]:
  encoder = text.load("minilm")
  states = encoder.encode(encoder.load(weights), texts)
  return np.asarray(states.final, np.float64)


def _array(file: str, class_names: Sequence[str]) -> Float[np.ndarray, "k t"]:
  """Vectors [k t], or [2 k t] of two scanners, of which the mean is taken."""
  try:
    found = np.load(file, allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise UserError(
      f"--config.text.file={file} is no array of NumPy (.npy): {error}"
    ) from error
  if found.ndim == 3:
    found = found.mean(axis=0)
  if found.ndim != 2 or len(found) != len(class_names):
    raise UserError(
      f"--config.text.file={file} has the shape {found.shape}; expected a row"
      f" for each of the {len(class_names)} classes"
    )
  if not np.isfinite(found).all():
    raise UserError(
      f"--config.text.file={file} has numbers that are not finite"
    )
  return found.astype(np.float64)


def _matrix(file: str, class_names: Sequence[str]) -> Float[np.ndarray, "k k"]:
  """A CSV: the first line names the columns, the first column the rows."""
  columns, rows = csv_files.read(file)
  first = columns[0] if columns else ""
  by_row = {row.get(first, "").strip(): row for _, row in rows}
  missing = [n for n in class_names if n not in columns or n not in by_row]
  if missing:
    raise UserError(
      f"--config.text.file={file} has no row and column for"
      f" {', '.join(missing)}: the first line and the first column name the"
      " classes"
    )
  try:
    found = np.array(
      [[float(by_row[a].get(b, "")) for b in class_names] for a in class_names]
    )
  except ValueError as error:
    raise UserError(
      f"--config.text.file={file} is no matrix of numbers: {error}"
    ) from error
  if not np.isfinite(found).all() or not np.allclose(found, found.T):
    raise UserError(
      f"--config.text.file={file} must be finite and symmetric: how alike two"
      " classes are has no direction"
    )
  return found


def _strokes(class_names: Sequence[str], data: Any) -> Float[np.ndarray, "k k"]:
  if tuple(class_names) != digit_domains.CLASS_NAMES:
    raise UserError(
      "--config.text.kind=strokes is for the data set digit_domains: choose"
      f" {', '.join(KINDS[:-1])}"
    )
  return digit_domains.similarities(data, 0)


def _shuffled(
  matrix: Float[np.ndarray, "k k"], vectors: Any
) -> tuple[Float[np.ndarray, "k k"], Any]:
  """Another class's relations for each class, for a control.

  The permutation moves the most pairs of relations.
  """
  order = np.roll(np.arange(len(matrix)), math.ceil(len(matrix) / 2) - 1)
  order[[0, -1]] = order[[-1, 0]]
  matrix = matrix[np.ix_(order, order)]
  return matrix, None if vectors is None else vectors[order]

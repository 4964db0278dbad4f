"""What servers send, checked before it is used, and kept line by line."""

from collections.abc import Mapping, Sequence
import json
import math
import os
from pathlib import Path
from typing import Any

from jaxtyping import Float
import numpy as np

from protojax import json_files, writing
from protojax.types import UserError


def checked(name: str, found: Any, expected: Any) -> Any:
  """JSON of a type of `json_files`.

  Raises:
    UserError: it is of another.
  """
  try:
    return json_files.parsed(json.dumps(found), expected)
  except UserError as error:
    raise UserError(f"what {name} sent {error}") from error


def unit(
  name: str, vectors: Sequence[Sequence[float]], count: int
) -> Float[np.ndarray, "n d"]:
  """Vectors of length 1.

  Raises:
    UserError: they are not as many, of several sizes, or 0.
  """
  if len(vectors) != count or len({len(v) for v in vectors}) > 1:
    raise UserError(
      f"{name} sent {len(vectors)} vectors of {sorted(map(len, vectors))}"
      f" numbers for {count} texts"
    )
  found = np.asarray(vectors, float)
  length = np.linalg.norm(found, axis=1, keepdims=True)
  if not (np.isfinite(length) & (length > 0)).all():
    raise UserError(f"{name} sent a vector of no length")
  return found / length


def likely(
  found: Any, path: Sequence[str | int], logarithm: str
) -> dict[str, float]:
  """Probabilities of the words that may come first; {} where none are told.

  Args:
    found: what a server sent; any of it may be missing.
    path: keys and numbers down to the list of words, each with its "token".
    logarithm: the key of its logarithm.
  """
  try:
    for at in path:
      found = found[at]
    return {str(x["token"]): math.exp(float(x[logarithm])) for x in found}
  except (LookupError, TypeError, ValueError, OverflowError):
    return {}


def append(path: Path, line: Mapping[str, Any]) -> None:
  """Adds a line of JSON to a file.

  A last line that is incomplete, as a process leaves it that is killed while it
  writes, makes room.
  """
  with writing.writing(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
      whole = file.seek(0, os.SEEK_END)
      while whole:
        start = max(0, whole - (1 << 16))
        file.seek(start)
        end = file.read(whole - start).rfind(b"\n") + 1
        whole = start + end
        if end or not start:
          break
      file.truncate(whole)
      file.write(json.dumps(line).encode() + b"\n")

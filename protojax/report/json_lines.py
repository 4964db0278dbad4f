"""Explanations for other programs: `explanations.jsonl`, one object a line.

Each line is a document of `explain.documents`, which reads it back; the schema
is `protojax/explain/evidence.schema.json`.
"""

from collections.abc import Callable, Iterator
import contextlib
import json
from pathlib import Path

from protojax.explain import documents
from protojax.writing import replacing

NAME = "explanations.jsonl"


@contextlib.contextmanager
def lines(path: Path) -> Iterator[Callable[[documents.Explained], None]]:
  """Opens a file of documents; gives a function that adds one line.

  Raises:
    UserError: there is no room, or no right to write.
  """
  with replacing(path) as file:

    def add(explained: documents.Explained) -> None:
      json.dump(documents.to_json(explained), file, allow_nan=False)
      file.write("\n")

    yield add

"""Evidence as JSON documents with a versioned schema, and back.

`explanations.jsonl` has one document a line (`explain.py --format=json`);
`read` gives the evidence of such a file. `evidence.schema.json` beside this
module is the JSON Schema of a document: `schema` makes it.

Of images only `Explanation` holds the pixels. The documents of `evidence` and
`inspection` hold in numbers what a report shows in words and pictures: what
they leave out is None or empty when it is read back.
"""

from collections.abc import Iterator
import functools
from pathlib import Path
from typing import Any

import numpy as np

from protojax import json_files
from protojax.explain import block_codecs, blocks, codecs, evidence, inspection
from protojax.explain.codecs import (
  FLAG,
  NUMBER,
  TEXT,
  TEXT_OR_NUMBER,
  WHOLE,
  Codec,
  Json,
  by_name,
  derived,
  described,
  many,
  numbers,
  optional,
  record,
  row,
)
from protojax.explain.redundancy import Group
from protojax.explain.totals import Scores
from protojax.types import UserError

# A reader of one version need not understand another. A document never has a
# key that its version of the schema does not name.
SCHEMA = "protojax-evidence/1"
SCHEMA_FILE = Path(__file__).with_name("evidence.schema.json")

Explained = (
  evidence.ExplainedRun
  | evidence.LocalExplanation
  | evidence.GlobalExplanation
  | evidence.Overview
  | inspection.Inspection
  | blocks.Explanation
)


def to_json(found: Explained) -> dict[str, Json]:
  """A document: the evidence in types that JSON has.

  Numbers that are not finite become null.
  """
  return _document().write(found)


def from_json(document: Json) -> Explained:
  """The evidence of a document.

  Raises:
    UserError: it is of another version, or is not as the schema says.
  """
  version = document.get("schema") if isinstance(document, dict) else None
  if version != SCHEMA:
    raise UserError(
      f"the document's schema is {version!r}; this protojax reads {SCHEMA}"
    )
  return _document().read(document, "")


def read(path: Path) -> Iterator[Explained]:
  """The evidence of a file with a document in each line.

  Raises:
    UserError: names the first line that cannot be read.
  """
  for number, document in json_files.read_lines(path, Any):
    try:
      yield from_json(document)
    except UserError as error:
      raise UserError(f"{path}, line {number}: {error}") from error


def schema() -> dict[str, Any]:
  """The JSON Schema (draft 2020-12) of a document."""
  document = _document()
  return {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:protojax:evidence:1",
    "title": SCHEMA,
    "description": (
      "Evidence of a prototype model. A number that is unknown is null. A box"
      " is [top, left, bottom, right] in pixels of the network's input, or of"
      " its picture; bottom and right are excluded. Cells are numbered row by"
      " row. The keys of a mapping are modifications (hue, ...) or splits."
    ),
    **document.schema,
    "$defs": dict(sorted(document.named.items())),
  }


@functools.cache
def _document() -> Codec:
  """The codec of all kinds of documents."""
  return codecs.kinds(
    {
      evidence.ExplainedRun: _top("run", evidence.ExplainedRun, _RUN),
      evidence.LocalExplanation: _top(
        "image", evidence.LocalExplanation, _IMAGE
      ),
      evidence.GlobalExplanation: _top(
        "prototype", evidence.GlobalExplanation, _PROTOTYPE
      ),
      evidence.Overview: _top("overview", evidence.Overview, _OVERVIEW),
      inspection.Inspection: _top(
        "inspection", inspection.Inspection, _INSPECTION
      ),
      blocks.Explanation: _top(
        "explanation", blocks.Explanation, block_codecs.EXPLANATION
      ),
    }
  )


def _top(kind: str, make: Any, keys: dict[str, Codec]) -> tuple[str, Codec]:
  constants = {"schema": SCHEMA, "kind": kind}
  return kind, record(make, kind, keys, constants)


_SCORES = by_name(NUMBER)

_RUN = {
  "title": TEXT,
  "version": described(TEXT, "of protojax"),
  "accuracy": described(_SCORES, "name of a figure -> 0 to 1"),
  "strengths": described(
    by_name(TEXT_OR_NUMBER), "parameters of the modifications"
  ),
}

_ANSWER = record(
  evidence.Answer,
  "answer",
  {
    "class=class_name": TEXT,
    "logit": NUMBER,
    "probability": NUMBER,
    "bias": NUMBER,
  },
)
_ROW = record(
  evidence.Evidence,
  "row",
  {
    "prototype": WHOLE,
    "class=group": described(TEXT, "or the concept it belongs to"),
    "similarity": NUMBER,
    "score": described(NUMBER, "the factor that weight multiplies"),
    "weight": NUMBER,
    "points": described(NUMBER, "score times weight"),
    "runner_up_weight": NUMBER,
    "cell": WHOLE,
    "because": described(_SCORES, "modification -> loss of similarity"),
    "box": optional(block_codecs.BOX),
    "field": described(
      optional(block_codecs.BOX), "receptive field of the cell"
    ),
    "misleading": optional(FLAG),
  },
)
_IMAGE = {
  "image": TEXT,
  "index": described(WHOLE, "its position in the source"),
  "split": TEXT,
  "label": described(optional(TEXT), "null where unknown"),
  "answers": described(many(_ANSWER), "by falling logit"),
  "evidence": many(_ROW),
  "others": described(WHOLE, "prototypes without a row"),
  "silent": described(WHOLE, "those of them whose points are 0.00"),
  "best": described(optional(NUMBER), "the largest similarity"),
  "familiarity": described(
    optional(NUMBER), "its percentile among images that the model knows"
  ),
  "unfamiliar": described(TEXT, "what is said of an image unlike those"),
  "other_points": described(derived(NUMBER), "points of the others"),
}

_PATCH = record(
  evidence.Patch,
  "patch",
  {
    "image": TEXT,
    "index": WHOLE,
    "cell": WHOLE,
    "box": block_codecs.BOX,
    "field": described(block_codecs.BOX, "receptive field of the cell"),
  },
)
_GLOBAL_SCORES = record(
  evidence.GlobalScores,
  "scores",
  {
    "scores": described(_SCORES, "modification -> mean loss of similarity"),
    "intervals": described(
      by_name(row(evidence.Interval, NUMBER, 2)), "of 95 %: [low, high]"
    ),
    "relative": described(_SCORES, "loss as a share of the similarity"),
    "distance": described(_SCORES, "growth of the distance"),
    "similarity": NUMBER,
    "images": WHOLE,
  },
)
_NEIGHBOUR = record(
  evidence.Neighbour,
  "neighbour",
  {
    "image": TEXT,
    "index": WHOLE,
    "label": optional(TEXT),
    "similarity": NUMBER,
    "cell": WHOLE,
    "because": _SCORES,
    "box": optional(block_codecs.BOX),
    "misleading": optional(FLAG),
  },
)
_PROTOTYPE = {
  "prototype": WHOLE,
  "class=group": described(TEXT, "or the concept it belongs to"),
  "grouped_by=kind": described(TEXT, "what class is: class, concept, ..."),
  "alive": FLAG,
  "weight": described(NUMBER, "to the class it speaks for"),
  "speaks_for": TEXT,
  "duplicate_of": optional(WHOLE),
  "redundant_with": many(WHOLE),
  "stale": described(FLAG, "it has changed since the push"),
  "misleading": described(derived(optional(NUMBER)), "share of its neighbours"),
  "standings": described(
    by_name(row(evidence.Standing, NUMBER, 3)),
    "characteristic -> percentile among the prototypes, and of its interval",
  ),
  "stands_out": described(TEXT, "the unusual characteristic; '' for none"),
  "usual": described(TEXT, "what costs most for most prototypes; '' for none"),
  "notes": described(by_name(TEXT_OR_NUMBER), "of its method"),
  "patch": optional(_PATCH),
  "because": described(by_name(_GLOBAL_SCORES), "by split"),
  "without_source=without_own": described(
    by_name(_GLOBAL_SCORES), "the same without the image of its patch"
  ),
  "nearest": described(by_name(many(_NEIGHBOUR)), "by split"),
}


def _totals(**found: Any) -> Scores:
  """Scores of a document, which has no draws of the bootstrap."""
  m, p = found["importance"].shape
  return Scores(**found, replicates=np.zeros((0, m, p), np.float32))


_TOTALS = record(
  _totals,
  "totals",
  {
    "importance": described(numbers(2), "[modification][prototype]"),
    "relative": numbers(2),
    "distance": numbers(2),
    "similarity": described(numbers(1), "[prototype]"),
    "images": WHOLE,
  },
)
_HISTOGRAM = record(
  evidence.Histogram,
  "histogram",
  {
    "edges": described(numbers(1), "one more than counts"),
    "counts": many(WHOLE, np.array),
  },
)
_GROUP = record(
  Group,
  "redundant",
  {
    "kind": codecs.one_of("exact", "near"),
    "prototypes": many(WHOLE),
    "distance": NUMBER,
    "correlation": NUMBER,
    "explanation": NUMBER,
  },
)
_REDUNDANCY = record(
  evidence.Redundancy,
  "redundancy",
  {"groups": many(_GROUP), "accuracy": NUMBER, "merged_accuracy": NUMBER},
)
_SAMPLE = record(
  functools.partial(evidence.Sample, pictures={}), "sample", {"image": TEXT}
)
_OVERVIEW = {
  "split": TEXT,
  "images": WHOLE,
  "modifications": many(TEXT),
  "alive": described(
    many(FLAG, functools.partial(np.array, dtype=bool)), "[prototype]"
  ),
  "scores": _TOTALS,
  "without_source=without_own": optional(_TOTALS),
  "local": described(by_name(_HISTOGRAM), "of local scores"),
  "samples": many(_SAMPLE),
  "redundancy": optional(_REDUNDANCY),
  "alerts": many(TEXT),
}

_THRESHOLD = record(
  inspection.Threshold,
  "threshold",
  {
    "value": NUMBER,
    "rate": described(NUMBER, "of normal images expected above it"),
    "images": described(WHOLE, "normal images that it was chosen on"),
  },
)
_INTRINSIC = record(
  inspection.Intrinsic,
  "intrinsic",
  {
    "number": WHOLE,
    "share": described(NUMBER, "of the image's cells"),
    "distance": NUMBER,
    "patches": many(block_codecs.BOX),
  },
)
_INSPECTION = {
  "image": TEXT,
  "index": WHOLE,
  "split": TEXT,
  "category": TEXT,
  "label=kind": described(
    optional(TEXT), "normal or the kind of defect; null where unknown"
  ),
  "score": NUMBER,
  "threshold": _THRESHOLD,
  "defective": described(derived(FLAG), "whether score is above threshold"),
  "because": described(_SCORES, "modification -> fall of the anomaly"),
  "worst_value": described(NUMBER, "the anomaly at the worst cell"),
  "size": described(WHOLE, "side of the network's input"),
  "worst": described(optional(block_codecs.BOX), "box around the worst region"),
  "prototypes": many(_INTRINSIC),
}

"""How well objects are found: KITTI's AP in the image, from above, in space.

Overall, by condition, and after corruptions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from protojax import parallel
from protojax.data.cuboids import Cuboids
from protojax.data.source import origin
from protojax.data.stream import Stream
from protojax.datasets.driving_world import CONDITIONS
from protojax.metrics import kitti_precision
from protojax.metrics.kitti_precision import ALL, DIFFICULTIES, VIEWS
from protojax.modify import severities
from protojax.types import Batch, Metrics, State, UserError

# Least score of an answer that is judged: less changes no AP.
_LEAST = 0.02
CLEAR = CONDITIONS[0]


class Rules(NamedTuple):
  """What an answer must be like.

  Attributes:
    overlaps: IoU that each class needs.
    difficulty: "moderate" and so on, or "all".
  """

  overlaps: Mapping[str, float]
  difficulty: str


def corruptions(text: str) -> tuple[tuple[str, int], ...]:
  """Names and severities of a config: "fog:3,snow:1", or "all:3".

  Raises:
    UserError: there is no such corruption or severity.
  """
  asked = []
  for word in filter(None, text.split(",")):
    name, _, number = word.strip().partition(":")
    severity = int(number) if number.isdecimal() else 0
    names = severities.NAMES if name == "all" else (name,)
    for one in names:
      severities.require(one, severity)
      asked.append((one, severity))
  return tuple(asked)


def rule(name: str) -> kitti_precision.Difficulty:
  """The difficulty of that name.

  Raises:
    UserError: there is none.
  """
  known = {d.name: d for d in (*DIFFICULTIES, ALL)}
  if name not in known:
    raise UserError(
      f"--config.evaluation.difficulty={name!r}: choose from {', '.join(known)}"
    )
  return known[name]


def measured(
  method: Any, state: State, stream: Stream, rules: Rules
) -> Metrics:
  """AP, a mean over the classes that there are, by view.

  "ap_3d" of all images; "ap_3d_fog" of those of a condition or after a
  corruption; "ap_3d_shifted" is the mean over the conditions but "clear".
  """
  source, rows = origin(stream.source)
  known: Any = source
  names = [known.condition(int(i)) for i in rows]
  whole = _answers(method, state, stream.batches(), stream)
  found = dict(_precision(*whole, rules, ""))
  conditions = sorted(set(filter(None, names)))
  by_name = {}
  for condition in conditions:
    own = [i for i, name in enumerate(names) if name == condition]
    truth, answers = ([x[i] for i in own] for x in whole)
    by_name.update(_precision(truth, answers, rules, f"_{condition}"))
  for view in VIEWS:
    shifted = [
      by_name[f"ap_{view}_{name}"] for name in conditions if name != CLEAR
    ]
    if shifted and len(conditions) > 1:
      found[f"ap_{view}_shifted"] = float(np.nanmean(shifted))
  found |= by_name
  for name, severity in corruptions(method.config.evaluation.corruptions):
    batches = _corrupted(stream, name, severity, method.config)
    changed = _answers(method, state, batches, stream)
    found |= dict(_precision(*changed, rules, f"_{name}_{severity}"))
  return found


def _answers(
  method: Any, state: State, batches: Iterator[Batch], stream: Stream
) -> tuple[list[Cuboids], list[Cuboids]]:
  """Truth and answers of each image of a stream."""
  source, rows = origin(stream.source)
  known: Any = source
  truth, found = [], []
  for batch, answers in parallel.each(method.predict, state, batches):
    for i in np.flatnonzero(batch["valid"]):
      at = int(rows[int(batch["index"][i])])
      row = {name: value[i] for name, value in answers.items()}
      truth.append(known.objects(at))
      given = known.camera(at), known.shape(at)
      found.append(method.network.objects(row, *given, _LEAST))
  return truth, found


def _precision(
  truth: Sequence[Cuboids], found: Sequence[Cuboids], rules: Rules, suffix: str
) -> Iterator[tuple[str, float]]:
  wanted = rule(rules.difficulty)
  table = kitti_precision.table(truth, found, rules.overlaps, (wanted,))
  for view in VIEWS:
    each = [table[view, kind, wanted.name] for kind in rules.overlaps]
    there = [x for x in each if not np.isnan(x)]
    yield f"ap_{view}{suffix}", float(np.mean(there)) if there else 0.0


def _corrupted(
  stream: Stream, name: str, severity: int, config: Any
) -> Iterator[Batch]:
  """Batches with corrupted images; noise depends on their position alone."""
  for batch in stream.batches():
    keys = parallel.example_keys(jax.random.key(0), batch["index"])
    image = severities.corrupted(
      batch["image"], keys, name, severity, config.evaluation.scale
    )
    yield {**batch, "image": np.asarray(image)}

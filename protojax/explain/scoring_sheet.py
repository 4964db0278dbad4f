"""Scoring sheets: the points that prototypes give to the predicted class.

Points are score times weight of the head; the score is usually the similarity.
The points of a class and its bias sum to its logit (ProtoPNet's local
analysis). The rows are the prototypes with most points, positive or negative,
as many as leave at most a fifth of the sum to all others. `prototypical` makes
a scoring sheet for every image of a sweep.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses

from jaxtyping import Float
import numpy as np

from protojax.explain import evidence
from protojax.explain.evidence import Evidence, LocalExplanation
from protojax.explain.request import MOST_ROWS
from protojax.explain.sweep import SILENT, Rows
from protojax.prototypes.bank import Bank

_ANSWERS = 5
# Least number of rows, and the share of the points that others may have.
_LEAST, _LEFT = 3, 0.2


@dataclasses.dataclass(frozen=True)
class ScoringSheets:
  """Makes local explanations of models whose places are cells, no pictures.

  Attributes:
    split: of the images.
    modifications: names of the axis m.
    class_names: index = label.
    group_names: of the groups of prototypes; see `Groups`.
    bank: the prototypes.
    weights: of the head; columns of dead prototypes are 0.
    bias: of the head.
  """

  split: str
  modifications: tuple[str, ...]
  class_names: tuple[str, ...]
  group_names: tuple[str, ...]
  bank: Bank
  weights: Float[np.ndarray, "k p"]
  bias: Float[np.ndarray, " k"]

  def __call__(
    self, rows: Rows, name: Callable[[int], str]
  ) -> Iterator[LocalExplanation]:
    """Explains a batch; `name` gives the name of an image by its position."""
    for row, index in enumerate(rows.index.tolist()):
      yield self._explained(rows, row, index, name(index))

  def _explained(
    self, rows: Rows, row: int, index: int, name: str
  ) -> LocalExplanation:
    logits = rows.logits[row].astype(np.float64)
    order = np.argsort(-logits, kind="stable").tolist()
    first, second = order[0], order[min(1, len(order) - 1)]
    every = [
      self._evidence(rows, row, column, j, first, second)
      for column, j in enumerate(rows.prototypes[row].tolist())
      if j >= 0
    ]
    count = carrying(
      [r.points for r in every], logits[first] - self.bias[first]
    )
    evidence_rows = tuple(every[:count])
    listed = sum(abs(r.points) < SILENT for r in evidence_rows)
    label, all_scores = int(rows.label[row]), None
    if rows.all_scores is not None:
      all_scores = evidence.AllScores(
        *(np.asarray(x)[row] for x in rows.all_scores)
      )
    return LocalExplanation(
      image=name,
      index=index,
      split=self.split,
      label=self.class_names[label] if label >= 0 else None,
      answers=self._answers(logits, order),
      evidence=evidence_rows,
      others=int(self.bank.alive.sum()) - len(evidence_rows),
      silent=int(rows.silent[row]) - listed,
      best=float(rows.similarities[row][self.bank.alive].max()),
      all_scores=all_scores,
    )

  def _evidence(
    self, rows: Rows, row: int, column: int, j: int, first: int, second: int
  ) -> Evidence:
    score = float(rows.score[row, column])
    delta = rows.delta[row, :, column].tolist()
    return Evidence(
      prototype=j,
      group=self.group_names[self.bank.class_of[j]],
      similarity=float(rows.similarity[row, column]),
      score=score,
      weight=float(self.weights[first, j]),
      points=score * float(self.weights[first, j]),
      runner_up_weight=float(self.weights[second, j]),
      cell=int(rows.place[row, column]),
      because=dict(zip(self.modifications, delta, strict=True)),
    )

  def _answers(self, logits, order) -> tuple[evidence.Answer, ...]:
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    return tuple(
      evidence.Answer(
        self.class_names[k],
        float(logits[k]),
        float(shares[k]),
        float(self.bias[k]),
      )
      for k in order[:_ANSWERS]
    )


def carrying(points: Sequence[float], total: float) -> int:
  """How many rows a scoring sheet needs, of those it may have.

  As many as leave at most a fifth of the sum to all other prototypes; 3 at
  least and 15 at most.

  Args:
    points: of the prototypes with most points, the most first.
    total: points of all prototypes together.
  """
  left = total - np.cumsum(points)
  enough = np.flatnonzero(np.abs(left) <= _LEFT * abs(total)) + 1
  enough = enough[enough >= _LEAST]
  most = min(MOST_ROWS, len(points))
  return min(most, int(enough[0])) if len(enough) else most

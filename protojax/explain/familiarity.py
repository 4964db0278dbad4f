"""How familiar an image is: its best similarity, among those of known images.

A classifier answers every image, also one of none of its classes. The best
similarity of an image, to any living prototype, says whether the model knows
something like it. At the end of a training the best similarities of its
validation images are stored or, if it has none, of every other test image. The
percentile of an image is that of conformal prediction (Vovk et al., 2005),
(1 + number of known images that are at most as similar) / (1 + their number):
of images that are drawn like the known ones, at most 5 % are below 5. The share
of test images below 5 that are not among the known ones is measured and told.

Training images cannot be the known ones. A model is fitted to them, so they are
more similar to its prototypes than new images of the same classes, even without
the prototypes that were taken from them: by their 5 %, a ProtoPNet of twelve
classes of Caltech-101 at 96 pixels called 27 % of its test images unfamiliar.

Channels of a network, as EPIC's, are no likenesses: the largest of them was
higher for images of other things (AUROC 0.15). Of these the largest logit says
how familiar an image is (0.94), and of classifiers that compare no part of an
image with a prototype. An answer of one number beside a logit of 0 says nothing
of it: its largest logit is 0 for all images of one class, however strange.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxtyping import Bool, Float
import numpy as np

from protojax import json_files, parallel
from protojax.explain.blocks import Note
from protojax.explain.evidence import LocalExplanation
from protojax.prototypes.bank import bank_of
from protojax.types import State
from protojax.writing import json_text, replacing

# What says how familiar an image is.
SIMILARITY, LOGIT = "best similarity", "largest logit"
# An image below this percentile is unlike those that the model knows.
UNFAMILIAR = 5.0
# Images of a split that are looked at, evenly chosen.
MOST = 2000
_FILE = "familiarity.json"


class _Stored(TypedDict):
  split: str
  best: list[float]
  others: int
  others_unfamiliar: float
  by: NotRequired[str]


@dataclasses.dataclass(frozen=True)
class Familiarity:
  """Best similarities of the images that a model knows.

  Attributes:
    split: of these images: "validation" or "test".
    best: their best similarities, ascending.
    others: number of test images that are not among them.
    others_unfamiliar: the share of those that is called unfamiliar.
    by: `SIMILARITY` or `LOGIT`, which then stands in `best`.
  """

  split: str
  best: Float[np.ndarray, " n"]
  others: int = 0
  others_unfamiliar: float = 0.0
  by: str = SIMILARITY

  def of_row(self, row: Mapping[str, Any], state: State) -> float:
    """The percentile of an image, by its row of a method's `predict`."""
    return self.percentile(float(_values(row, _alive(state, self.by), self.by)))

  def percentile(self, best: float) -> float:
    """The percentile of an image, above 0 to 100; see above."""
    at_most = int(np.searchsorted(self.best, best, side="right"))
    return 100 * (1 + at_most) / (1 + len(self.best))

  def promise(self) -> str:
    """How often an image that is familiar is called unfamiliar, in words."""
    said = f"Said of 1 in 20 {self.split} images"
    if not self.others:
      return f"{said}."
    return (
      f"{said}, and of {self.others_unfamiliar:.1%} of {self.others:,} other"
      " test images."
    )


def unfamiliar(percentile: float | None) -> bool:
  """Whether an image is unlike those that the model knows."""
  return percentile is not None and percentile < UNFAMILIAR


def sentence(percentile: float, best: float, known: Familiarity) -> str:
  """What is said of an image that is unfamiliar."""
  return (
    f"Unlike the images the model knows: its {known.by}, {best:.2f}, is"
    f" less than that of {100 - percentile:.0f} % of the {known.split} images."
    f" {known.promise()}"
  )


def notes(value: float, known: Familiarity | None) -> list[Note]:
  """What an explanation in blocks says of an image, as far as it is known.

  Args:
    value: the image's best similarity, or its largest logit: what `known` has.
    known: the images that the model knows.
  """
  if known is None:
    return []
  found = known.percentile(value)
  if unfamiliar(found):
    return [Note(sentence(found, value, known), "warning")]
  return [
    Note(f"More familiar than {found:.0f} % of the images the model knows.")
  ]


def of_image(
  explained: LocalExplanation, known: Familiarity | None
) -> LocalExplanation:
  """The explanation with how familiar its image is, as far as it is known."""
  if known is None or explained.best is None:
    return explained
  logit = known.by == LOGIT
  best = explained.predicted.logit if logit else explained.best
  found = known.percentile(best)
  said = sentence(found, best, known) if unfamiliar(found) else ""
  return dataclasses.replace(explained, familiarity=found, unfamiliar=said)


def measure(
  method: Any, state: State, by: str = SIMILARITY
) -> Familiarity | None:
  """The best similarities of a method's validation or test images.

  None if its `predict` gives no "similarities" [b p], or no "logits" [b k] that
  say how familiar an image is; see above.

  Args:
    method: of the run.
    state: of the method.
    by: see `Familiarity`.
  """
  test = best(method, state, method.stream("test"), by)
  if "validation" in method.splits:
    split, others = "validation", test
    known = best(method, state, method.stream(split), by)
  else:
    split, known = "test", None if test is None else test[::2]
    others = None if test is None else test[1::2]
  if known is None or others is None:
    return None
  found = Familiarity(split, np.sort(known), by=by)
  below = [unfamiliar(found.percentile(x)) for x in others.tolist()]
  return dataclasses.replace(
    found,
    others=len(below),
    others_unfamiliar=float(np.mean(below)) if below else 0.0,
  )


def best(
  method: Any, state: State, stream: Any, by: str = SIMILARITY
) -> Float[np.ndarray, " n"] | None:
  """The best similarity of each image, evenly chosen, to living prototypes.

  None if the method gives none; see `measure`.

  Args:
    method: see `measure`.
    state: of the method.
    stream: images, in the order of their source.
    by: see `Familiarity`.
  """
  alive, name = _alive(state, by), "logits" if by == LOGIT else "similarities"
  found, one_number = [], by == LOGIT
  for batch, rows in parallel.each(method.predict, state, stream.spread(MOST)):
    if name not in rows:
      return None
    valid = batch["valid"].astype(bool)
    one_number = one_number and _one_number(np.asarray(rows[name])[valid])
    found.append(_values(rows, alive, by)[valid])
  if not found:
    return np.zeros(0)
  return None if one_number else np.concatenate(found).astype(float)


def _one_number(logits: Float[np.ndarray, "b k"]) -> bool:
  """Whether the answer is one number: of two logits one is always 0."""
  return logits.shape[1] == 2 and not logits.any(axis=0).all()


def _alive(state: State, by: str) -> Bool[np.ndarray, " p"] | None:
  """Which prototypes are alive; None where logits are asked for."""
  if by == LOGIT:
    return None
  return np.asarray(parallel.to_host(bank_of(state).alive))


def _values(rows: Mapping[str, Any], alive: Any, by: str) -> Any:
  """The best similarity, or the largest logit, of each row [...]."""
  if by == LOGIT:
    return np.asarray(rows["logits"]).max(axis=-1)
  return np.asarray(rows["similarities"])[..., alive].max(axis=-1)


def write(folder: Path, found: Familiarity) -> None:
  """Stores it in the folder of a run.

  Raises:
    UserError: there is no room, or no right to write.
  """
  content = {**dataclasses.asdict(found), "best": found.best.tolist()}
  with replacing(folder / _FILE) as file:
    file.write(json_text(content, indent=2) + "\n")


def read(folder: Path) -> Familiarity | None:
  """What a run has stored; None of a run that is older, or not finished.

  Raises:
    UserError: the file is damaged.
  """
  path = folder / _FILE
  if not path.exists():
    return None
  stored = json_files.read_json(path, _Stored, "restore or remove it")
  return Familiarity(
    stored["split"],
    np.sort(np.array(stored["best"], float)),
    stored["others"],
    stored["others_unfamiliar"],
    stored.get("by", SIMILARITY),
  )

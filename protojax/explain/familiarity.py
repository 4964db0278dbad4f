"""How familiar an image is: its best similarity, among those of known images.

A classifier answers every image, also one of none of its classes. The best
similarity of an image, to any living prototype, says whether the model knows
something like it. At the end of a training the best similarities of its
validation images are stored, or of its training images if it has none. There
the prototypes that were taken from the image itself do not count: they would be
most similar to it.

The percentile of an image is that of conformal prediction (Vovk et al., 2005),
(1 + number of known images that are at most as similar) / (1 + their number):
of images that are drawn like the known ones, at most 5 % are below 5. Test
images differ from training images, which the model was fitted to; so the share
of test images below 5 is measured, stored and said beside.
"""

import dataclasses
from pathlib import Path
from typing import Any, TypedDict

from jaxtyping import Float
import numpy as np

from protojax import json_files, parallel
from protojax.explain.evidence import LocalExplanation
from protojax.prototypes.bank import bank_of
from protojax.types import State
from protojax.writing import json_text, replacing

# An image below this percentile is unlike those that the model knows.
UNFAMILIAR = 5.0
# Images of a split that are looked at, evenly chosen.
MOST = 2000
_FILE = "familiarity.json"


class _Stored(TypedDict):
  split: str
  best: list[float]
  test_images: int
  test_unfamiliar: float


@dataclasses.dataclass(frozen=True)
class Familiarity:
  """Best similarities of the images that a model knows.

  Attributes:
    split: of these images: "validation" or "train".
    best: their best similarities, ascending.
    test_images: number of test images that were looked at.
    test_unfamiliar: the share of them that is called unfamiliar.
  """

  split: str
  best: Float[np.ndarray, " n"]
  test_images: int = 0
  test_unfamiliar: float = 0.0

  def percentile(self, best: float) -> float:
    """The percentile of an image, above 0 to 100; see above."""
    at_most = int(np.searchsorted(self.best, best, side="right"))
    return 100 * (1 + at_most) / (1 + len(self.best))

  def promise(self) -> str:
    """How often an image that is familiar is called unfamiliar, in words."""
    said = f"1 in 20 {_KNOWN[self.split]} images"
    if not self.test_images:
      return f"Said of {said}."
    return (
      f"Said of {said} and of {self.test_unfamiliar:.1%} of the test images."
    )


_KNOWN = {"train": "training", "validation": "validation"}


def unfamiliar(percentile: float | None) -> bool:
  """Whether an image is unlike those that the model knows."""
  return percentile is not None and percentile < UNFAMILIAR


def sentence(percentile: float, best: float, known: Familiarity) -> str:
  """What is said of an image that is unfamiliar."""
  return (
    "Unlike the images it was trained on: its best similarity,"
    f" {best:.2f}, is less than that of {100 - percentile:.0f} % of the"
    f" {_KNOWN[known.split]} images. {known.promise()}"
  )


def of_image(
  explained: LocalExplanation, known: Familiarity | None
) -> LocalExplanation:
  """The explanation with how familiar its image is, as far as it is known."""
  if known is None or explained.best is None:
    return explained
  found = known.percentile(explained.best)
  said = sentence(found, explained.best, known) if unfamiliar(found) else ""
  return dataclasses.replace(explained, familiarity=found, unfamiliar=said)


def measure(method: Any, state: State) -> Familiarity | None:
  """The best similarities of a method's validation or training images.

  None if its `predict` gives no "similarities" [b p].

  Args:
    method: of the run.
    state: of the method.
  """
  split = "validation" if "validation" in method.splits else "train"
  known = best(method, state, method.stream(split), split == "train")
  test = best(method, state, method.stream("test"))
  if known is None or test is None:
    return None
  found = Familiarity(split, np.sort(known))
  below = [unfamiliar(found.percentile(x)) for x in test.tolist()]
  return dataclasses.replace(
    found,
    test_images=len(below),
    test_unfamiliar=float(np.mean(below)) if below else 0.0,
  )


def best(
  method: Any, state: State, stream: Any, own: bool = False
) -> Float[np.ndarray, " n"] | None:
  """The best similarity of each image, evenly chosen, to living prototypes.

  None if the method gives no similarities.

  Args:
    method: see `measure`.
    state: of the method.
    stream: images, in the order of their source.
    own: whether prototypes were taken from these images; those of an image do
      not count for it.
  """
  bank = parallel.to_host(bank_of(state))
  alive, taken = np.asarray(bank.alive), np.full(len(bank.alive), -1)
  if own and bank.provenance is not None:
    taken = np.asarray(bank.provenance.image)
  found = []
  for batch, rows in parallel.each(method.predict, state, stream.spread(MOST)):
    if "similarities" not in rows:
      return None
    counted = alive[None] & (batch["index"][:, None] != taken[None])
    similar = np.where(counted, rows["similarities"], -np.inf).max(axis=1)
    found.append(similar[batch["valid"].astype(bool)])
  found = np.concatenate(found) if found else np.zeros(0)
  # An image that all prototypes were taken from has none.
  return found[np.isfinite(found)].astype(float)


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
    stored["test_images"],
    stored["test_unfamiliar"],
  )

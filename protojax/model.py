"""A trained model as a value in Python: `load` it, ask it about images.

`protojax.load` is this module's `load`.
"""

from collections.abc import Mapping
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from jaxtyping import Float
from ml_collections import ConfigDict
import numpy as np

from protojax import loading, parallel
from protojax.data import stream as stream_lib
from protojax.datasets import given
from protojax.methods.base import able, needed
from protojax.prototypes.bank import Bank, bank_of
from protojax.types import PyTree, State

_MANY = 10**9  # images: more than a batch has


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Classified:
  """What a classifier says of an image.

  Attributes:
    image: name of the image.
    probabilities: class -> its probability, the largest first.
    points: what each prototype adds to the logit of the first class, [p];
      None of a method without prototypes.
    similarities: of each prototype to the part of the image most like it, [p].
    cells: that part: for most methods its row-major index in the grid, [p].
  """

  image: str
  probabilities: Mapping[str, float]
  points: Float[np.ndarray, " p"] | None
  similarities: Float[np.ndarray, " p"] | None
  cells: PyTree

  @property
  def label(self) -> str:
    """The class with the largest probability."""
    return next(iter(self.probabilities))

  @property
  def probability(self) -> float:
    """Of that class."""
    return self.probabilities[self.label]

  def __repr__(self) -> str:
    return f"{self.image}: {self.label} ({self.probability:.3f})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tagged:
  """What a model that gives several labels says of an image.

  Attributes:
    image: name of the image.
    probabilities: label -> its probability, the largest first.
    threshold: the probability above which a label is said.
  """

  image: str
  probabilities: Mapping[str, float]
  threshold: float

  @property
  def labels(self) -> tuple[str, ...]:
    """The labels that are said, the most probable one first."""
    found = self.probabilities.items()
    return tuple(name for name, share in found if share > self.threshold)

  def __repr__(self) -> str:
    return f"{self.image}: {', '.join(self.labels) or 'no label'}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inspected:
  """What a detector of anomalies says of an image.

  Attributes:
    image: name of the image.
    score: how anomalous it is.
    threshold: the score above which an image is called defective.
  """

  image: str
  score: float
  threshold: float

  @property
  def defective(self) -> bool:
    """Whether the score is above the threshold, or not a number."""
    return not self.score <= self.threshold

  def __repr__(self) -> str:
    word = "defective" if self.defective else "normal"
    return f"{self.image}: {word} ({self.score:.3g} of {self.threshold:.3g})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
  """A trained run.

  Attributes:
    folder: of the run.
    method: its system.
    state: its arrays.
    config: of the run.
  """

  folder: Path
  method: Any
  state: State
  config: ConfigDict

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits.

    Raises:
      UserError: the method does not classify.
    """
    return needed(self.method, "classifies").class_names

  @property
  def bank(self) -> Bank:
    """The prototypes: vectors, classes, whether alive, and where from."""
    return bank_of(self.state)

  def predict(self, images: Any) -> Any:
    """What the model says of images.

    Args:
      images: a path of a file, a folder or a pattern; a PIL image; uint8 pixels
        [H, W, 3] or [H, W], or a batch [b, H, W, 3]; or a list of these. Images
        of any size: they are resized as the run says.

    Returns:
      `Classified`, `Tagged` or `Inspected` of a single image; a list of them of
      a folder, a pattern, a batch or a list.

    Raises:
      UserError: they are no such images, or the method says nothing of
        images.
    """
    kind = next((k for k in _SAID if able(self.method, k) is not None), "")
    answers = needed(self.method, *_SAID)
    source, single = given.source(images)
    stream = stream_lib.ordered(
      source,
      loading.image_size(self.config),
      # Of two sizes alone, since each is compiled.
      loading.batch_size(self.config, 1 if len(source) == 1 else _MANY),
      resizing=loading.resizing(self.config),
      cache_bytes=0,
    )
    say = functools.partial(_SAID[kind], answers, self.state)
    found = []
    batches = stream.batches()
    for batch, rows in parallel.each(self.method.predict, self.state, batches):
      for i in np.flatnonzero(batch["valid"]):
        row = {name: values[i] for name, values in rows.items()}
        found.append(say(source.name(int(batch["index"][i])), row))
    return found[0] if single else found

  def __repr__(self) -> str:
    return f"{self.config.method} of {self.folder}"


def load(workdir: str | os.PathLike) -> Model:
  """The model of a trained run.

  Args:
    workdir: folder of the run.

  Raises:
    UserError: the folder holds no run, all its prototypes were pruned, or it
      has no checkpoint that fits it.
  """
  parallel.setup()
  folder = Path(workdir).expanduser()
  method, state, config = loading.load(folder)
  loading.require_living(method, state)
  return Model(folder, method, state, config)


def _classified(classifies: Any, state: State, name: str, row: Mapping) -> Any:
  del state
  return Classified(
    name,
    _shares(classifies.class_names, row),
    row.get("points"),
    row.get("similarities"),
    row.get("cells"),
  )


def _tagged(tags: Any, state: State, name: str, row: Mapping) -> Any:
  del state
  return Tagged(name, _shares(tags.class_names, row), tags.threshold)


def _shares(names: tuple[str, ...], row: Mapping) -> dict[str, float]:
  """Name -> its probability, the largest first."""
  shares = row["probabilities"]
  order = np.argsort(-shares, kind="stable")
  return {names[k]: float(shares[k]) for k in order}


def _inspected(inspects: Any, state: State, name: str, row: Mapping) -> Any:
  threshold = inspects.threshold(state).value
  return Inspected(name, float(row["score"]), float(threshold))


# Capability -> function that makes an answer of a row of `predict`.
_SAID = {"classifies": _classified, "tags": _tagged, "inspects": _inspected}

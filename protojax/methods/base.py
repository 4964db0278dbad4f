"""The interfaces of a method, for `train.py`, `explain.py` and commands."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import operator
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import jax
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from protojax import methods
from protojax.agents.judge import Trained
from protojax.data.cuboids import Cuboids
from protojax.data.splits import SPLITS
from protojax.data.stream import Stream
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.engine.assets import Asset
from protojax.engine.editable import Edits
from protojax.engine.stage import Fit, Pass
from protojax.explain.inspection import Threshold
from protojax.explain.request import Request
from protojax.methods.generating import Generates
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.groups import Groups
from protojax.types import Array, ArrayLike, Batch, Metrics, State, UserError

# The assets of a method that has none.
NO_ASSETS: Mapping[str, Asset] = MappingProxyType({})
# Makes of a method the object for a capability that its network has itself.
OF_NETWORK = operator.attrgetter("network")

# Capability -> the verb of a message about a method without it.
_VERBS = {
  "classifies": "classify images",
  "tags": "give images several labels",
  "segments": "segment images",
  "inspects": "look for anomalies",
  "localises": "find boxes",
  "explains": "explain its answers",
  "intervenes": "take corrections of a person",
  "edits": "let a person throw out prototypes",
  "generates": "generate images",
  "guidable": "draw by texts so that it can be steered",
  "simulates": "simulate",
  "asks": "train agents that ask",
}


class Classifies(Protocol):
  """A method whose answer is one of several named classes.

  Its `predict` gives "logits" and "probabilities" [b k] and, if it has
  prototypes, "similarities" and "points" for the predicted class, both [b p].
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    ...

  @property
  def groups(self) -> Groups:
    """The groups that its prototypes are sorted into."""
    ...


class Tags(Protocol):
  """A method that gives an image any of several labels; see `Classifies`."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """The labels, in the order of the logits and probabilities."""
    ...

  @property
  def threshold(self) -> float:
    """The probability above which a label is said."""


class Segments(Protocol):
  """A method that gives each pixel one of several named classes.

  Its `predict` gives "classes", int [b h w].
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes; index = value of a pixel."""
    ...


class Inspects(Protocol):
  """A method whose `predict` says how anomalous an image is: "score" [b]."""

  def threshold(self, state: State) -> Threshold:
    """The score above which an image is called defective."""
    ...


class Localises(Protocol):
  """A method that says where objects are, by boxes.

  Its `predict` gives "boxes" [b n 4], the top, left, bottom and right of each
  in pixels of the network's input; their "scores" [b n], 0 for padding; and
  their "classes", int [b n].
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes of objects; index = class of a box."""
    ...

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  def objects(
    self,
    row: Mapping[str, ArrayLike],
    camera: Float[ArrayLike, "3 4"] | None,
    shape: tuple[int, int],
    least: float,
  ) -> Cuboids:
    """What was found in an image, in its pixels and in space.

    Args:
      row: of `predict`, of one image.
      camera: projection matrix to its pixels; None where it is not known.
      shape: its height and width.
      least: score of an answer.
    """
    ...


class Explains(Protocol):
  """A method that explains; `report` is the module of `protojax.report`."""

  report: ClassVar[str]

  @property
  def scopes(self) -> tuple[str, ...]:
    """Of images ("local") and, if prototypes stand for several, "global"."""
    ...

  @property
  def network(self) -> Explainable | None:
    """Compares patches of images with prototypes; None if it does not."""
    ...

  def stale(self, state: State) -> bool:
    """Whether a prototype is no longer the patch it was pushed to."""
    ...

  def explain(self, state: State, data: Stream, request: Request) -> Iterator:
    """Explanations of images (local) and of prototypes (global).

    Args:
      state: of the method.
      data: the images, in the order of their source.
      request: what to explain, and how.
    """
    ...


class Intervenes(Protocol):
  """A method that a person can correct: where to look, what to reject."""

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    ...

  @property
  def concept_names(self) -> tuple[str, ...]:
    """The concepts, in the order of their scores."""
    ...

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells that an importance is given for."""
    ...

  def intervene(
    self,
    state: State,
    images: UInt8[ArrayLike, "b H W 3"],
    importance: Float[ArrayLike, "b h w"],
    rejected: Bool[ArrayLike, "b c"],
  ) -> Mapping[str, Array]:
    """The answers to images after an intervention.

    Args:
      state: of the method.
      images: at network size.
      importance: of every cell (`interact.importance_map`); 1: all count.
      rejected: concepts that are left out.

    Returns:
      "logits" and "probabilities" [b k], "concept_scores" and "contributions"
      (to the logit of the predicted class) [b c], "best" [b c], the prototype
      that gives each concept its score, and "maps" [b h w c], its similarity
      times the importance.
    """
    ...


class Simulates(Protocol):
  """A method that says what would happen, step by step."""

  def simulate(
    self, state: State, inputs: Mapping[str, ArrayLike]
  ) -> Mapping[str, Array]:
    """Results by name.

    Args:
      state: of the method.
      inputs: name -> array that the simulation starts from.
    """
    ...


class Asks(Protocol):
  """A method that trains what agents of `agents` use."""

  def trained(self, state: State, name: str) -> Trained:
    """Beliefs, a judge of pictures, and a policy.

    Args:
      state: of the method.
      name: of the run, for messages.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Capabilities:
  """What a method can do, declared on its class.

  A field is None, or a function that makes of a method an object with the
  interface: `able` and `needed` call it. Whether a field is None tells what a
  method can do, and opens nothing.

  Attributes:
    classifies: gives images one of several classes: `Classifies`.
    tags: gives images any of several labels: `Tags`.
    segments: gives pixels one of several classes: `Segments`.
    inspects: says how anomalous images are: `Inspects`.
    localises: gives boxes of objects: `Localises`.
    explains: gives reasons of its answers: `Explains`.
    intervenes: answers anew after a person's correction: `Intervenes`.
    edits: answers anew without some of its prototypes: `Edits`.
    generates: makes images: `Generates`.
    guidable: makes images of texts, and can be steered: `GuidableDiffusion`.
    simulates: says what would happen: `Simulates`.
    asks: trains what agents use: `Asks`.
  """

  classifies: Callable[[Any], Classifies] | None = None
  tags: Callable[[Any], Tags] | None = None
  segments: Callable[[Any], Segments] | None = None
  inspects: Callable[[Any], Inspects] | None = None
  localises: Callable[[Any], Localises] | None = None
  explains: Callable[[Any], Explains] | None = None
  intervenes: Callable[[Any], Intervenes] | None = None
  edits: Callable[[Any], Edits] | None = None
  generates: Callable[[Any], Generates] | None = None
  guidable: Callable[[Any], GuidableDiffusion] | None = None
  simulates: Callable[[Any], Simulates] | None = None
  asks: Callable[[Any], Asks] | None = None


class Method(Protocol):
  """A system that learns prototypes.

  Made from a config by the class `Method` of its module. It owns the config:
  nothing below it reads a config key.

  Attributes:
    assets: the frozen trees that it reads; functions of a state find them in
      it.
    capabilities: what it can do, declared on the class.
    config: of the run.
    splits: the splits of its data: "train", "test" and, if images are held out
      of training to choose by, "validation".
  """

  assets: Mapping[str, Asset]
  capabilities: ClassVar[Capabilities]
  config: ConfigDict
  splits: tuple[str, ...]

  def init(self, key: jax.Array) -> State:
    """A state from a key alone; a start from data is a `Pass`."""
    ...

  def stages(self) -> Iterable[Fit | Pass]:
    """The stages of training, in order."""
    ...

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """One row per example, on the device."""
    ...

  def stream(self, split: str) -> Stream:
    """The examples of one of its splits in source order."""
    ...

  def evaluate(self, state: State, split: str) -> Metrics:
    """Metrics of a state on a split; called after every stage."""
    ...

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The method's own entries of WORKDIR/summary.json.

    "headline" names the metric of `evaluate` that tables show and the best seed
    is chosen by, "accuracy" without it. A larger one must be better.

    Args:
      state: the final state.
      stages: each stage's "id" and "metrics", in order.
    """
    ...


def able(method: Any, name: str) -> Any:
  """A capability of a method; None if it does not have it.

  Args:
    method: any method.
    name: a field of `Capabilities`, such as "explains".
  """
  make = getattr(method.capabilities, name)
  return None if make is None else make(method)


def needed(method: Any, *names: str) -> Any:
  """The first of some capabilities that a method has.

  Args:
    method: any method.
    *names: fields of `Capabilities`.

  Raises:
    UserError: it has none of them; says which methods have one.
  """
  for name in names:
    if (found := able(method, name)) is not None:
      return found
  verbs = " or ".join(_VERBS[name] for name in names)
  raise UserError(
    f"the method of this run, {method.config.method}, does not {verbs};"
    f" methods that do: {', '.join(_having(names)) or 'none'}"
  )


def _having(names: Sequence[str]) -> list[str]:
  """The methods that have one of some capabilities; opens no data."""
  return [
    method
    for method in methods.names()
    if any(getattr(methods.find(method).capabilities, name) for name in names)
  ]


def splits(validation_fraction: float, patience: int) -> tuple[str, ...]:
  """The splits of labelled data, with "validation" if images are held out.

  Args:
    validation_fraction: the share of the training images to validate on.
    patience: of stages that end by their accuracy on validation images.

  Raises:
    UserError: there is patience, but no image to validate on.
  """
  if patience and not validation_fraction:
    raise UserError(
      f"--config.joint.patience={patience} needs images to validate on: set"
      " --config.data.validation_fraction=0.1, or patience to 0."
    )
  return SPLITS if validation_fraction else ("train", "test")

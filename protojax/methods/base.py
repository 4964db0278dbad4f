"""The interfaces of a method, for `train.py`, `explain.py` and commands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, TypeVar, runtime_checkable

from flax.traverse_util import flatten_dict
import jax
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from protojax.data.splits import SPLITS
from protojax.data.stream import Stream
from protojax.engine.assets import Asset
from protojax.engine.stage import Fit, Pass
from protojax.explain.inspection import Threshold
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.groups import Groups
from protojax.types import Array, ArrayLike, Batch, Metrics, State, UserError

T = TypeVar("T")


class Method(Protocol):
  """A system that learns prototypes.

  Made from a config by the class `Method` of its module. It owns the config:
  nothing below it reads a config key.

  Attributes:
    capabilities: what it can do: the interfaces of this module that it has,
      declared and not inferred; see `can`.
    assets: the frozen trees that it reads; functions of a state find them in
      it.
    splits: the splits of its data: "train", "test" and, if images are held out
      of training to choose by, "validation".
  """

  capabilities: frozenset[type]
  assets: Mapping[str, Asset]
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

  def evaluate(self, state: State, data: Stream) -> Metrics:
    """Metrics of a state on a stream; called after every stage."""
    ...

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The method's own entries of WORKDIR/summary.json.

    Args:
      state: the final state.
      stages: each stage's "id" and "metrics", in order.
    """
    ...


@runtime_checkable
class Explains(Protocol):
  """A method that explains its answers.

  Attributes:
    scopes: "local" (images) and, if it has prototypes that stand for more than
      one image, "global".
    report: the module of `protojax.report` that writes its explanations.
  """

  scopes: tuple[str, ...]
  report: str

  def stale(self, state: State) -> bool:
    """Whether a prototype is no longer the patch it was pushed to."""
    ...

  def explain(self, state: State, data: Stream, **options: Any) -> Iterator:
    """Explanations of images (local) and of prototypes (global)."""
    ...


@runtime_checkable
class Compares(Protocol):
  """A method that compares patches of images with prototypes."""

  @property
  def network(self) -> Explainable:
    """The network; its parameters and buffers are in the state."""
    ...


@runtime_checkable
class Inspects(Protocol):
  """A method that scores how anomalous an image is."""

  def threshold(self, state: State) -> Threshold:
    """The score above which an image is called defective."""
    ...


@runtime_checkable
class Classifies(Protocol):
  """A method whose answer is one of several named classes.

  Its `predict` gives "probabilities" [b k] and, if it has prototypes,
  "similarities" and "points" for the predicted class, both [b p].
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    ...

  @property
  def groups(self) -> Groups:
    """The groups that its prototypes are sorted into."""
    ...


@runtime_checkable
class Intervenes(Protocol):
  """A method that a person can correct: where to look, what to reject.

  It classifies: `class_names` are those of `Classifies`.
  """

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


def can(method: Any, interface: type[T]) -> TypeGuard[T]:
  """Whether a method declares that it has an interface.

  `isinstance` is no substitute: on Python 3.11 it evaluates the properties of
  an interface, some of which open the data set.

  Args:
    method: any method.
    interface: of this module, such as `Explains`.
  """
  return interface in method.capabilities


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


def at_least(config: ConfigDict, bounds: Mapping[str, int]) -> None:
  """Refuses numbers that are too small.

  Args:
    config: of the run.
    bounds: key, such as "data.image_size" -> its smallest value.

  Raises:
    UserError: names the key, its value and the bound.
  """
  values: Any = flatten_dict(config.to_dict(), sep=".")
  for key, bound in bounds.items():
    if values[key] < bound:
      raise UserError(
        f"--config.{key} is {values[key]}; it must be {bound} or more."
      )

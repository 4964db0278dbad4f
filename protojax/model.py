"""A trained model as a value in Python: `load` it, ask it about images.

`protojax.load` is this module's `load`.
"""

from collections.abc import Mapping
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from ml_collections import ConfigDict
import numpy as np

from protojax import __version__, hub, loading, methods, parallel, typed, why
from protojax.data.source import Source
from protojax.data.stream import Stream
from protojax.datasets import given
from protojax.explain import familiarity, prototypical
from protojax.explain.request import Request
from protojax.heat import maps
from protojax.methods.base import able, needed
from protojax.modify import presets
from protojax.modify.modification import require_known
from protojax.prototypes.bank import Bank
from protojax.report import page
from protojax.types import PyTree, State, UserError
from protojax.why import Prototypes

_MANY = 10**9  # images: more than a batch has
_UNSEEN = 255  # of pixels that the network does not see
_SHOWN = 4  # classes of pixels in one line


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
    familiarity: percentile of its best similarity (without one, its largest
      logit) among the images that the model knows; None of runs that have not
      stored these, see `explain.familiarity`.
  """

  image: str
  probabilities: Mapping[str, float]
  points: Float[np.ndarray, " p"] | None
  similarities: Float[np.ndarray, " p"] | None
  cells: PyTree
  familiarity: float | None = None

  @property
  def unfamiliar(self) -> bool:
    """Whether it is unlike the images that the model knows, as far as known."""
    return familiarity.unfamiliar(self.familiarity)

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
class Segmented:
  """The class of each pixel of an image.

  Attributes:
    image: name of the image.
    classes: of each pixel of the image as it was given; index in
      `Model.class_names`, 255 where the model does not look.
    shares: class -> its share of the pixels, the largest first; those that the
      image shows.
  """

  image: str
  classes: Int[np.ndarray, "H W"]
  shares: Mapping[str, float]

  def __repr__(self) -> str:
    shown = list(self.shares.items())[:_SHOWN]
    more = ", ..." if len(self.shares) > _SHOWN else ""
    told = ", ".join(f"{name} {share:.0%}" for name, share in shown)
    return f"{self.image}: {told}{more}"


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
      UserError: the method has no classes of images or pixels.
    """
    return needed(self.method, "classifies", "tags", "segments").class_names

  @property
  def bank(self) -> Bank:
    """The prototypes: vectors, classes, whether alive, and where from.

    Raises:
      UserError: the method keeps none that parts of images are compared with.
    """
    explains = able(self.method, "explains")
    if explains is None or explains.network is None:
      raise UserError(
        f"{self.config.method} keeps no bank of prototypes that parts of images"
        " are compared with; `model.state` has its arrays"
      )
    return explains.network.bank(self.state)

  @typed.from_python()
  def predict(self, images: Any) -> Any:
    """What the model says of images.

    Args:
      images: a path of a file, a folder or a pattern; a PIL image; uint8 pixels
        [H, W, 3] or [H, W], or a batch [b, H, W, 3]; or a list of these. Images
        of any size: they are resized as the run says.

    Returns:
      `Classified`, `Tagged`, `Inspected` or `Segmented` of a single image; a
      list of them of a folder, a pattern, a batch or a list.

    Raises:
      UserError: they are no such images, or the method says nothing of
        images.
    """
    kind = next((k for k in _SAID if able(self.method, k) is not None), "")
    answers = needed(self.method, *_SAID)
    source, single = given.source(images)
    stream = self._stream(source)
    say = functools.partial(_SAID[kind], answers, self.state)
    if kind == "classifies":
      say = functools.partial(say, known=self._known)
    found = []
    batches = stream.batches()
    for batch, rows in parallel.each(self.method.predict, self.state, batches):
      for i in np.flatnonzero(batch["valid"]):
        row = {name: values[i] for name, values in rows.items()}
        index = int(batch["index"][i])
        if kind == "segments":
          shape = source[index]["image"].shape
          frame = stream.resizing.frame(shape, stream.image_size)
          row["classes"] = frame.at_own_size(row["classes"], shape, _UNSEEN)
        found.append(say(source.name(index), row))
    return found[0] if single else found

  @functools.cached_property
  @typed.from_python()
  def prototypes(self) -> Prototypes:
    """The prototypes with their pictures; index = number.

    Raises:
      UserError: they are no patches of training images, or have changed since
        they were.
    """
    explains = needed(self.method, "explains")
    found = why.of_patches(explains, self.config.method)
    way_out = f"`{typed.command('explain')} --allow-stale`"
    loading.require_current(explains, self.state, self.folder, way_out)
    return Prototypes(found, self.state, self._head())

  @typed.from_python()
  def explain(
    self,
    images: Any,
    preset: str = presets.DEFAULT.name,
    heat: str = "upsampling",
    allow_stale: bool = False,
  ) -> Any:
    """Why the model says what it says of images.

    Args:
      images: as `predict` takes them. Pictures of all of them are in memory.
      preset: what is changed, and how far: "two_sided", "reference",
        "balanced", "v1", a JSON file, or one characteristic at several
        strengths, such as "contrast=0.2,0.45,0.7".
      heat: what heat maps of prototypes show: "upsampling", "receptive_field",
        "saliency", "smoothgrad", "integrated_gradients", "occlusion",
        "grad_cam" or "prp". Leave it out for detectors, and methods that
        explain in blocks: they have maps of their own.
      allow_stale: explain prototypes that have changed since the last push.

    Returns:
      `Why` of a single image; a list of them of a folder, a pattern, a batch
      or a list.

    Raises:
      UserError: they are no such images, or the method explains none.
    """
    chosen, explains = presets.load(preset), needed(self.method, "explains")
    require_known("attribution", heat, maps.ATTRIBUTIONS)
    prototypical.require_heat(explains, heat, self.config.method)
    if not allow_stale:
      loading.require_current(
        explains, self.state, self.folder, "allow_stale=True"
      )
    source, single = given.source(images)
    request = Request(
      split="images",
      scope="local",
      preset=chosen,
      heat=heat,
      limit=len(source),
      shown_unlabelled=len(source),
      allow_changed=allow_stale,
      known=self._known,
    )
    stream = self._stream(source)
    found = why.reasons(
      explains.explain(self.state, stream, request), self._head(), self._known
    )
    return found[0] if single else found

  def _stream(self, source: Source) -> Stream:
    """The images, in batches of two sizes alone, since each is compiled."""
    return loading.stream(self.config, source, 1 if len(source) == 1 else _MANY)

  @functools.cached_property
  def _known(self) -> familiarity.Familiarity | None:
    """The images that the model knows, if the run has stored them."""
    return familiarity.read(self.folder)

  def _head(self) -> page.Run:
    """The head of pages."""
    return page.Run(
      title=self.folder.name,
      version=__version__,
      notes=methods.notes(self.config.method),
    )

  def __repr__(self) -> str:
    return f"{self.config.method} of {self.folder}"


@typed.from_python()
def load(workdir: str | os.PathLike) -> Model:
  """The model of a trained run.

  Args:
    workdir: folder of the run; or "hf:owner/name", which `publish` wrote.

  Raises:
    UserError: the folder holds no run, all its prototypes were pruned, or it
      has no checkpoint that fits it; or there is no such published run.
  """
  parallel.setup()
  if isinstance(workdir, str) and workdir.startswith(hub.HUB):
    folder = hub.fetched(workdir)
  else:
    folder = Path(workdir).expanduser()
  method, state, config = loading.load(folder)
  loading.require_living(method, state)
  return Model(folder, method, state, config)


def _classified(
  classifies: Any,
  state: State,
  name: str,
  row: Mapping,
  known: familiarity.Familiarity | None,
) -> Any:
  percentile = None
  if known is not None:
    percentile = known.of_row(row, state)
  return Classified(
    name,
    _shares(classifies.class_names, row),
    row.get("points"),
    row.get("similarities"),
    row.get("cells"),
    percentile,
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


def _segmented(segments: Any, state: State, name: str, row: Mapping) -> Any:
  del state
  classes, names = row["classes"], segments.class_names
  counts = np.bincount(classes.ravel(), minlength=_UNSEEN + 1)[: len(names)]
  order = np.argsort(-counts, kind="stable")
  total = max(int(counts.sum()), 1)
  shares = {names[k]: float(counts[k] / total) for k in order if counts[k]}
  return Segmented(name, classes, shares)


# Capability -> function that makes an answer of a row of `predict`.
_SAID = {
  "classifies": _classified,
  "tags": _tagged,
  "inspects": _inspected,
  "segments": _segmented,
}

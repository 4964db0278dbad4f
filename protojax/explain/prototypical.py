"""Explains models whose prototypes are patches of training images.

A method calls `of_method` in its `explain`. One sweep over a stream gives the
local and the global scores; pictures are made only of images and prototypes
that a report shows.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
import numpy as np

from protojax.explain import (
  overview,
  patches,
  prototype_evidence,
  reference_mode,
)
from protojax.explain.context import Context
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.redundancy import Correlation
from protojax.explain.scoring_sheet import ScoringSheets
from protojax.explain.sweep import Totals, sweep
from protojax.modify import presets
from protojax.modify.presets import Preset
from protojax.prototypes.explainable import Explainable
from protojax.types import Batch, State

# Images with a wrong class that are shown beside those of each class.
_MISTAKES = 12
# Images without a label that are shown.
_UNLABELLED = 48


@runtime_checkable
class Explained(Protocol):
  """A method with a network whose prototypes are patches."""

  @property
  def network(self) -> Explainable:
    """The network that is explained."""
    ...

  def stream(self, split: str) -> Any:
    """The images of a split in source order.

    Raises:
      UserError: they are gone.
    """
    ...

  def evaluate(self, state: State, data: Any) -> Mapping[str, Any]:
    """Metrics of a state on a stream, "accuracy" among them."""
    ...


def of_method(
  method: Explained, state: State, stream: Any, **options: Any
) -> Iterator[LocalExplanation | Overview | GlobalExplanation]:
  """Explains with the network, the data and the metrics of a method.

  Args:
    method: gives the network, the data and the metrics. If the images have
      labels, redundant prototypes are found, and the accuracy without them.
    state: its state, after a push.
    stream: the images, in the order of their source.
    **options: see `explain`.
  """
  evaluate = None
  if np.all(stream.labels >= 0):
    evaluate = functools.partial(_accuracy, method)
  return explain(
    method.network,
    state,
    stream,
    training=functools.partial(method.stream, "train"),
    evaluate=evaluate,
    **options,
  )


def _accuracy(method: Explained, state: State) -> float:
  return float(method.evaluate(state, method.stream("test"))["accuracy"])


def explain(
  model: Explainable,
  state: State,
  stream: Any,
  *,
  training: Callable[[], Any],
  evaluate: overview.Evaluate | None = None,
  split: str = "test",
  scope: str = "both",
  preset: Preset = presets.REFERENCE,
  limit: int | None = None,
  top: int = 10,
  keep_all: bool = False,
  shown: int = 2,
  rows_shown: int = 5,
  prototypes_shown: int = 2000,
  nearest: int = 5,
  heat: str = "upsampling",
  provenance: bool = True,
  allow_changed: bool = False,
  progress: Callable[[int], None] = lambda images: None,
) -> Iterator[LocalExplanation | Overview | GlobalExplanation]:
  """Explains images and prototypes in one sweep over a stream.

  Args:
    model: see `Explainable`.
    state: its state, after a push.
    stream: the images, in the order of their source.
    training: gives the stream of images that the prototypes were pushed to;
      raises `UserError` if they are gone.
    evaluate: state -> accuracy; if given, redundant prototypes are found, and
      the accuracy without them.
    split: of the images; "train" means that the prototypes were pushed to them.
    scope: "local" (images), "global" (prototypes) or "both".
    preset: what to modify, and how to score it.
    limit: use at most so many images, evenly over the stream.
    top: prototypes listed for each image.
    keep_all: list the scores of all prototypes, too.
    shown: images of each class that get pictures; some images with a wrong
      class are added.
    rows_shown: prototypes with pictures for each such image.
    prototypes_shown: how many prototypes get pictures.
    nearest: images listed for each prototype.
    heat: what heat maps show, one of `maps.ATTRIBUTIONS`.
    provenance: give the patches that prototypes were pushed to; once is enough
      for several splits.
    allow_changed: explain even if the images of the prototypes have changed.
    progress: called with the number of images of each batch that is done.

  Yields:
    Local explanations in the order of the stream; then an overview, unless the
    scope is "local"; then global explanations by prototype. For scope "local"
    these have no scores and are only of prototypes that shown images are
    compared with.

  Raises:
    UserError: a training image is not the one a prototype was pushed to.
  """
  context = Context(model, state, stream, split, preset, heat)
  correlation = None
  if evaluate is not None and scope != "local":
    correlation = overview.correlation(context)
  compared, totals = yield from _images(
    context,
    reference_mode.attach(
      stream.spread(limit), stream.source, preset, model.image_size
    ),
    _PictureChoice(shown),
    rows_shown,
    scope,
    correlation,
    progress,
    top=top,
    nearest=nearest,
    keep_all=keep_all,
  )
  every = range(len(context.buffers["alive"]))
  partners: dict[int, tuple[int, ...]] = {}
  if scope == "local":
    every, totals = sorted(compared), None
  elif totals is not None:
    redundant = None
    if evaluate is not None and correlation is not None:
      redundant = overview.redundancy(context, totals, correlation, evaluate)
      partners = overview.partners(redundant)
    yield overview.overview(context, totals, redundant)
  for explained in prototype_evidence.of_prototypes(
    context,
    every,
    totals,
    training if provenance else None,
    prototypes_shown,
    allow_changed=allow_changed,
    optional=scope == "local",
  ):
    others = partners.get(explained.prototype, ())
    yield dataclasses.replace(explained, redundant_with=others)


def _images(
  context: Context,
  batches: Iterator[Batch],
  choose: "_PictureChoice",
  rows_shown: int,
  scope: str,
  correlation: Correlation | None,
  progress: Callable[[int], None],
  **options: Any,
) -> Generator[LocalExplanation, None, tuple[set[int], Totals | None]]:
  """Explains images; returns the prototypes of the shown ones, and totals."""
  stream, alive = context.stream, context.buffers["alive"]
  scoring_sheets = ScoringSheets(
    context.split,
    context.preset.names,
    context.model.class_names,
    context.model.groups.names,
    context.buffers,
    context.weights,
    context.bias,
  )
  compared, totals = set(), None
  for result in sweep(
    context.model,
    context.state,
    batches,
    context.preset,
    provenance=context.provenance,
    by_points=context.model.groups.by_points,
    keep_features=scope != "global",
    **options,
  ):
    if isinstance(result, Totals):
      totals = result
      continue
    if correlation is not None:
      correlation.add(result.similarities[:, alive])
    if result.embedded is not None:
      found = scoring_sheets(result, stream.source.name)
      for explained, embedded in zip(found, result.embedded, strict=True):
        if choose(explained):
          explained = _with_pictures(context, explained, embedded, rows_shown)
          compared.update(r.prototype for r in explained.evidence)
        yield explained
    progress(len(result.index))
  return compared, totals


def _with_pictures(
  context: Context,
  explained: LocalExplanation,
  embedded: Float[np.ndarray, "h w d"],
  rows: int,
) -> LocalExplanation:
  """Adds the image, and heat maps of its most similar prototypes."""
  heat_maps = context.heat_maps
  image = context.stream.examples([explained.index])["image"][0]
  shown = [row.prototype for row in explained.evidence[:rows]]
  seen = heat_maps(image, shown, explained.index, embedded)
  pictured = [
    dataclasses.replace(
      row,
      box=box,
      field=heat_maps.field(row.cell),
      heat=heat,
      crop=patches.crop(image, box),
    )
    for row, (box, heat) in zip(explained.evidence, seen, strict=False)
  ]
  return dataclasses.replace(
    explained,
    picture=image,
    evidence=(*pictured, *explained.evidence[len(pictured) :]),
  )


class _PictureChoice:
  """Chooses the images that get pictures: some of each class, some mistakes."""

  def __init__(self, per_class: int) -> None:
    self._left: dict[str | None, int] = {None: _UNLABELLED}
    self._per_class = per_class
    self._mistakes = _MISTAKES

  def __call__(self, explained: LocalExplanation) -> bool:
    left = self._left.setdefault(explained.label, self._per_class)
    if left > 0:
      self._left[explained.label] -= 1
      return True
    if explained.wrong and self._mistakes > 0:
      self._mistakes -= 1
      return True
    return False

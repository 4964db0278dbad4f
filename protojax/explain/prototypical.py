"""Explains models whose prototypes are patches of training images.

What a method with such prototypes calls for its `explain`: one sweep over a
stream gives the local and the global scores; pictures are made only of what a
report has room for.
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

# Of the images whose class was not recognised, shown on top of the others.
_MISTAKES = 12
_UNLABELLED = 48


@runtime_checkable
class Explained(Protocol):
  """A method with a network whose prototypes are patches."""

  @property
  def network(self) -> Explainable:
    """What is explained."""
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
    method: whose network is explained. Where the images have labels, redundant
      prototypes are looked for, and what the model loses without them.
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
    training: gives the stream of images that the prototypes were pushed to,
      or a `UserError` where they are gone.
    evaluate: state -> accuracy; where it is given, redundant prototypes are
      looked for, and what the model loses without them.
    split: what to call them; "train" says that they are the images the
      prototypes were pushed to.
    scope: "local" (images), "global" (prototypes) or "both".
    preset: what to modify, and how to score it.
    limit: take that many images only, evenly over the stream.
    top: prototypes listed for each image.
    keep_all: list the scores of all prototypes, too.
    shown: images of each class that get pictures; images whose class was not
      recognised get some of their own.
    rows_shown: prototypes with pictures for each such image.
    prototypes_shown: how many prototypes get pictures.
    nearest: images listed for each prototype.
    heat: what heat maps show, one of `maps.ATTRIBUTIONS`.
    provenance: say where the prototypes were taken from; that need not be done
      again for a second split.
    allow_changed: explain even if the prototypes' images have changed.
    progress: called with the number of images of each batch that is done.

  Yields:
    Local explanations in the order of the stream; unless the scope is "local",
    an overview; global explanations by prototype, for scope "local" only of
    prototypes that the shown images are compared with, and without scores.

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
    _Shown(shown),
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
  choose: "_Shown",
  rows_shown: int,
  scope: str,
  correlation: Correlation | None,
  progress: Callable[[int], None],
  **options: Any,
) -> Generator[LocalExplanation, None, tuple[set[int], Totals | None]]:
  """Explains the images; returns whom they were compared with, and totals."""
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
  for part in sweep(
    context.model,
    context.state,
    batches,
    context.preset,
    provenance=context.provenance,
    by_points=context.model.groups.by_points,
    keep_features=scope != "global",
    **options,
  ):
    if isinstance(part, Totals):
      totals = part
      continue
    if correlation is not None:
      correlation.add(part.similarities[:, alive])
    if part.embedded is not None:
      found = scoring_sheets(part, stream.source.name)
      for explained, embedded in zip(found, part.embedded, strict=True):
        if choose(explained):
          explained = _with_pictures(context, explained, embedded, rows_shown)
          compared.update(r.prototype for r in explained.evidence)
        yield explained
    progress(len(part.index))
  return compared, totals


def _with_pictures(
  context: Context,
  explained: LocalExplanation,
  embedded: Float[np.ndarray, "h w d"],
  rows: int,
) -> LocalExplanation:
  """The same with the image, and where its most similar prototypes look."""
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


class _Shown:
  """Decides which images get pictures: some of each class, some mistakes."""

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

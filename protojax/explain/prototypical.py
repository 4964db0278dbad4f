"""Explains models whose prototypes are patches of training images.

A method declares `explains=Explainer`. One sweep over a stream gives the local
and the global scores; pictures are made only of images and prototypes that a
report shows.
"""

from collections.abc import Callable, Generator, Iterator
import dataclasses
import functools
from typing import Any, ClassVar

from jaxtyping import Float
import numpy as np

from protojax.explain import (
  overview,
  patches,
  prototype_evidence,
  reference_mode,
  shapes,
)
from protojax.explain.context import Context
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.redundancy import Correlation
from protojax.explain.request import Request
from protojax.explain.scoring_sheet import ScoringSheets
from protojax.explain.sweep import Totals, sweep
from protojax.metrics import classification
from protojax.modify import presets
from protojax.prototypes import push
from protojax.prototypes.bank import require_living
from protojax.prototypes.explainable import Explainable
from protojax.types import State, UserError

# Images with a wrong class that are shown beside those of each class.
_MISTAKES = 12


@dataclasses.dataclass(frozen=True)
class Explainer:
  """The `explains` of a method whose prototypes are patches of images.

  Attributes:
    method: gives the network, the streams, and "logits" in `predict`.
    check: called with the state first; raises `UserError` if it cannot be
      explained.
    scopes: see `base.Explains`.
  """

  method: Any
  check: Callable[[State], None] | None = None

  scopes: tuple[str, ...] = ("local", "global")
  report: ClassVar[str] = "class_report"

  @property
  def network(self) -> Explainable:
    """The network of the method."""
    return self.method.network

  def stale(self, state: State) -> bool:
    """Whether a prototype is no longer the patch it was pushed to."""
    return push.stale(state)

  def explain(
    self, state: State, data: Any, request: Request
  ) -> Iterator[LocalExplanation | Overview | GlobalExplanation]:
    """Explains with the network, the data and the answers of the method.

    Args:
      state: of the method, after a push.
      data: the images, in the order of their source. If they have labels,
        redundant prototypes are found, and the accuracy without them.
      request: all of it has an effect.
    """
    if self.check is not None:
      self.check(state)
    return explain(
      self.network,
      state,
      data,
      request,
      training=functools.partial(self.method.stream, "train"),
      evaluate=self._accuracy if np.all(data.labels >= 0) else None,
    )

  def pushed(self, state: State, number: int) -> GlobalExplanation:
    """A prototype with its patch and its pictures, but without scores.

    Raises:
      UserError: the training images are gone, or have changed since the push.
    """
    if self.check is not None:
      self.check(state)
    training = functools.partial(self.method.stream, "train")
    context = Context(self.network, state, training(), "train", presets.DEFAULT)
    (found,) = prototype_evidence.of_prototypes(
      context,
      [number],
      None,
      training,
      len(context.bank.alive),
      allow_changed=False,
      optional=False,
    )
    return found

  def scored(self, state: State) -> Iterator[GlobalExplanation]:
    """All prototypes with their scores over the training images, no pictures.

    Raises:
      UserError: the training images are gone, or have changed since the push.
    """
    if self.check is not None:
      self.check(state)
    training = functools.partial(self.method.stream, "train")
    request = Request(split="train", scope="global", prototypes_shown=0)
    for found in explain(
      self.network, state, training().once(), request, training=training
    ):
      if isinstance(found, GlobalExplanation):
        yield found

  def _accuracy(self, state: State) -> float:
    """Accuracy on the test images, none of which is kept in memory."""
    batches = self.method.stream("test").once().batches()
    found = classification.evaluate(self.method.predict, state, batches)
    return found["accuracy"]


def require_heat(explains: Any, heat: str, method: str) -> None:
  """Refuses a choice of heat maps, of a method that draws maps of its own.

  Args:
    explains: of the method.
    heat: see `Request`.
    method: its name.

  Raises:
    UserError: something else than the default is chosen, and has no effect.
  """
  if heat != Request.heat and not isinstance(explains, Explainer):
    raise UserError(
      f"--heat={heat}: {method} draws maps of its own; leave --heat out. It is"
      " for methods whose prototypes are patches of training images."
    )


def explain(
  model: Explainable,
  state: State,
  stream: Any,
  request: Request,
  *,
  training: Callable[[], Any],
  evaluate: overview.Evaluate | None = None,
) -> Iterator[LocalExplanation | Overview | GlobalExplanation]:
  """Explains images and prototypes in one sweep over a stream.

  Args:
    model: see `Explainable`.
    state: its state, after a push.
    stream: the images, in the order of their source.
    request: what to explain, and how much of it to show.
    training: gives the stream of images that the prototypes were pushed to;
      raises `UserError` if they are gone.
    evaluate: state -> accuracy; if given, redundant prototypes are found, and
      the accuracy without them.

  Yields:
    Local explanations in the order of the stream; then an overview, unless the
    scope is "local"; then global explanations by prototype. For scope "local"
    these have no scores and are only of prototypes that shown images are
    compared with.

  Raises:
    UserError: no prototype is alive, or a training image is not the one a
      prototype was pushed to.
  """
  local = request.scope == "local"
  context = Context(
    model, state, stream, request.split, request.preset, request.heat
  )
  require_living(context.bank)
  correlation = None
  if evaluate is not None and not local:
    correlation = overview.correlation(context)
  compared, totals = yield from _images(context, request, correlation)
  every = range(len(context.bank.alive))
  partners: dict[int, tuple[int, ...]] = {}
  if local:
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
    training if request.provenance else None,
    request.prototypes_shown,
    allow_changed=request.allow_changed,
    optional=local,
  ):
    others = partners.get(explained.prototype, ())
    yield dataclasses.replace(explained, redundant_with=others)


def _images(
  context: Context, request: Request, correlation: Correlation | None
) -> Generator[LocalExplanation, None, tuple[set[int], Totals | None]]:
  """Explains images; returns the prototypes of the shown ones, and totals."""
  stream, alive = context.stream, context.bank.alive
  choose = _PictureChoice(request.shown, request.shown_unlabelled)
  scoring_sheets = ScoringSheets(
    context.split,
    context.preset.names,
    context.model.class_names,
    context.model.groups.names,
    context.bank,
    context.weights,
    context.bias,
  )
  batches = reference_mode.attach(
    stream.spread(request.limit),
    stream.source,
    context.preset,
    stream.image_size,
    stream.resizing,
  )
  compared, totals = set(), None
  for result in sweep(
    context.model,
    context.state,
    batches,
    context.preset,
    provenance=context.provenance,
    top=request.top,
    nearest=request.nearest,
    keep_all=request.keep_all,
    keep_features=request.scope != "global",
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
          explained = _with_pictures(
            context, explained, embedded, request.rows_shown
          )
          compared.update(r.prototype for r in explained.evidence)
        yield explained
    request.progress(len(result.index))
  return compared, totals


def _with_pictures(
  context: Context,
  explained: LocalExplanation,
  embedded: Float[np.ndarray, "h w d"],
  rows: int,
) -> LocalExplanation:
  """Adds the image, where its prototypes are, and heat maps of the first."""
  heat_maps = context.heat_maps
  image = context.stream.examples([explained.index])["image"][0]
  shown = [row.prototype for row in explained.evidence]
  first = len(shown) if context.heat == "upsampling" else rows
  seen = heat_maps(image, shown[:first], explained.index, embedded)
  seen += context.boxes(image, shown[first:], explained.index, embedded)
  pictured = tuple(
    dataclasses.replace(
      row,
      box=box,
      field=heat_maps.field(row.cell),
      heat=heat if n < rows else None,
      crop=patches.crop(image, box),
    )
    for n, (row, (box, heat)) in enumerate(
      zip(explained.evidence, seen, strict=True)
    )
  )
  return dataclasses.replace(
    explained,
    picture=image,
    ratio=shapes.ratio(context.stream, explained.index),
    evidence=pictured,
  )


class _PictureChoice:
  """Chooses the images that get pictures: some of each class, some mistakes."""

  def __init__(self, per_class: int, unlabelled: int) -> None:
    self._left: dict[str | None, int] = {None: unlabelled}
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

"""Explains models whose prototypes are patches of training images.

What a method with such prototypes calls for its `explain`: one sweep over a
stream gives the local and the global scores; pictures are made only of what a
report has room for.
"""

from collections.abc import Callable, Iterator
import dataclasses
from typing import Any

import numpy as np

from protojax import parallel
from protojax.data import images as images_lib
from protojax.explain import evidence, presets
from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.look import Explainable, Look
from protojax.explain.presets import Preset
from protojax.explain.sweep import Rows, sweep
from protojax.explain.totals import Scores
from protojax.types import State, UserError

_ANSWERS = 5
# Of the images whose class was not recognised, shown on top of the others.
_MISTAKES = 12
_UNLABELLED = 48


def explain(
  model: Explainable,
  state: State,
  stream: Any,
  *,
  training: Callable[[], Any],
  split: str = "test",
  scope: str = "both",
  preset: Preset = presets.REFERENCE,
  limit: int | None = None,
  top: int = 10,
  keep_all: bool = False,
  shown: int = 2,
  rows_shown: int = 5,
  prototypes_shown: int = 300,
  patches: bool = True,
  allow_changed: bool = False,
  progress: Callable[[int], None] = lambda images: None,
) -> Iterator[LocalExplanation | GlobalExplanation]:
  """Explains images and prototypes in one sweep over a stream.

  Args:
    model: see `Explainable`.
    state: its state, after a push.
    stream: the images, in the order of their source.
    training: gives the stream of images that the prototypes were pushed to,
      or a `UserError` where they are gone.
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
    patches: say where the prototypes were taken from; that need not be done
      again for a second split.
    allow_changed: explain even if the prototypes' images have changed.
    progress: called with the number of images of each batch that is done.

  Yields:
    Local explanations in the order of the stream, then global ones by
    prototype; for scope "local" only of prototypes that the shown images are
    compared with, and without scores.

  Raises:
    UserError: a training image is not the one a prototype was pushed to.
  """
  names = preset.names
  look = Look(model, state)
  choose = _Shown(shown)
  buffers = parallel.to_host(state.buffers)
  source = np.asarray(buffers["provenance"].image)
  if split != "train":
    source = np.full_like(source, -1)
  weights = np.asarray(parallel.to_host(model.weights(state)))
  compared: set[int] = set()
  parts = sweep(
    model,
    state,
    stream.spread(limit),
    preset,
    source=source,
    top=top,
    keep_all=keep_all,
  )
  for part in parts:
    if isinstance(part, Rows):
      if scope != "global":
        for row in range(len(part.index)):
          explained = _local(
            model, buffers, weights, stream, split, names, part, row
          )
          if choose(explained):
            explained = _with_pictures(look, stream, explained, rows_shown)
            compared.update(r.prototype for r in explained.evidence)
          yield explained
      progress(len(part.index))
    else:
      wanted = compared if scope == "local" else range(len(source))
      found = {}
      if patches:
        found = _patches(
          training,
          look,
          buffers,
          wanted,
          prototypes_shown,
          allow_changed,
          optional=scope == "local",
        )
      scores = None if scope == "local" else part
      yield from _global(
        model, buffers, weights, split, names, wanted, scores, found
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


def _local(
  model, buffers, weights, stream, split, names, part, row
) -> LocalExplanation:
  logits = part.logits[row].astype(np.float64)
  shares = np.exp(logits - logits.max())
  shares /= shares.sum()
  order = np.argsort(-logits, kind="stable")
  answers = tuple(
    evidence.Answer(model.class_names[k], float(logits[k]), float(shares[k]))
    for k in order[:_ANSWERS]
  )
  first, second = order[0], order[min(1, len(order) - 1)]
  sheet = []
  for column, j in enumerate(part.prototypes[row].tolist()):
    if j < 0:
      continue
    similarity = float(part.similarity[row, column])
    delta = part.delta[row, :, column].tolist()
    sheet.append(
      evidence.Evidence(
        prototype=j,
        class_name=model.class_names[buffers["class_of"][j]],
        similarity=similarity,
        weight=float(weights[first, j]),
        points=similarity * float(weights[first, j]),
        runner_up_weight=float(weights[second, j]),
        cell=int(part.cell[row, column]),
        because=dict(zip(names, delta, strict=True)),
      )
    )
  index, label = int(part.index[row]), int(part.label[row])
  whole = part.whole and evidence.Whole(*(x[row] for x in part.whole))
  return LocalExplanation(
    image=stream.source.name(index),
    index=index,
    split=split,
    label=model.class_names[label] if label >= 0 else None,
    answers=answers,
    evidence=tuple(sheet),
    others=int(buffers["alive"].sum()) - len(sheet),
    whole=whole,
  )


def _with_pictures(look, stream, explained, rows) -> LocalExplanation:
  image = stream.examples([explained.index])["image"][0]
  seen = look(image, [row.prototype for row in explained.evidence[:rows]])
  pictured = [
    dataclasses.replace(row, box=box, field=look.field(row.cell), heat=heat)
    for row, (box, heat) in zip(explained.evidence, seen, strict=False)
  ]
  return dataclasses.replace(
    explained,
    picture=image,
    evidence=(*pictured, *explained.evidence[len(pictured) :]),
  )


def _patches(
  training, look, buffers, wanted, shown, allow_changed, optional
) -> dict[int, evidence.Patch]:
  """The sources of the prototypes, each image read and mapped once.

  Of an image that is gone there is none, even if changes are allowed.
  """
  try:
    stream = training()
  except UserError:
    # Images are explained one by one also where the training images are gone.
    if optional:
      return {}
    raise
  provenance = buffers["provenance"]
  wanted = np.isin(np.arange(len(provenance.image)), list(wanted))
  taken = wanted & (provenance.image >= 0)
  order = np.argsort(~buffers["alive"], kind="stable")
  pictured = set(order[taken[order]][:shown].tolist())
  patches = {}
  for index in np.unique(provenance.image[taken]).tolist():
    own = np.flatnonzero(taken & (provenance.image == index)).tolist()
    image, name = None, f"number {index}"
    if index < len(stream):
      name = repr(stream.source.name(index))
      image = stream.examples([index])["image"][0]
    if not allow_changed and not _is(image, provenance.content[own[0]]):
      if optional:
        return {}
      raise UserError(
        f"training image {name} is not the one that prototype {own[0]} was"
        " pushed to: the data have changed since. Put the images back, train"
        " again, or explain all the same with --allow_stale."
      )
    if image is None:
      continue
    for j, (box, heat) in zip(own, look(image, own), strict=True):
      cell = int(provenance.cell[j])
      show = j in pictured
      patches[j] = evidence.Patch(
        image=stream.source.name(index),
        index=index,
        cell=cell,
        box=box,
        field=look.field(cell),
        picture=image if show else None,
        heat=heat if show else None,
      )
  return patches


def _is(image, content) -> bool:
  """Whether an image, if there is one, has the digest of its pixels."""
  return image is not None and np.array_equal(images_lib.digest(image), content)


def _global(
  model, buffers, weights, split, names, wanted, totals, patches
) -> Iterator[GlobalExplanation]:
  copies = _duplicates(buffers)
  for j in sorted(wanted):
    k = int(buffers["class_of"][j])
    because, others = {}, {}
    if totals is not None:
      because = {split: _because(totals.all, names, j)}
      if split == "train":
        others = {split: _because(totals.others, names, j)}
    yield GlobalExplanation(
      prototype=j,
      class_name=model.class_names[k],
      alive=bool(buffers["alive"][j]),
      weight=float(weights[k, j]),
      duplicate_of=copies.get(j),
      patch=patches.get(j),
      because=because,
      without_source=others,
    )


def _duplicates(buffers) -> dict[int, int]:
  """Living prototype -> the first living one that is the same patch."""
  provenance, first, copies = buffers["provenance"], {}, {}
  for j in np.flatnonzero(buffers["alive"] & (provenance.image >= 0)).tolist():
    place = int(provenance.image[j]), int(provenance.cell[j])
    if first.setdefault(place, j) != j:
      copies[j] = first[place]
  return copies


def _because(scores: Scores, names, j) -> evidence.Because:
  column = scores.importance[:, j].tolist()
  return evidence.Because(
    dict(zip(names, column, strict=True)),
    float(scores.similarity[j]),
    scores.images,
  )

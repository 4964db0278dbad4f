"""Explains answers by class prototypes, and verdicts on labels.

The answer is the classifier's. Beside it stand the prototype of its class, the
few-shot images that this was made of, and the relation score of each class.
"Because" is the loss of the cosine to that prototype, and of the answer's
logit, when one characteristic of the image is changed.
"""

from collections.abc import Iterator, Mapping
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax.explain import blocks, familiarity, in_blocks, shapes
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.fopro import web
from protojax.methods.fopro.network import Network
from protojax.methods.fopro.verdicts import DROPPED, RELABELLED, Verdicts
from protojax.modify.presets import Preset
from protojax.types import Array, Batch, PyTree, State, UserError

# Images with pictures if no limit is asked for: beside prototypes, and alone.
_SHOWN, _SHOWN_ALONE = 40, 1000
_EXEMPLARS = 4
_BECAUSE = (
  "Because: loss when one characteristic of the image is changed (identity:"
  " none is)"
)
_NEAR = "Prototypes, by their cosine"


def explain(
  method: Any, state: State, data: Any, request: Request
) -> Iterator[blocks.Explanation]:
  """Images, then a prototype of each class, then an overview.

  Args:
    method: gives the network, the training images and the verdicts.
    state: of the method.
    data: the images, in the order of their source.
    request: "heat", "provenance" and "allow_changed" have no effect.
  """
  model: Network = method.network
  alone = request.scope == "local"
  most = in_blocks.limit(request, _SHOWN_ALONE if alone else len(data))
  count = min(most, len(data))
  places = in_blocks.spread(
    count, count if alone else _SHOWN * (request.scope != "global")
  )
  shots = Exemplars(method, state)
  judged = shots.judged if request.split == "train" else None
  found = _Gathered(model.class_names, request)
  step = functools.partial(_step, model, request.preset)
  batches = in_blocks.images(data, request, count)
  swept = in_blocks.swept(step, state, batches, request)
  for number, (one, row) in enumerate(swept):
    index = int(one["index"])
    found.add(index, row)
    if number in places:
      drawn = _image(model, data, request, one, row, shots, judged is not None)
      yield _explained(model, data, request, index, row, drawn, judged)
  if not alone:
    yield from found.prototypes(data, shots)
    yield found.overview()


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.BOTH)


class Exemplars:
  """Training images that stand for a class, and the verdicts on them.

  Attributes:
    judged: labels and verdicts of the training images; None without them.
  """

  def __init__(self, method: Any, state: State) -> None:
    """Opens the training images, if they are there."""
    self.judged: tuple[web.Listed, Verdicts] | None = None
    self._data: Any = None
    try:
      self._data = method.stream("train")
      if "verdicts" in state.assets:
        self.judged = method.listed, method.verdicts(state)
    except UserError:
      # They have gone since the run: images are explained without exemplars.
      self._data = None

  def of_class(self, label: int) -> blocks.Gallery | None:
    """Few-shot images of a class, else web images that were surely kept."""
    if self._data is None or self.judged is None:
      return None
    listed, found = self.judged
    own = np.flatnonzero(listed.trusted & (listed.labels == label))
    what = "Few-shot images of the class"
    if not len(own):
      kept = np.flatnonzero(found.kept & (found.label == label))
      own = kept[np.argsort(found.doubt[kept], kind="stable")]
      what = "Web images of the class that were kept, the surest first"
    own = own[:_EXEMPLARS]
    if not len(own):
      return None
    images = self._data.examples(own)["image"]
    name = self._data.source.name
    pictures = (
      blocks.Picture(
        np.asarray(image),
        name(int(i)),
        stretch=shapes.ratio(self._data, int(i)),
      )
      for image, i in zip(images, own, strict=True)
    )
    return blocks.Gallery(tuple(pictures), what)


def _step(
  model: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of a batch, by name; one row for each image."""

  def at(vectors: Any, answers: Any) -> Array:
    found = model.judged(state, vectors)
    own = answers[:, :1]
    columns = (
      jnp.take_along_axis(rows, own, axis=1)
      for rows in (found.cosines, found.logits)
    )
    return jnp.concatenate(list(columns), axis=1)

  def nearest(vectors: Any) -> tuple[Array, Array]:
    found = model.judged(state, vectors)
    answer = jnp.argmax(found.logits, axis=1)[:, None]
    answers = jnp.repeat(answer, 2, axis=1)
    return at(vectors, answers), answers

  def embed(images: Any) -> Array:
    return model.encoded(
      state.params["backbone"], state.statistics["backbone"], images
    )[0]

  local, vectors = of_batch(nearest, at, batch, preset, embed)
  images, found = batch["image"], model.judged(state, vectors)
  shares = jnp.exp(found.logits - jnp.max(found.logits, axis=1, keepdims=True))
  return {
    "delta": local.delta,
    "answer": local.place[:, 0],
    "logit": jnp.max(found.logits, axis=1),
    "probabilities": shares / jnp.sum(shares, axis=1, keepdims=True),
    "cosines": found.cosines,
    "relations": found.relations,
    "grey": jnp.all(images == images[..., :1], axis=(1, 2, 3)),
  }


def _image(
  model: Network,
  data: Any,
  request: Request,
  one: PyTree,
  row: PyTree,
  shots: Exemplars,
  judged: bool,
) -> list[blocks.Block]:
  """One image: the picture, because of what, and the prototypes near it."""
  names, answer = model.class_names, int(row["answer"])
  index, label = int(one["index"]), int(one["label"])
  image = np.asarray(data.examples([index])["image"][0])
  drawn: list[blocks.Block] = [
    blocks.Picture(
      image, data.source.name(index), stretch=shapes.ratio(data, index)
    )
  ]
  if label >= 0 and not judged:  # A verdict names the label.
    level = "note" if label == answer else "warning"
    drawn.append(blocks.Note(f"Its label is {names[label]}.", level))
  drawn += familiarity.notes(float(row["logit"]), request.known)
  able = request.preset.seen(bool(row["grey"]))
  drawn.append(
    blocks.Table(
      ("characteristic", "loss of cosine", "loss of logit"),
      tuple(
        (name, *(float(x) if can else None for x in values))
        for name, values, can in zip(
          request.preset.names, row["delta"], able, strict=True
        )
      ),
      f"{_BECAUSE}; the prototype and the logit are those of {names[answer]}",
    )
  )
  if row["grey"]:
    drawn.append(
      blocks.Note("A grey image has neither hue nor saturation to change.")
    )
  order = np.argsort(-row["cosines"], kind="stable")[: request.top]
  columns = row["cosines"], row["relations"], row["probabilities"]
  drawn.append(
    blocks.Table(
      ("prototype of", "cosine", "relation", "probability"),
      tuple(
        (names[k], *(round(float(x[k]), 4) for x in columns)) for k in order
      ),
      _NEAR,
    )
  )
  gallery = shots.of_class(answer)
  return drawn + ([gallery] if gallery else [])


def _explained(
  model: Network,
  data: Any,
  request: Request,
  index: int,
  row: PyTree,
  drawn: list[blocks.Block],
  judged: tuple[web.Listed, Verdicts] | None,
) -> blocks.Explanation:
  answer, name = int(row["answer"]), data.source.name(index)
  if judged is not None:
    drawn.insert(1, _verdict(model.class_names, *judged, index))
  share = 100 * float(row["probabilities"][answer])
  return blocks.Explanation(
    key=f"{request.split}-image-{index}",
    title=f"{model.class_names[answer]}, {share:.1f} %",
    scope="local",
    split=request.split,
    subject=name,
    group="Images",
    blocks=tuple(drawn),
  )


def _verdict(
  names: tuple[str, ...], listed: web.Listed, found: Verdicts, i: int
) -> blocks.Note:
  given = int(listed.labels[i])
  word = found.word(i, given)
  level = "warning" if word in (RELABELLED, DROPPED) else "note"
  return blocks.Note(reason(names, listed, found, i), level)


def reason(
  names: tuple[str, ...], listed: web.Listed, found: Verdicts, i: int
) -> str:
  """The verdict on a training image and why, in one sentence.

  Args:
    names: of the classes.
    listed: given labels, and which images are trusted.
    found: the verdicts.
    i: position of the image.
  """
  given = int(listed.labels[i])
  if listed.trusted[i]:
    return f"Kept as {names[given]}: it is a few-shot image."
  word = found.word(i, given)
  what = f"{word.capitalize()}, given as {names[given]}"
  if word == RELABELLED:
    what += f", now {names[found.label[i]]}"
  return (
    f"{what}: vote {found.confidence[i]:.2f} and relation"
    f" {found.relation[i]:.2f} for the given label; the largest vote is"
    f" {found.surest[i]:.2f}, for {names[found.voted[i]]}."
  )


class _Gathered:
  """What a sweep leaves: images near each prototype, and importances."""

  def __init__(self, names: tuple[str, ...], request: Request) -> None:
    self._names, self._request = names, request
    k, m = len(names), len(request.preset.names)
    self._near: list[list[tuple[float, int]]] = [[] for _ in names]
    self._delta, self._able = np.zeros((k, m, 2)), np.zeros((k, m), int)
    self._images = np.zeros(k, int)

  def add(self, index: int, row: PyTree) -> None:
    """Adds an image, under its answer."""
    answer = int(row["answer"])
    able = self._request.preset.seen(bool(row["grey"]))
    self._images[answer] += 1
    self._able[answer] += able
    self._delta[answer] += np.where(np.array(able)[:, None], row["delta"], 0)
    for near, cosine in zip(self._near, row["cosines"], strict=True):
      near.append((-float(cosine), index))
      near.sort()
      del near[self._request.nearest :]

  def prototypes(
    self, data: Any, shots: Exemplars
  ) -> Iterator[blocks.Explanation]:
    """An explanation of each prototype."""
    for k, name in enumerate(self._names[: self._request.prototypes_shown]):
      indices = [index for _, index in self._near[k]]
      images = data.examples(indices)["image"]
      pictures = tuple(
        blocks.Picture(
          np.asarray(image),
          f"{data.source.name(index)}: {-cosine:.3f}",
          stretch=shapes.ratio(data, index),
        )
        for image, (cosine, index) in zip(images, self._near[k], strict=True)
      )
      gallery = shots.of_class(k)
      drawn: list[blocks.Block] = [gallery] if gallery else []
      drawn.append(blocks.Gallery(pictures, "Images nearest to it, by cosine"))
      drawn.append(
        blocks.Table(
          ("characteristic", "loss of cosine", "loss of logit"),
          tuple(self._means(k)),
          f"{_BECAUSE}, mean over {self._images[k]} images with this answer",
        )
      )
      yield blocks.Explanation(
        key=f"{self._request.split}-prototype-{k}",
        title=f"prototype of {name}",
        scope="global",
        split=self._request.split,
        subject=f"prototype of {name}",
        group=f"Prototypes ({self._request.split})",
        blocks=tuple(drawn),
      )

  def _means(self, k: int) -> Iterator[tuple]:
    for m, name in enumerate(self._request.preset.names):
      n = self._able[k, m]
      means = (float(x / n) if n else None for x in self._delta[k, m])
      yield (name, *means)

  def overview(self) -> blocks.Explanation:
    """What answers rest on, by class."""
    means = [list(self._means(k)) for k in range(len(self._names))]
    tables = (
      blocks.Table(
        ("class", "images", *(name for name, *_ in means[0][1:])),
        tuple(
          (name, int(images), *(row[1 + value] for row in own[1:]))
          for name, images, own in zip(
            self._names, self._images, means, strict=True
          )
        ),
        f"Loss of {what} when one characteristic of the image is changed, mean"
        " over the images with this answer",
      )
      for value, what in ((1, "the logit"), (0, "the cosine"))
    )
    return blocks.Explanation(
      key=f"{self._request.split}-overview",
      title=f"Answers over the {self._request.split} images",
      scope="overview",
      split=self._request.split,
      blocks=(
        blocks.Sentence(
          "The classifier alone gives an answer. The cosine to the prototype of"
          " the answer's class says how much the image is like the few-shot"
          " images of the class."
        ),
        *tables,
      ),
    )

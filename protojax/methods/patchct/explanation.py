"""Explains labels: which patches speak for each, because of what.

One sweep over a stream gives, for each image and label, the best patch and the
importance of every characteristic for it; the host makes blocks of them. Over
the whole stream the best patches of each label are the prototype's exemplars.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import heapq
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int
import numpy as np

from protojax.explain import blocks, in_blocks, shapes
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.patchct import pictures, transport
from protojax.methods.patchct.network import Network
from protojax.modify.presets import Preset
from protojax.types import Array, Batch, PyTree, State

# The probability above which a label is said.
_THRESHOLD = 0.5
# Images with pictures, if no limit is asked for: beside prototypes, and alone.
_SHOWN, _SHOWN_ALONE = 60, 1000
# Most labels whose embeddings are compared in a matrix.
_COMPARED = 30
_CAPTION = "Labels of an image, and because of what"


@dataclasses.dataclass(frozen=True)
class Tagger:
  """The `tags` of PatchCT.

  Attributes:
    method: gives the network.
  """

  method: Any

  @property
  def class_names(self) -> tuple[str, ...]:
    """The labels, in the order of the logits."""
    return self.method.network.class_names

  @property
  def threshold(self) -> float:
    """The probability above which a label is said."""
    return _THRESHOLD


def explain(
  method: Any, state: State, data: Any, request: Request
) -> Iterator[blocks.Explanation]:
  """Images, then labels over the whole stream, then an overview of it.

  Args:
    method: of the run.
    state: of the method.
    data: the images, in the order of their source.
    request: "heat", "provenance" and "allow_changed" have no effect.
  """
  model: Network = method.network
  alone = request.scope == "local"
  most = in_blocks.limit(request, _SHOWN_ALONE if alone else len(data))
  found = Gathered(model, request.preset, request.nearest)
  count = min(most, len(data))
  shown = in_blocks.spread(count, 0 if request.scope == "global" else _SHOWN)
  if alone:
    shown = set(range(count))
  step = functools.partial(_step, model, request.preset)
  batches = in_blocks.images(data, request, count)
  swept = in_blocks.swept(step, state, batches, request)
  for number, (one, row) in enumerate(swept):
    index, labels = int(one["index"]), one.get("labels")
    found.add(index, row, labels)
    if number in shown:
      yield _image(model, data, request, index, row, labels)
  if not alone:
    yield from found.labels(data, request)
    yield found.overview(state, request, len(shown))


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.BOTH)


def _step(
  model: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of a batch, by name; one row for each image."""
  nearest = functools.partial(model.nearest, state)
  at = functools.partial(model.at, state)
  embed = functools.partial(model.embed, state)
  local, _ = of_batch(nearest, at, batch, preset, embed)
  found, _ = model.forward(state.params, state, batch)
  similarity = model.similarity(state.params, found)[-1]
  heat, count = model.heat(state.params), len(model.class_names)
  probabilities = jax.nn.sigmoid(found.logits)
  told = (probabilities > _THRESHOLD).astype(jnp.int32)
  beta = transport.masses(told, 0.5 if model.null else None)
  theta = jnp.full(similarity.shape[:2], 1 / similarity.shape[1])
  plans = transport.plans(similarity, beta, theta, heat)
  # -1: no label is said, or the null prototype gets the most.
  segments = jnp.argmax(plans.forward, axis=2)
  some = told.any(axis=1)[:, None] & (segments < count)
  return {
    "probabilities": probabilities,
    "similarity": local.similarity,
    "cell": local.place,
    "delta": local.delta,
    "plan": plans.backward[..., :count],
    "segments": jnp.where(some, segments, -1).astype(jnp.int32),
    "grey": jnp.all(batch["image"] == batch["image"][..., :1], axis=(1, 2, 3)),
  }


class Gathered:
  """What a sweep leaves of each label: its best patches, and importances."""

  def __init__(self, model: Network, preset: Preset, nearest: int) -> None:
    """Nothing yet; keeps so many patches of each label, of different images."""
    self._model, self._nearest = model, nearest
    count = len(model.class_names)
    self._best: list[list[tuple[float, int, int]]] = [[] for _ in range(count)]
    self._names = preset.names
    self._losses = in_blocks.MeanLosses(preset, count)
    self._images = np.zeros(count, int)
    self._said = np.zeros(count, int)

  def add(
    self, index: int, row: PyTree, labels: Int[np.ndarray, " k"] | None
  ) -> None:
    """Adds an image.

    Importances count where the label is there, or is said of images whose
    labels are not known.
    """
    told = row["probabilities"] > _THRESHOLD
    there = told if labels is None else labels == 1
    self._said += told
    for k, best in enumerate(self._best):
      # Equal ones: the first image first.
      patch = float(row["similarity"][k]), -index, int(row["cell"][k])
      if len(best) < self._nearest:
        heapq.heappush(best, patch)
      elif best:
        heapq.heappushpop(best, patch)
    self._images += there
    self._losses.add(row["delta"], bool(row["grey"]), there)

  def labels(self, data: Any, request: Request) -> Iterator[blocks.Explanation]:
    """An explanation of each label."""
    names = self._model.class_names
    for k, name in enumerate(names[: request.prototypes_shown]):
      best = sorted(self._best[k], reverse=True)
      yield blocks.Explanation(
        key=f"{request.split}-label-{k}",
        title=name,
        scope="global",
        split=request.split,
        subject=name,
        group="Labels",
        blocks=tuple(self._of_label(k, best, data)),
      )

  def _of_label(
    self, k: int, best: list[tuple[float, int, int]], data: Any
  ) -> Iterator[blocks.Block]:
    shown = []
    images = data.examples([-index for _, index, _ in best])["image"]
    for (cosine, index, cell), image in zip(best, images, strict=True):
      caption = f"{data.source.name(-index)}: {cosine:.3f}"
      shown.append(
        pictures.patch(
          image, cell, self._model.grid, caption, shapes.ratio(data, -index)
        )
      )
    yield blocks.Gallery(
      tuple(shown), "Patches most similar to the label, each of another image"
    )
    count = int(self._images[k])
    if not count:
      yield blocks.Note("No image here has the label.")
      return
    counts = self._losses.counts[k]
    numbers = zip(self._names, self._losses.means[k], counts, strict=True)
    yield blocks.Table(
      ("label", "characteristic", "importance", "images"),
      tuple(
        (self._model.class_names[k], name, float(mean) if n else None, int(n))
        for name, mean, n in numbers
      ),
      "Because: similarity lost at the best patch, mean over images",
    )
    if not counts.all():
      yield in_blocks.GREY

  def overview(
    self, state: State, request: Request, shown: int
  ) -> blocks.Explanation:
    """The labels side by side."""
    names, model = self._model.class_names, self._model
    rows = tuple(
      (name, int(there), int(said))
      for name, there, said in zip(names, self._images, self._said, strict=True)
    )
    vectors = np.asarray(jax.device_get(model.bank(state).vectors))
    flat = vectors.reshape(len(vectors), -1)[:_COMPARED]
    drawn: list[blocks.Block] = [
      blocks.Sentence(
        "A label is a vector, and a patch speaks for the label that it is most"
        " similar to. Each label said is matched with patches: it spreads over"
        " them, 1 in all, most on those that are like it. Importance is the"
        " similarity that the best patch loses when one characteristic of the"
        " image is changed."
      ),
      blocks.Table(("label", "images with it", "said of"), rows, "Labels"),
      blocks.Matrix(
        names[:_COMPARED],
        names[:_COMPARED],
        (flat @ flat.T).astype(np.float64),
        "Cosines of the labels",
      ),
    ]
    if shown:
      drawn.append(blocks.Note(f"{shown:,} images are shown, evenly chosen."))
    return blocks.Explanation(
      key=f"{request.split}-overview",
      title=f"Labels over the {request.split} images",
      scope="overview",
      split=request.split,
      blocks=tuple(drawn),
    )


def _image(
  model: Network,
  data: Any,
  request: Request,
  index: int,
  row: PyTree,
  labels: Int[np.ndarray, " k"] | None,
) -> blocks.Explanation:
  """One image: what is said, where, and because of what."""
  name = data.source.name(index)
  image = np.asarray(data.examples([index])["image"][0])
  order = np.argsort(-row["probabilities"], kind="stable")
  said = [int(k) for k in order if row["probabilities"][k] > _THRESHOLD]
  names = model.class_names
  title = ", ".join(names[k] for k in said) or "no label"
  listed = said or [int(order[0])]
  drawn: list[blocks.Block] = list(_told(names, said, labels))
  drawn.append(
    pictures.places(
      image, [(k, int(row["cell"][k])) for k in listed], names, model
    )
  )
  if said:
    drawn += pictures.segmentation(image, row["segments"], said, names, model)
  for k in listed[: request.rows_shown]:
    caption = f"{names[k]}: the patches that it is matched with"
    drawn.append(pictures.plan(image, row["plan"][:, k], caption, model))
  drawn.append(_because(request.preset, row, listed, names, labels))
  if row["grey"]:
    drawn.append(in_blocks.GREY)
  found = blocks.Explanation(
    key=f"{request.split}-image-{index}",
    title=title,
    scope="local",
    split=request.split,
    subject=name,
    group="Images",
    blocks=tuple(drawn),
  )
  return shapes.of_image(found, data, index)


def _told(
  names: tuple[str, ...], said: list[int], labels: np.ndarray | None
) -> Iterator[blocks.Block]:
  """What is right and wrong of what is said."""
  if labels is None:
    return
  there = set(np.flatnonzero(labels == 1).tolist())
  unknown = set(np.flatnonzero(labels < 0).tolist())
  missed = [names[k] for k in sorted(there - set(said))]
  wrong = [names[k] for k in said if k not in there | unknown]
  if missed:
    yield blocks.Note(
      f"Not said, though there: {', '.join(missed)}.", "warning"
    )
  if wrong:
    yield blocks.Note(f"Said, though not there: {', '.join(wrong)}.", "warning")
  if not (missed or wrong):
    yield blocks.Note("All labels are as they are known.")


def _because(
  preset: Preset,
  row: PyTree,
  listed: list[int],
  names: tuple[str, ...],
  labels: np.ndarray | None,
) -> blocks.Table:
  """What each label's similarity is made of."""
  known = {1: "yes", 0: "no", -1: ""}
  had = preset.seen(bool(row["grey"]))
  return blocks.Table(
    ("label", "there", "probability", "similarity", *preset.names),
    tuple(
      (
        names[k],
        "" if labels is None else known[int(labels[k])],
        float(row["probabilities"][k]),
        float(row["similarity"][k]),
        *(
          float(x) if able else None
          for x, able in zip(row["delta"][:, k], had, strict=True)
        ),
      )
      for k in listed
    ),
    _CAPTION,
  )

"""Explains verdicts: which prototypes, which images they stand for, and why.

A prototype is a direction and no image, so it is shown by the images that
attend to it most. What it gives to a verdict is exact: the logit is the sum of
the points of all prototypes and a constant. "Because" is the loss of the
verdict's logit when one characteristic of the image is changed.
"""

from collections.abc import Iterator, Mapping
import functools
import heapq
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.explain import blocks, in_blocks, shapes
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.gapl.network import Network
from protojax.modify.presets import Preset
from protojax.types import Array, Batch, PyTree, State

# Images with pictures if no limit is asked for: beside prototypes, and alone.
_SHOWN, _SHOWN_ALONE = 40, 1000
_POINTS = (
  "Prototypes, by their points for the verdict, and what of these is lost"
  " without each characteristic"
)
_BECAUSE = (
  "Because: loss of the verdict's logit, one characteristic changed (identity:"
  " none is)"
)


def explain(
  method: Any, state: State, data: Any, request: Request
) -> Iterator[blocks.Explanation]:
  """Images, then prototypes over the whole stream, then an overview of it.

  Args:
    method: gives the network.
    state: of the method.
    data: the images, in the order of their source.
    request: "heat", "provenance" and "allow_changed" have no effect.
  """
  model: Network = method.network
  alone = request.scope == "local"
  most = in_blocks.limit(request, _SHOWN_ALONE if alone else len(data))
  count = min(most, len(data))
  most = count if alone else _SHOWN * (request.scope != "global")
  places = in_blocks.spread(count, most)
  found = _Gathered(model.count, request)
  step = functools.partial(_step, model, request.preset)
  batches = in_blocks.images(data, request, count)
  swept = in_blocks.swept(step, state, batches, request)
  for number, (one, row) in enumerate(swept):
    index, label = int(one["index"]), int(one["label"])
    found.add(index, row)
    if number in places:
      yield _image(model, data, request, index, label, row)
  if not alone:
    yield from found.prototypes(data)
    yield found.overview()


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.BOTH)


def _step(
  model: Network, preset: Preset, state: State, batch: Batch
) -> Mapping[str, Array]:
  """What is said of a batch, by name; one row for each image."""
  encoder = model.encoder(state)

  def parts(vectors: Any) -> Array:
    """The logit, and what each prototype adds to it."""
    found = model.judged(state.params, vectors)
    logit = found.logit[:, None]
    if not model.count:
      return logit
    return jnp.concatenate([logit, found.points], axis=1)

  def nearest(vectors: Any) -> tuple[Array, Array]:
    z = parts(vectors)
    sign = jnp.where(z[:, :1] > 0, 1.0, -1.0)
    return sign * z, jnp.broadcast_to(sign, z.shape)

  local, vectors = of_batch(
    nearest,
    lambda vectors, sign: sign * parts(vectors),
    batch,
    preset,
    functools.partial(model.vectors, encoder),
  )
  images = batch["image"]
  found = model.judged(state.params, vectors)
  rows = {
    "delta": local.delta[..., 0],
    "logit": found.logit,
    "grey": jnp.all(images == images[..., :1], axis=(1, 2, 3)),
  }
  if model.count:
    rows |= {
      "attention": found.attention,
      "points": local.similarity[:, 1:],
      "lost": local.delta[..., 1:],
    }
  return rows


class _Gathered:
  """What a sweep leaves: who attends to each prototype, and importances."""

  def __init__(self, count: int, request: Request) -> None:
    self._request = request
    self._best: list[list[tuple[float, int]]] = [[] for _ in range(count)]
    self._attention, self._points = np.zeros((2, 2, count))
    self._losses = in_blocks.MeanLosses(request.preset, 2)
    self._images = np.zeros(2, int)

  def add(self, index: int, row: PyTree) -> None:
    """Adds an image, under its verdict."""
    verdict = int(row["logit"] > 0)
    self._images[verdict] += 1
    delta = np.stack([row["delta"]] * 2, axis=1)
    self._losses.add(delta, bool(row["grey"]), np.arange(2) == verdict)
    if not self._best:
      return
    self._attention[verdict] += row["attention"]
    self._points[verdict] += row["points"]
    for j, best in enumerate(self._best):
      # Equal ones: the first image first.
      one = float(row["attention"][j]), -index
      if len(best) < self._request.nearest:
        heapq.heappush(best, one)
      elif best:
        heapq.heappushpop(best, one)

  def prototypes(self, data: Any) -> Iterator[blocks.Explanation]:
    """An explanation of each prototype."""
    for j, best in enumerate(self._best[: self._request.prototypes_shown]):
      group = _group(j, len(self._best))
      ranked = sorted(best, reverse=True)
      images = data.examples([-index for _, index in ranked])["image"]
      gallery = tuple(
        blocks.Picture(
          image,
          f"{data.source.name(-index)}: {weight:.3f}",
          stretch=shapes.ratio(data, -index),
        )
        for (weight, index), image in zip(ranked, images, strict=True)
      )
      yield blocks.Explanation(
        key=f"{self._request.split}-prototype-{j}",
        title=f"prototype {j} ({group})",
        scope="global",
        split=self._request.split,
        subject=f"prototype {j}",
        group=f"Directions of {group} images ({self._request.split})",
        blocks=(
          blocks.Gallery(gallery, "Images that attend to it most"),
          self._use(j),
        ),
      )

  def _use(self, j: int) -> blocks.Table:
    """Mean attention and points, by verdict."""
    rows = tuple(
      (
        name,
        float(self._attention[verdict, j] / n) if n else None,
        float(self._points[verdict, j] / n) if n else None,
      )
      for verdict, (name, n) in enumerate(
        zip(Network.class_names, self._images, strict=True)
      )
    )
    return blocks.Table(
      ("verdict", "mean attention", "mean points for it"),
      rows,
      "How much images of each verdict attend to it, and what it adds",
    )

  def overview(self) -> blocks.Explanation:
    """What verdicts rest on, over all images."""
    because = tuple(
      (
        name,
        *(float(m) if n else None for m, n in zip(of, counts, strict=True)),
      )
      for name, of, counts in zip(
        self._request.preset.names,
        self._losses.means.T,
        self._losses.counts.T,
        strict=True,
      )
    )
    drawn: list[blocks.Block] = [
      blocks.Sentence(
        "Importance is what the logit of a verdict loses when one"
        " characteristic of the image is changed. A verdict that loses most by"
        " texture rests on fine detail, as the traces of generators are; one"
        " that loses most by hue or contrast may rest on style."
      ),
      blocks.Table(
        ("characteristic", *(f"called {n}" for n in Network.class_names)),
        because,
        f"{_BECAUSE}, mean over images that can be changed so",
      ),
    ]
    if self._best:
      half = len(self._best) // 2
      drawn.append(
        blocks.Sentence(
          f"A prototype is a direction of features: {half} were found on real"
          f" images, {len(self._best) - half} on generated ones. An image"
          " spreads its attention, 1 in all, over them; points are what each"
          " adds to the logit. The verdict is generated where the logit is"
          " above 0."
        )
      )
      mass = self._attention[:, half:].sum(axis=1)
      rows = tuple(
        (name, int(n), float(m / n) if n else None)
        for name, n, m in zip(
          Network.class_names, self._images, mass, strict=True
        )
      )
      drawn.append(
        blocks.Table(
          ("verdict", "images", "attention on directions of generated images"),
          rows,
          "Attention on one kind of direction, as a share of all",
        )
      )
    return blocks.Explanation(
      key=f"{self._request.split}-overview",
      title=f"Verdicts over the {self._request.split} images",
      scope="overview",
      split=self._request.split,
      blocks=tuple(drawn),
    )


def _image(
  model: Network,
  data: Any,
  request: Request,
  index: int,
  label: int,
  row: PyTree,
) -> blocks.Explanation:
  """One image: the verdict, its prototypes, and because of what."""
  z = float(row["logit"])
  verdict = int(z > 0)
  name, said = data.source.name(index), model.class_names[verdict]
  # Of the verdict: 1 / (1 + e^-|z|).
  probability = 1 / (1 + np.exp(-abs(z)))
  title = f"{said}, {100 * probability:.1f} %"
  image = np.asarray(data.examples([index])["image"][0])
  drawn: list[blocks.Block] = [blocks.Picture(image, name)]
  if label >= 0:
    right = label == verdict
    text = f"It is {model.class_names[label]}."
    drawn.append(blocks.Note(text, "note" if right else "warning"))
  drawn += _because(request.preset, row)
  if row["grey"]:
    drawn.append(in_blocks.GREY)
  if model.count:
    drawn += _prototypes(request.preset, row, request.top)
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


def _prototypes(
  preset: Preset, row: PyTree, top: int
) -> Iterator[blocks.Block]:
  attention, points = row["attention"], row["points"]
  count = len(points)
  mass = float(attention[count // 2 :].sum())
  yield blocks.Sentence(
    f"{100 * mass:.1f} % of the attention lies on directions of generated"
    " images."
  )
  order = np.argsort(-points, kind="stable")[:top]
  rows = tuple(
    (
      int(j),
      _group(int(j), count),
      float(attention[j]),
      float(points[j]),
      *_known(preset, row, row["lost"][:, j]),
    )
    for j in order
  )
  columns = "prototype", "direction of", "attention", "points"
  yield blocks.Table((*columns, *preset.names), rows, _POINTS)


def _because(preset: Preset, row: PyTree) -> Iterator[blocks.Block]:
  known = _known(preset, row, row["delta"])
  z = float(row["logit"])
  cause = in_blocks.cause(preset, row["delta"], bool(row["grey"]))
  if cause:
    yield blocks.Sentence(
      f"It is called {Network.class_names[int(z > 0)]} mostly {cause.because}:"
      f" {cause.changed} the logit of the verdict, {abs(z):.2f}, loses"
      f" {cause.loss:.2f}."
    )
  yield blocks.Table(
    ("characteristic", "loss"),
    tuple(zip(preset.names, known, strict=True)),
    _BECAUSE,
  )


def _known(
  preset: Preset, row: PyTree, losses: Float[np.ndarray, " m"]
) -> list[float | None]:
  """The losses; None of what an image does not have."""
  able = preset.seen(bool(row["grey"]))
  return [
    float(x) if can else None for x, can in zip(losses, able, strict=True)
  ]


def _group(j: int, count: int) -> str:
  return Network.class_names[int(j >= count // 2)]

"""Explains ProMoE: which expert has which patch, and because of what.

Real images are looked at with a little noise, at the layer and time that the
config names. For each expert the nearest patches are found, and how much its
similarity at them falls when one characteristic of the image is changed: the
importance of `explain.importance`, on the similarity that routes.
"""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.data.stream import Stream
from protojax.diffusion.space import Pixels
from protojax.explain import blocks, in_blocks
from protojax.explain.request import Request
from protojax.methods.promoe import view as view_lib
from protojax.methods.promoe.network import MixtureNetwork
from protojax.methods.promoe.view import View
from protojax.modify.presets import Preset
from protojax.types import Box, State

# Sides of a picture of experts are as many pixels or more.
_SIDE = 96


def explain(
  method: Any, state: State, data: Stream, request: Request
) -> Iterator[blocks.Explanation]:
  """Experts of images (local), and of what each expert is for (global).

  Images of a run with dense layers, or of one on latents, are not explained: a
  note says so.
  """
  net: MixtureNetwork = method.network
  if net.rule is None or not isinstance(net.space, Pixels):
    yield _nothing(net, request.split)
    return
  experts = Experts(method)
  view = experts.view
  request = dataclasses.replace(request, preset=_seen(net, request.preset))
  step = functools.partial(view_lib.rows, net, request.preset, view)
  batches = in_blocks.images(data, request, request.limit)
  found: list[dict[str, Any]] = []
  for one, row in in_blocks.swept(step, state, batches, request):
    row |= {"index": int(one["index"]), "label": int(one["label"])}
    if request.scope != "global":
      yield experts.local(data, request, row, view)
    found.append({k: row[k] for k in row if k != "experts"})
  if request.scope != "local":
    yield from experts.overall(data, request, _stacked(found))


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.BOTH)


@dataclasses.dataclass(frozen=True)
class Experts:
  """Makes the explanations of images and experts.

  Attributes:
    method: of the run.
  """

  method: Any

  @property
  def view(self) -> View:
    """The layer and time that the config names."""
    net, e = self.method.network, self.method.config.explanation
    return View(range(net.layers)[e.layer], float(e.time))

  @property
  def _names(self) -> tuple[str, ...]:
    """Of all experts, the unconditional one last."""
    rule = self.method.network.rule
    names = [f"expert {j + 1}" for j in range(rule.experts)]
    return (*names, *["unconditional expert"] * rule.conditional)

  def local(
    self, data: Stream, request: Request, row: dict[str, Any], view: View
  ) -> blocks.Explanation:
    """The experts of an image's patches."""
    net = self.method.network
    index = row["index"]
    image = data.examples([index])["image"][0]
    values = row["map"].max(axis=-1).reshape(net.grid)
    pictures = [
      blocks.Picture(
        _coloured(row["experts"][t, n].reshape(net.grid), net.rule.count),
        f"layer {n + 1}, time {time:g}",
      )
      for t, time in enumerate(view_lib.times(view))
      for n in range(net.layers)
    ]
    low, high = float(values.min()), float(values.max())
    return blocks.Explanation(
      key=f"{request.split}-{index}",
      title=data.source.name(index),
      scope="local",
      split=request.split,
      subject=data.source.name(index),
      group=_class(data, row["label"]),
      blocks=(
        blocks.Picture(image, "the image"),
        blocks.Map(
          values.astype(np.float32),
          low,
          max(high, low + 1e-6),
          f"largest similarity to a prototype, layer {view.layer + 1}",
          over=blocks.Picture(image),
        ),
        blocks.Gallery(tuple(pictures), "experts, a colour for each"),
        self._table(row, request.preset),
      ),
    )

  def _table(self, row: dict[str, Any], preset: Preset) -> blocks.Table:
    """The experts that an image uses, and because of what."""
    rows = []
    for j in range(self.method.network.rule.experts):
      if tokens := int(row["chosen"][:, j].sum()):
        best = float(row["similarity"][j])
        rows.append((j + 1, tokens, best, *row["delta"][:, j].tolist()))
    names = "expert", "patches", "best similarity", *preset.names
    return blocks.Table(names, tuple(rows), "Experts of the image")

  def overall(
    self, data: Stream, request: Request, found: dict[str, np.ndarray]
  ) -> Iterator[blocks.Explanation]:
    """An overview of all experts, and each of them."""
    names = data.source.class_names
    experts = self.method.network.rule.count
    usage = np.zeros((len(names), experts))
    known = found["label"] >= 0
    np.add.at(usage, found["label"][known], found["chosen"][known].mean(axis=1))
    usage /= np.maximum(usage.sum(axis=1, keepdims=True), 1e-9)
    load = found["chosen"].mean(axis=(0, 1))
    yield blocks.Explanation(
      key=f"{request.split}-experts",
      title="What the experts share",
      scope="overview",
      split=request.split,
      blocks=(
        blocks.Table(
          ("expert", "share of the patches"),
          tuple(zip(self._names, map(float, load), strict=True)),
          "Share of the patches that each expert has",
        ),
        blocks.Matrix(
          tuple(names), self._names, usage, "Share of each class's patches"
        ),
        *_left_out(self.method.network),
      ),
    )
    for j in range(self.method.network.rule.experts):
      yield self._expert(data, request, found, j, usage[:, j], float(load[j]))

  def _expert(
    self,
    data: Stream,
    request: Request,
    found: dict[str, np.ndarray],
    expert: int,
    usage: Float[np.ndarray, " k"],
    load: float,
  ) -> blocks.Explanation:
    """The real patches nearest to a prototype, and because of what."""
    similarity = found["similarity"][:, expert]
    order = np.argsort(-similarity, kind="stable")[: request.nearest]
    pictures = []
    images = data.examples(found["index"][order])["image"]
    for i, image in zip(order, images, strict=True):
      box = self._box(int(found["cell"][i, expert]))
      name = data.source.name(int(found["index"][i]))
      caption = f"{name}: {similarity[i]:.3f}"
      pictures.append(blocks.Picture(image, caption, (blocks.Frame(box),)))
    own = found["chosen"][..., expert].any(axis=1)
    delta = found["delta"][:, :, expert]
    nearest = delta[order].mean(axis=0)
    every = delta[own].mean(axis=0) if own.any() else np.zeros_like(nearest)
    names = request.preset.names
    cause = in_blocks.cause(request.preset, nearest)
    falls = f" Its similarity falls most {cause.changed}." if cause else ""
    ranked = [
      data.source.class_names[k] for k in np.argsort(-usage)[:3] if usage[k]
    ]
    classes = ", ".join(ranked) or "none"
    return blocks.Explanation(
      key=f"{request.split}-expert-{expert + 1}",
      title=f"Expert {expert + 1}",
      scope="global",
      split=request.split,
      subject=f"expert {expert + 1}",
      blocks=(
        blocks.Sentence(
          f"Expert {expert + 1} has {load:.1%} of the patches. Classes that"
          f" send it most of theirs: {classes}.{falls}"
        ),
        blocks.Gallery(tuple(pictures), "Nearest real patches"),
        blocks.Table(
          (
            "characteristic",
            "nearest patches",
            "images that it has a patch of",
          ),
          tuple(
            (name, float(a), float(b))
            for name, a, b in zip(names, nearest, every, strict=True)
          ),
          "Loss of similarity",
        ),
      ),
    )

  def _box(self, cell: int) -> Box:
    net = self.method.network
    side = net.space.side // net.grid[0]
    row, column = divmod(cell, net.grid[1])
    top, left = row * side, column * side
    return Box(top, left, top + side, left + side)


def _seen(net: MixtureNetwork, preset: Preset) -> Preset:
  """The preset without what the network cannot see."""
  return preset.of_grey() if net.space.channels == 1 else preset


def _left_out(net: MixtureNetwork) -> tuple[blocks.Note, ...]:
  if net.space.channels != 1:
    return ()
  text = "Hue and saturation are left out: the network sees grey images."
  return (blocks.Note(text),)


def _nothing(net: MixtureNetwork, split: str) -> blocks.Explanation:
  why = (
    "All layers of this run are dense: there are no experts to explain."
    if net.rule is None
    else "This run is trained on latent images, which have no hue or texture to"
    " change: experts are explained for runs on pixels."
  )
  return blocks.Explanation(
    key=f"{split}-experts",
    title="Experts",
    scope="overview",
    split=split,
    blocks=(blocks.Note(why),),
  )


def _class(data: Stream, label: int) -> str:
  known = data.source.class_names[label] if label >= 0 else "unknown class"
  return f"Images of {known}"


def _stacked(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _coloured(
  experts: Int[np.ndarray, "h w"], count: int
) -> UInt8[np.ndarray, "H W 3"]:
  """A picture with a colour for each expert, in equal steps of hue.

  Tokens that no expert has are white.
  """
  hue = np.arange(count) / count * 6
  apart = np.abs((hue[:, None] + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
  colours = np.round(255 * (0.2 + 0.7 * np.clip(apart, 0, 1)))
  colours = np.append(colours, np.full((1, 3), 255), axis=0)
  picture = colours.astype(np.uint8)[experts]
  scale = max(1, _SIDE // len(experts))
  return picture.repeat(scale, axis=0).repeat(scale, axis=1)

"""Explains what is said of a bag: where, by which instances, and because of
what they look like.

A bag's prototypes are its own: z+, the mean of its instances by attention, and
z-, the mean by what is left of it. The instances that are more similar to the
one than to the other stand for it.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any

from jaxtyping import Float, UInt8
import numpy as np

from protojax import backbones, parallel
from protojax.backbones import pooled
from protojax.data.source import origin
from protojax.data.stream import Stream
from protojax.explain import blocks, in_blocks
from protojax.explain.blocks import Cell
from protojax.explain.request import Request
from protojax.methods.comel import mosaic
from protojax.methods.comel.because import Because
from protojax.prototypes import start
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import PyTree, State

# Bags without a limit; tiles of a gallery; rows of the table.
_MOST, _TILES, _ROWS = 200, 4, 10
# Bags with more instances are shown without a picture under their map.
_DRAWN = 4096
_MINUS = "z\N{MINUS SIGN}"
_MEANINGS = blocks.Sentence(
  "p is how positive an instance is, 0 to 1; attention is its share in the"
  f" answer. z+ and {_MINUS} are the bag's prototypes of positive and of other"
  f" instances: the columns to z+ and to {_MINUS} are distances to them, and q"
  f" is near 1 where z+ is much nearer, near 0 where {_MINUS} is. A pseudo"
  " label is what training would take the instance for; there is none where"
  " that is unsure."
)
_NO_PICTURES = (
  "The bags hold no pictures of their instances, so that nothing can be said"
  " about what makes these similar."
)
_NO_EMBEDDER = (
  "What made the vectors of the pictures is not known, so that nothing can be"
  " said about what makes these similar."
)


class Classifier:
  """The `classifies` of CoMEL."""

  def __init__(self, method: Any) -> None:
    self.class_names = tuple(method.dataset.class_names)
    self.groups = Groups(CLASS, self.class_names)


@dataclasses.dataclass(frozen=True)
class Bag:
  """One bag and what was said of it, on the host, without padding.

  Attributes:
    name: of the bag.
    index: in the source.
    label: its class; -1 is unknown.
    rows: of `Method.marked`, of this bag.
    given: "vectors", "places" and "truth" of the instances.
    shown: pictures of some instances: a function of their numbers.
  """

  name: str
  index: int
  label: int
  rows: Mapping[str, np.ndarray]
  given: Mapping[str, np.ndarray]
  shown: Any

  def __len__(self) -> int:
    return len(self.given["vectors"])

  def exemplars(self, sign: int, count: int) -> list[int]:
    """Instances that are most similar to z+ (sign 1) or z- (sign -1)."""
    order = np.argsort(-sign * self.rows["q"], kind="stable")
    return order[:count].tolist()


def explain(
  method: Any, state: State, data: Stream, request: Request
) -> Iterator[blocks.Explanation]:
  """The bags; without a limit all, or two hundred of more than that."""
  because = Because(method, state, request.preset, _embedder(data))
  names = method.dataset.class_names
  for bag in bags(method, state, data, in_blocks.limit(request, _MOST)):
    yield _one(names, bag, because, request)
    request.progress(1)


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.LOCAL)


def _one(
  names: Sequence[str], bag: Bag, because: Because, request: Request
) -> blocks.Explanation:
  chances = bag.rows["probabilities"]
  said = int(chances.argmax())
  label = names[bag.label] if bag.label >= 0 else ""
  return blocks.Explanation(
    key=f"image-{request.split}-{bag.index}",
    title=f"{names[said]}, {chances[said]:.0%}",
    scope="local",
    split=request.split,
    subject=bag.name,
    group=label,
    blocks=(
      blocks.Sentence(_verdict(bag, names[said], label)),
      *_answers(bag, names),
      _map(bag),
      _MEANINGS,
      *_exemplars(bag),
      _instances(bag),
      *_because(bag, because),
    ),
  )


def bags(
  method: Any, state: State, data: Stream, limit: int | None
) -> Iterator[Bag]:
  """The bags of a stream with what is said of them, spread over it evenly."""
  whole: Any = origin(data.source)[0]
  _, places = origin(data.source)
  for batch, rows in parallel.each(method.marked, state, data.spread(limit)):
    for i in np.flatnonzero(batch["valid"]):
      valid = batch["bag"]["valid"][i]
      index = int(batch["index"][i])
      number = int(places[index])
      yield Bag(
        name=data.source.name(index),
        index=index,
        label=int(batch["label"][i]),
        rows={
          name: x[i][valid] if np.shape(x[i])[:1] == valid.shape else x[i]
          for name, x in rows.items()
        },
        given={
          "vectors": batch["bag"]["vectors"][i][valid],
          "places": batch["places"]["vectors"][i][valid],
          "truth": batch["truth"]["vectors"][i][valid][:, 0],
        },
        shown=lambda rows, n=number: whole.reader.pictures(n, rows),
      )


def _embedder(data: Stream) -> tuple[Any, PyTree] | None:
  """(variables, pictures) -> vectors, and the variables; None: not known."""
  whole: Any = origin(data.source)[0]
  made = whole.embedder
  if made is None:
    return None
  if not isinstance(made, Mapping):
    return functools.partial(_without_variables, made), {}
  backbone = backbones.load(made["backbone"])
  variables = start.variables(backbone, made["backbone"], made["weights"])
  return functools.partial(pooled.pooled, backbone), variables


def _without_variables(embed: Any, variables: PyTree, images: Any) -> Any:
  del variables
  return embed(images)


def _verdict(bag: Bag, said: str, label: str) -> str:
  p = bag.rows["instances"]
  top = int(p.argmax())
  end = f" It is labelled {label}." if label else ""
  return (
    f"The bag of {len(bag):,} instances is called {said}. Its instance {top}"
    f" has {bag.rows['attention'][top]:.1%} of the attention.{end}"
  )


def _answers(bag: Bag, names: Sequence[str]) -> Iterator[blocks.Block]:
  order = np.argsort(-bag.rows["probabilities"], kind="stable")
  yield blocks.Table(
    ("class", "logit", "probability"),
    tuple(
      (
        names[k],
        float(bag.rows["logits"][k]),
        float(bag.rows["probabilities"][k]),
      )
      for k in order
      # Those of tasks that have not begun have none.
      if bag.rows["probabilities"][k] > 0
    ),
    "answers",
  )


def _map(bag: Bag) -> blocks.Map:
  """p of each instance where it lies, over the picture of the bag."""
  cells = mosaic.cells(bag.given["places"])
  values = mosaic.values(cells, bag.rows["instances"])
  over = None
  if len(bag) <= _DRAWN:
    tiles = bag.shown(range(len(bag)))
    if tiles is not None:
      over = blocks.Picture(mosaic.picture(cells, tiles))
  return blocks.Map(values, 0.0, 1.0, "How positive each instance is", "", over)


def _exemplars(bag: Bag) -> Iterator[blocks.Block]:
  """Pictures of the instances that stand for the two prototypes."""
  for sign, symbol in ((1, "z+"), (-1, _MINUS)):
    rows = bag.exemplars(sign, _TILES)
    tiles = bag.shown(rows)
    if tiles is None:
      continue
    yield blocks.Gallery(
      tuple(
        blocks.Picture(tile, f"{row}: q {bag.rows['q'][row]:.2f}")
        for row, tile in zip(rows, tiles, strict=True)
      ),
      f"Most similar to {symbol} (q: how much more to z+ than to {_MINUS})",
    )


def _instances(bag: Bag) -> blocks.Table:
  """The instances that are most positive."""
  order = np.argsort(-bag.rows["instances"], kind="stable")[:_ROWS]
  return blocks.Table(
    (
      "instance",
      "x",
      "y",
      "p",
      "attention",
      "to z+",
      f"to {_MINUS}",
      "q",
      "pseudo label",
      "label",
    ),
    tuple(_row(bag, int(row)) for row in order),
    "The most positive instances",
  )


def _row(bag: Bag, row: int) -> tuple[Cell, ...]:
  rows, truth = bag.rows, bag.given["truth"][row]
  x, y = bag.given["places"][row]
  kept = bool(rows["kept"][row])
  return (
    row,
    float(x),
    float(y),
    float(rows["instances"][row]),
    float(rows["attention"][row]),
    float(rows["to_positive"][row]),
    float(rows["to_negative"][row]),
    float(rows["q"][row]),
    int(rows["label"][row]) if kept else None,
    int(truth) if truth >= 0 else None,
  )


def _because(bag: Bag, because: Because) -> Iterator[blocks.Block]:
  """What the exemplars of z+ have that makes them similar to it."""
  rows = bag.exemplars(1, _TILES)
  tiles: UInt8[np.ndarray, "r H W 3"] | None = bag.shown(rows)
  if tiles is None:
    yield blocks.Note(_NO_PICTURES)
    return
  if not because.known:
    yield blocks.Note(_NO_EMBEDDER)
    return
  similarity, delta, left_out = because.of(bag, tiles)
  yield blocks.Sentence(
    "What the similarity of these instances to z+ loses when their picture is"
    " changed:"
  )
  yield _scores(rows, similarity, delta)
  if left_out:
    yield blocks.Note(
      f"The pictures are grey: {' and '.join(left_out)} cannot change in them"
      " and are left out."
    )


def _scores(
  rows: Sequence[int],
  similarity: Float[np.ndarray, " r"],
  delta: Mapping[str, Float[np.ndarray, " r"]],
) -> blocks.Table:
  return blocks.Table(
    ("instance", "similarity to z+", *delta),
    tuple(
      (row, float(similarity[i]), *(float(d[i]) for d in delta.values()))
      for i, row in enumerate(rows)
    ),
    "because",
  )

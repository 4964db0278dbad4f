"""Explains answers: where an image lies on the grid, and because of what."""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax.data.stream import Stream
from protojax.explain import blocks, familiarity, in_blocks
from protojax.explain.importance import of_batch
from protojax.explain.request import Request
from protojax.methods.neurogaze_distill import bank_asset, data_card
from protojax.methods.neurogaze_distill.grid_bank import GridBank
from protojax.methods.neurogaze_distill.network import Network
from protojax.modify.presets import Preset
from protojax.types import Array, Batch, State, UserError

# Images of a split that are explained without a limit, evenly over it.
_MOST = 200


def explain(
  method: Any, state: State, data: Stream, request: Request
) -> Iterator[blocks.Explanation]:
  """Images, then the split as a whole, then the cells of the grid.

  Args:
    method: of the run.
    state: of the method.
    data: the images.
    request: "split", "scope", "preset", "limit", "top" and "progress" have an
      effect; without a limit, no more than 200 images are explained.
  """
  bank = bank_asset.of_run(state) if method.mapped else None
  batches = in_blocks.images(data, request, in_blocks.limit(request, _MOST))
  tau = method.config.proto_kd.tau if bank is not None else 0.0
  step = functools.partial(_rows, method.network, request.preset, tau)
  images = Images(method, state, bank, data, request)
  cells = 0 if bank is None else len(bank.counts)
  lost = in_blocks.MeanLosses(request.preset, cells)
  for one, row in in_blocks.swept(step, state, batches, request):
    if bank is not None:
      lost.add(row["delta"], bool(row["grey"]), np.ones(cells, bool))
    if request.scope != "global":
      yield images.one(int(one["index"]), row)
  if request.scope == "local":
    return
  yield overview(method, bank, lost, request)
  for cell in range(cells):
    yield images.cell(cell, lost)


EXPLAINER = functools.partial(in_blocks.Explainer, explain, in_blocks.BOTH)


def _rows(
  network: Network, preset: Preset, tau: float, state: State, batch: Batch
) -> Mapping[str, Array]:
  """Answers and, with a tau, cosines, q_stu and the importance of each cell."""
  found = network.answers(state, batch)
  answer = {
    "probabilities": found["probabilities"],
    "logit": jnp.max(found["logits"], axis=1),
  }
  if not tau:
    return answer
  local, _ = of_batch(
    functools.partial(network.nearest, state),
    functools.partial(network.at, state),
    batch,
    preset,
    functools.partial(network.embed, state),
  )
  powers = jnp.exp((local.similarity - 1) / tau)
  return {
    **answer,
    "cosines": local.similarity,
    "q": powers / jnp.sum(powers, axis=1, keepdims=True),
    "delta": local.delta,
    "grey": jnp.all(batch["image"] == batch["image"][..., :1], axis=(1, 2, 3)),
  }


@dataclasses.dataclass(frozen=True)
class Images:
  """Makes the explanations of images and cells.

  Attributes:
    method: of the run.
    state: of the method.
    bank: on the host; None in an arm without one.
    data: the images that are explained.
    request: what was asked for.
  """

  method: Any
  state: State
  bank: GridBank | None
  data: Stream
  request: Request

  def one(self, index: int, row: Mapping[str, Any]) -> blocks.Explanation:
    """An image: its answer, its place on the grid, and because of what."""
    names, source = self.method.dataset.class_names, self.data.source
    label = int(source.labels[index])
    answer = names[int(np.argmax(row["probabilities"]))]
    title = source.name(index)
    picture = self.data.examples([index])["image"][0]
    found: list[blocks.Block] = [
      blocks.Picture(picture, title),
      blocks.Table(
        ("class", "probability"),
        tuple(zip(names, row["probabilities"].tolist(), strict=True)),
        "answers",
      ),
    ]
    found += familiarity.notes(float(row["logit"]), self.request.known)
    if self.bank is not None:
      found += self._place(row)
    else:
      found.append(
        blocks.Note(
          "This arm has no bank, so the image has no place on a grid."
        )
      )
    return blocks.Explanation(
      key=f"image-{self.request.split}-{index}",
      title=f"{title}: {answer}",
      scope="local",
      split=self.request.split,
      subject=title,
      group=names[label] if label >= 0 else "",
      blocks=tuple(found),
    )

  def _place(self, row: Mapping[str, Any]) -> Iterator[blocks.Block]:
    """Where an image lies on the grid; of a grey one, without its colours."""
    assert self.bank is not None
    had = self.request.preset.seen(bool(row["grey"]))
    lost = np.where(had[:, None], row["delta"], np.nan)
    cosines, centers = row["cosines"], np.asarray(self.bank.centers)
    first, second = (row["q"] @ centers).tolist()
    best = int(np.argmax(cosines.round(5)))
    (one, other), cells = self.method.grid.axes, self.method.grid.names
    yield as_map(
      self.method, cosines, -1.0, 1.0, "Cosine to the prototype of each cell"
    )
    yield blocks.Sentence(
      f"The image is most similar to the cell {cells[best]}. Its expected place"
      f" is {one} {first:+.2f} / {other} {second:+.2f}, the mean of the cells"
      " weighted by softmax(cosine / tau)."
      f"{self._because(lost[:, best])}"
    )
    order = np.argsort(-cosines.round(5), kind="stable")[: self.request.top]
    yield blocks.Table(
      ("cell", "cosine", "share", "samples", "copied from",
       *self.request.preset.names),
      tuple(
        (
          cells[k], float(cosines[k]), float(row["q"][k]),
          int(self.bank.counts[k]), self._source(k),
          *(None if np.isnan(x) else float(x) for x in lost[:, k]),
        )
        for k in order.tolist()
      ),
      "similar cells, and cosine lost without each characteristic",
    )  # fmt: skip
    if not had.all():
      yield in_blocks.GREY
    yield from self._faces(best)

  def _because(self, delta: np.ndarray) -> str:
    """Which characteristic the similarity rests on most, in a sentence."""
    cause = in_blocks.cause(self.request.preset, delta)
    if cause is None:
      return ""
    return (
      f" That is so mostly {cause.because}: {cause.changed} the cosine falls by"
      f" {cause.loss:.2f}."
    )

  def _source(self, cell: int) -> str | None:
    """The name of the cell that this one was copied from."""
    assert self.bank is not None
    source = int(self.bank.filled_from[cell])
    return None if source < 0 else self.method.grid.names[source]

  def _faces(self, cell: int) -> Iterator[blocks.Block]:
    """The training images that are nearest to a cell, if they are there."""
    rows = np.asarray(self.state.buffers["faces"])[cell]
    rows = rows[rows >= 0]
    if not len(rows):
      return
    try:
      train = self.method.stream("train")
      pictures = train.examples(rows)["image"]
    except UserError as error:
      yield blocks.Note(f"The training images are not there: {error}")
      return
    cosines = np.asarray(self.state.buffers["face_cosines"])[cell]
    yield blocks.Gallery(
      tuple(
        blocks.Picture(
          picture, f"{train.source.name(int(i))}, cosine {cosine:.2f}"
        )
        for i, picture, cosine in zip(rows, pictures, cosines, strict=False)
      ),
      f"training images nearest to the cell {self.method.grid.names[cell]}",
    )

  def cell(self, cell: int, lost: in_blocks.MeanLosses) -> blocks.Explanation:
    """A cell: its samples, what it means for classes, its nearest images."""
    assert self.bank is not None
    name, method = self.method.grid.names[cell], self.method
    targets = np.asarray(self.state.assets[bank_asset.BANK]["targets"])[:, cell]
    names = method.dataset.class_names
    return blocks.Explanation(
      key=f"cell-{self.request.split}-{cell}",
      title=f"cell {name}, {self.request.split} images",
      scope="global",
      split=self.request.split,
      subject=name,
      group=name.split(" / ")[0],
      blocks=(
        blocks.pairs(
          {
            "samples": int(self.bank.counts[cell]),
            "copied from": self._source(cell),
          },
          ("name", "value"),
          "cell",
        ),
        blocks.Table(
          ("class", "share"),
          tuple(zip(names, targets.tolist(), strict=True)),
          "wanted share of each class",
        ),
        blocks.Table(
          ("characteristic", "mean", "images"),
          tuple(
            (name, float(mean) if n else None, int(n))
            for name, mean, n in zip(
              self.request.preset.names,
              lost.means[cell],
              lost.counts[cell],
              strict=True,
            )
          ),
          "mean cosine lost without each characteristic",
        ),
        *([] if lost.counts[cell].all() else [in_blocks.GREY]),
        *self._faces(cell),
      ),
    )


def as_map(
  method: Any, values: np.ndarray, low: float, high: float, caption: str
) -> blocks.Map:
  """Numbers of the cells: the first axis to the right, the second upwards."""
  shape = method.grid.rows, method.grid.columns
  one, other = method.grid.axes
  drawn = np.asarray(values, np.float32).reshape(shape).T[::-1]
  said = f"{caption}; {one} to the right, {other} upwards"
  return blocks.Map(np.ascontiguousarray(drawn), low, high, said)


def overview(
  method: Any,
  bank: GridBank | None,
  lost: in_blocks.MeanLosses,
  request: Request,
) -> blocks.Explanation:
  """What the model is not for; the bank; what its cells listen to."""
  found: list[blocks.Block] = [blocks.Note(data_card.TEXT, "warning")]
  if bank is not None:
    counts = np.asarray(bank.counts)
    found += [
      as_map(
        method, counts, 0.0, float(max(counts.max(), 1)),
        "Samples behind the prototype of each cell",
      ),
      blocks.Matrix(
        method.grid.names,
        tuple(request.preset.names),
        lost.means,
        "mean cosine lost without each characteristic",
      ),
      *([] if lost.counts.all() else [in_blocks.GREY]),
      blocks.Sentence(f"SHA-256 of the bank: {bank.digest()}."),
    ]  # fmt: skip
  return blocks.Explanation(
    key=f"overview-{request.split}",
    title=f"The {request.split} images together",
    scope="overview",
    split=request.split,
    blocks=tuple(found),
  )

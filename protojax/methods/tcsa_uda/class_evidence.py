"""Evidence of classes: nearest training pixels, relations, and distances."""

from collections.abc import Iterator, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax import parallel
from protojax.data.source import origin, printable
from protojax.explain import blocks, shapes, volume_answers
from protojax.explain.request import Request
from protojax.methods.tcsa_uda import judging, relations, shared
from protojax.methods.tcsa_uda.image_evidence import Gathered, cell
from protojax.methods.tcsa_uda.network import KEPT, Network
from protojax.methods.tcsa_uda.words import Words
from protojax.types import Array, Batch, Box, Picture, State

_AROUND = 1 / 6  # of the image's side, on each side of a cell


def classes(
  network: Network, state: State, train: Any, request: Request
) -> Iterator[blocks.Explanation]:
  """Each class, by the training pixels that are nearest to its prototype.

  Args:
    network: of the state.
    state: of the model.
    train: the labelled images of the source.
    request: "nearest" says how many are shown.
  """
  step, state = functools.partial(_best, network), network.of_source(state)
  found: list[list[tuple[float, int, int]]] = [[] for _ in network.class_names]
  for batch, rows in parallel.each(step, state, train.batches()):
    for i in np.flatnonzero(batch["valid"]):
      for k, cosine in enumerate(rows["cosine"][i]):
        place = int(rows["place"][i, k])
        found[k].append((float(cosine), int(batch["index"][i]), place))
  alive = np.asarray(network.bank(state).alive)
  for k, name in enumerate(network.class_names):
    drawn: list[blocks.Block] = []
    if not alive[k]:
      drawn.append(blocks.Note(f"No training image shows {name}.", "warning"))
    else:
      best = sorted(found[k], key=lambda x: (-x[0], x[1]))[: request.nearest]
      drawn += _nearest(network, train, best)
    yield blocks.Explanation(
      key=f"{request.split}-class-{k}",
      title=f"Prototype of {name}",
      scope="global",
      split=request.split,
      subject=name,
      group="Classes",
      blocks=tuple(drawn),
    )


def _nearest(
  network: Network, train: Any, best: list[tuple[float, int, int]]
) -> Iterator[blocks.Block]:
  images = train.examples([index for _, index, _ in best])["image"]
  pictures, rows = [], []
  for (cosine, index, place), pixels in zip(best, images, strict=True):
    box = cell(network, place)
    name = printable(train.source.name(index))
    crop, frame = _around(np.asarray(pixels), box)
    pictures.append(
      blocks.Picture(
        crop,
        f"{name}: {cosine:.3f}",
        (blocks.Frame(frame),),
        shapes.ratio(train, index),
      )
    )
    y, x = (box.top + box.bottom) / 2, (box.left + box.right) / 2
    rows.append((name, x, y, cosine))
  yield blocks.Sentence(
    "A prototype is the mean direction of the cells of its class in both"
    " domains, and no patch of an image. These training pixels are nearest to"
    " it, one of each image."
  )
  yield blocks.Gallery(tuple(pictures), "Nearest training pixels, and cosines")
  yield blocks.Table(
    ("image", "x", "y", "cosine"), tuple(rows), "Nearest training pixels"
  )


def _around(
  pixels: Picture, box: Box
) -> tuple[UInt8[np.ndarray, "h w 3"], Box]:
  """A cell with its surroundings, and where it is in them."""
  size = len(pixels)
  reach = max(round(size * _AROUND), 2)
  top, left = max(box.top - reach, 0), max(box.left - reach, 0)
  crop = pixels[top : box.bottom + reach, left : box.right + reach]
  return crop, Box(
    box.top - top, box.left - left, box.bottom - top, box.right - left
  )


def _best(network: Network, state: State, batch: Batch) -> Mapping[str, Array]:
  """The nearest cell of each image to each prototype, and its cosine."""
  cosines = network.cosines(state, network.embed(state, batch["image"]))
  flat = cosines.reshape(len(cosines), -1, cosines.shape[-1])
  return {
    "cosine": jnp.max(flat, axis=1),
    "place": jnp.argmax(flat, axis=1).astype(jnp.int32),
  }


def overview(
  network: Network,
  state: State,
  data: Any,
  request: Request,
  gathered: Gathered,
  words: Words,
) -> blocks.Explanation:
  """Relations of images beside those of words; distances; because of what.

  Args:
    network: of the state.
    state: of the model.
    data: the images.
    request: what is asked for.
    gathered: what the images say.
    words: of the classes.
  """
  drawn: list[blocks.Block] = [
    blocks.Sentence(
      "The nearest prototype is of the class answered for"
      f" {np.mean(gathered.agrees):.0%} of the cells."
    )
  ]
  if note := getattr(origin(data.source)[0], "note", ""):
    drawn.append(blocks.Note(note))
  drawn += _matrices(network, state, data, words)
  drawn += _distances(network, state)
  drawn.append(gathered.table(request.preset.names))
  drawn += _structures(network, state, data)
  return blocks.Explanation(
    key=f"{request.split}-overview",
    title="Classes and domains",
    scope="overview",
    split=request.split,
    blocks=tuple(drawn),
  )


def _matrices(
  network: Network, state: State, data: Any, words: Words
) -> Iterator[blocks.Block]:
  """Correlations of the classes' features, beside those of their words."""
  names = network.class_names
  sums, counts = shared.of_stream(network, state, data, directed=False)
  there = counts > 0
  means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
  image = np.array(relations.correlations(means), np.float64)
  image[~there] = image[:, ~there] = np.nan
  text = np.asarray(words.relations, np.float64)
  apart = relations.distance(
    jnp.nan_to_num(jnp.float32(image)), text, jnp.asarray(there), "relation"
  )
  if there.sum() >= 3:
    yield blocks.Sentence(
      "Pairs of classes that are alike in the images are alike in words with a"
      f" correlation of {1 - float(apart):.2f}."
    )
  caption = "Relations of the images: correlations of mean embeddings"
  yield blocks.Matrix(names, names, image, caption)
  yield blocks.Matrix(names, names, text, "Relations of the words")
  # Without texts of their own, classes are compared by their names.
  if words.texts not in ((), names):
    yield blocks.pairs(
      dict(zip(names, words.texts, strict=True)),
      ("class", "text"),
      "What the classes are called",
    )


def _distances(network: Network, state: State) -> Iterator[blocks.Block]:
  """Distance of the two domains' centres over training, of each class."""
  history = np.asarray(jax.device_get(state.memory["history"]), np.float64)
  done = (np.arange(KEPT) + 0.5) / KEPT
  known = history >= 0
  lines = tuple(
    blocks.Series(name, done[known[:, k]], history[known[:, k], k])
    for k, name in enumerate(network.class_names)
    if known[:, k].any()
  )
  if not lines:
    yield blocks.Note("No training step has seen a class in both domains.")
    return
  yield blocks.Curve(
    lines,
    blocks.Axis("share of the training"),
    blocks.Axis("mean square distance"),
    "Centres of source and target, of each class",
  )


def _structures(
  network: Network, state: State, data: Any
) -> Iterator[blocks.Block]:
  """Dice and distances of the structures of volumes, or Dice of pixels."""
  if "mask" not in data.layout():
    return
  names = network.class_names
  found = volume_answers.scores(network.answers, names, state, data)
  if not found:
    counts = judging.counted(network, state, data)
    rows = zip(names, judging.dices(counts.pairs), strict=True)
    yield blocks.Table(
      ("class", "Dice"),
      tuple((n, None if np.isnan(x) else float(x)) for n, x in rows),
      "Dice of all pixels",
    )
    return
  yield volume_answers.table(found)

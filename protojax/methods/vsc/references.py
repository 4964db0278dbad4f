"""References: each thing of a text is drawn alone, several times, in one batch.

Which image is drawn depends on the key and on what is said, so that the same
things of several texts are drawn once. Of a thing's images the best ones count,
as the encoder judges them by its text: some show something else.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple
import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np

from protojax.diffusion import drawing
from protojax.diffusion.drawing import Numbers
from protojax.methods.vsc import encoder
from protojax.methods.vsc.network import SearchNetwork
from protojax.types import Array, Batch, PyTree

# References of a thing, at most.
MOST = 64
_NUMBERS = 2**24


class References(NamedTuple):
  """Of p things.

  Attributes:
    images: m of each.
    below: what the encoder's lower layers make of them.
    weights: of each image in the mean; they sum to 1.
    scores: cosine of image and text, to the encoder.
  """

  images: UInt8[np.ndarray, "p m H W 3"]
  below: Float[np.ndarray, "p m h w c"]
  weights: Float[np.ndarray, "p m"]
  scores: Float[np.ndarray, "p m"]


def draw(
  net: SearchNetwork,
  given: PyTree,
  texts: Sequence[str],
  count: int,
  keep: int,
  sampler: Numbers,
  size: int,
) -> References:
  """Draws each thing alone.

  Args:
    net: the parts.
    given: "base", weights of the base; "params", of the encoder; "key", data of
      the key of the draw.
    texts: of the things, at least one.
    count: images of each, m.
    keep: how many of them count: the best ones.
    sampler: steps and guidance.
    size: images of a batch.
  """
  every = [text for text in texts for _ in range(count)]
  # A multiple of MOST and a number below it: of no other text but by accident.
  number = [
    zlib.crc32(text.encode()) % _NUMBERS * MOST + k
    for text in texts
    for k in range(count)
  ]
  conditions = {
    "caption": dict(net.model.caption(every)),
    "null": dict(net.model.caption([""] * len(every))),
    "number": np.array(number, np.int32),
  }
  step = functools.partial(_row, net, sampler)
  rows = drawing.numbered(step, given, conditions, 0, len(every), size)
  images, below, scores = (
    rows[name].reshape(len(texts), count, *rows[name].shape[1:])
    for name in ("images", "below", "score")
  )
  weights = np.asarray(encoder.best(jnp.asarray(scores), keep))
  return References(images, below, weights, scores)


def _row(
  net: SearchNetwork, sampler: Numbers, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "below", "score"."""
  base, params = given["base"], given["params"]
  text = net.model.read(base, batch["caption"])
  predict = net.guided(base, text, batch["null"], sampler.guidance)
  images = net.drawn(
    base, predict, given["key"], batch["number"], sampler.steps
  )
  below = net.below(params, images)
  vectors = encoder.unit(net.vectors(params, below, "judge"))
  score = jnp.sum(vectors * encoder.unit(net.said(params, text)), axis=-1)
  return {"images": images, "below": below, "score": score}


def of_run(
  found: References, most: int
) -> dict[str, Float[np.ndarray, "most m ..."]]:
  """The asset of a run: what is kept of references, padded to `most` things."""
  pad = most - len(found.weights)

  def padded(x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1))

  return {"below": padded(found.below), "weights": padded(found.weights)}


def shapes(net: SearchNetwork, most: int, count: int) -> PyTree:
  """Shapes of `of_run`."""
  below = net.cells
  return {
    "below": jax.ShapeDtypeStruct((most, count, *below.shape), np.float32),
    "weights": jax.ShapeDtypeStruct((most, count), np.float32),
  }

"""Draws images by texts whose things were drawn alone before.

Of a text without pairs the image is the base's own, to the last bit of its
noise: key, number and steps are alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import parallel
from protojax.diffusion import drawing, samplers
from protojax.diffusion.drawing import Draw, Maker
from protojax.diffusion.transformer import Text
from protojax.methods.vsc import fusion
from protojax.methods.vsc.network import SearchNetwork, Seen, average
from protojax.methods.vsc.references import References
from protojax.types import Array, Batch, PyTree, State, UserError


def _images(
  net: SearchNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images"."""
  base = given["base"]
  predict = net.guided(base, _told(net, given, batch), batch["null"], weight)
  index = batch["index"]
  return {"images": net.drawn(base, predict, given["key"], index, steps)}


def _traced(
  net: SearchNetwork, steps: int, weight: float, given: PyTree, batch: Batch
) -> dict[str, Array]:
  """Rows of a batch: "images", "words"; the steps are DDIM's.

  "words" [count l h w]: see `text_to_image`; of the blocks to steer by.
  """
  base, text = given["base"], _told(net, given, batch)
  x = drawing.begun(net.space, given["key"], batch["index"]).noise
  predict = net.guided(base, text, batch["null"], weight)
  process = net.model.process
  times = jnp.asarray(process.times(steps))

  def move(carry: tuple, at: tuple) -> tuple[tuple, None]:
    x, words = carry
    start, end = at
    t = jnp.full(len(x), start)
    _, kept = net.model.seen(base, x, t, text, net.model.steered)
    words = words + jnp.mean(kept.words, axis=0)
    return (samplers.step(process, predict, x, start, end), words), None

  cells = net.grid[0] * net.grid[1]
  nothing = jnp.zeros((len(x), cells, text.valid.shape[1]))
  (x, words), _ = jax.lax.scan(move, (x, nothing), (times[:-1], times[1:]))
  words = jnp.moveaxis(words / steps, 2, 1)
  return {
    "images": net.images(base, x),
    "words": words.reshape(*words.shape[:2], *net.grid),
  }


def _told(net: SearchNetwork, given: PyTree, batch: Batch) -> Text:
  """The text with what was seen of its things."""
  text = net.model.read(given["base"], batch["caption"])
  seen = Seen(batch["vectors"], batch["owner"], batch["fused"])
  return net.fused(given["params"], text, seen)


class Generator(drawing.Generator):
  """Makes images by text; see `drawing.Generator`.

  "prompt" is as for the base. "pairs" says which things of the texts are told:
  bool, for each image (or all alike) and each of its things in their order;
  without it all are.
  """

  class_names = ()
  known = ("prompt", "guidance", "steps", "pairs")
  condition = "text"
  images = _images
  ways = _traced

  def __init__(self, method: Any) -> None:
    self._method = method
    self._kept: dict[tuple, References] = {}
    self._of: Any = None

  def texts(self, prompt: Any, count: int, start: int = 0) -> Sequence[str]:
    """The text of each image of a draw; see the base's."""
    return self._method.base_generates.texts(prompt, count, start)

  def maker(self, state: State) -> Maker:
    """The base, and the averaged weights of what is fused."""
    c = self._method.config
    given = {"base": state.assets["base"], "params": average(state)}
    return Maker(self._method.network, c.sample, given, c.batch_size)

  def asked(self, draw: Draw) -> PyTree:
    """Texts, pairs and their prototypes; see `drawing.Generator`."""
    count = draw.count
    texts = self.texts(draw.conditions.get("prompt"), count, draw.start)
    model = self._method.network.model
    found = [self._method.placed(text) for text in texts]
    most = self._method.config.pairs.most
    fused = np.array([np.arange(most) < len(each.said) for each in found], bool)
    wanted = draw.conditions.get("pairs")
    if wanted is not None:
      fused &= _wanted(wanted, count, most)
    return {
      "caption": dict(model.caption(texts)),
      "null": dict(model.caption([""] * count)),
      "owner": np.stack([each.owner for each in found]),
      "fused": fused,
      "vectors": self._vectors(draw.state, texts, draw.key, fused),
    }

  def references(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> dict[str, References]:
    """What the things of the texts look like alone, by what is said of each.

    Args:
      state, conditions, key, count, start: see `generate`.
    """
    texts = self.texts(conditions.get("prompt"), count, start)
    said = {s for text in texts for s in self._method.placed(text).said}
    return self._references(state, sorted(said), key)

  def _references(
    self, state: State, said: Sequence[str], key: Array
  ) -> dict[str, References]:
    """Those drawn before with the same weights and key are taken again."""
    if self._of is not state.params:
      self._of, self._kept = state.params, {}
    data = np.asarray(jax.random.key_data(key))
    new = [s for s in said if (s, data.tobytes()) not in self._kept]
    if new:
      drawn = self._method.references(state, new, data)
      for i, s in enumerate(new):
        own = References(*(x[i : i + 1] for x in drawn))
        self._kept[s, data.tobytes()] = own
    return {s: self._kept[s, data.tobytes()] for s in said}

  def _vectors(self, state, texts, key, fused):
    """The prototypes of the pairs of texts, [count n v]."""
    method = self._method
    c, net = method.config, method.network
    shape = (*fused.shape, net.upper.channels)
    vectors = np.zeros(shape, np.float32)
    every = [method.placed(text).said for text in texts]
    said = sorted({s for each in every for s in each})
    if c.references.told == "none" or not said:
      return vectors
    found = self._references(state, said, key)
    below = np.concatenate([found[s].below for s in said])
    weights = np.concatenate([found[s].weights for s in said])
    own = net.prototypes(
      parallel.to_host(average(state)), jnp.asarray(below), jnp.asarray(weights)
    )
    number = {s: i for i, s in enumerate(said)}
    for i, each in enumerate(every):
      for j, s in enumerate(each):
        vectors[i, j] = own[number[s]]
    if c.references.told == "others":
      there = np.array([np.arange(shape[1]) < len(each) for each in every])
      vectors = np.asarray(
        fusion.of_others(jnp.asarray(vectors), jnp.asarray(there))
      )
    return vectors


def _wanted(wanted: Any, count: int, most: int) -> np.ndarray:
  """Which pairs are told, [count most].

  Raises:
    UserError: there are too many, or not one row for each image.
  """
  found = np.atleast_2d(np.asarray(wanted, bool))
  if found.ndim != 2 or len(found) not in (1, count) or found.shape[1] > most:
    raise UserError(
      f"pairs of shape {list(np.shape(wanted))} for {count} images; expected a"
      f" row of {most} or fewer for all, or for each"
    )
  pad = most - found.shape[1]
  return np.pad(
    np.broadcast_to(found, (count, found.shape[1])), [(0, 0), (0, pad)]
  )

"""Numbered images: each by a key of its own, a batch at a time.

The images of a draw are numbered. What is drawn for one depends on the key and
its number, so that images do not depend on how many are made together, or on
the devices.
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key, UInt8
import numpy as np

from protojax import parallel
from protojax.diffusion import processes, samplers
from protojax.diffusion.processes import Flow, Process
from protojax.diffusion.samplers import Predict
from protojax.diffusion.space import Space
from protojax.types import Array, Batch, PyTree, State, UserError


class Begun(NamedTuple):
  """Where images begin.

  Attributes:
    noise: of each image.
    keys: of each, for what is drawn later.
  """

  noise: Float[Array, "b h w c"]
  keys: Key[Array, " b"]


def begun(space: Space, key: Array, index: Array) -> Begun:
  """Noise of images; inside a step.

  Args:
    space: of the images.
    key: data of the key of the draw.
    index: numbers of the images [b].
  """
  return started((space.side, space.side, space.channels), key, index)


def started(shape: tuple[int, int, int], key: Array, index: Array) -> Begun:
  """`begun`, for images of any height, width and channels."""
  keys = parallel.example_keys(parallel.key_of(key), index)
  first, more = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  return Begun(processes.normal(first, *shape), more)


def numbered(
  step: Callable[[PyTree, Batch], dict[str, Array]],
  given: PyTree,
  conditions: PyTree,
  start: int,
  count: int,
  size: int,
) -> dict[str, np.ndarray]:
  """Rows of the images `start` to `start + count - 1` of a draw.

  Args:
    step: (given, batch) -> rows by name. A batch holds the conditions, "index"
      (the images' numbers) and "valid".
    given: the same for all images.
    conditions: a tree of arrays by name, with an image as first axis.
    start, count: see above.
    size: images that are made at once, at most.
  """
  size = parallel.whole_batch(min(size, count))
  index = np.arange(start, start + count, dtype=np.int32)
  found = [
    jax.tree.map(lambda x, valid=batch["valid"]: x[valid], rows)
    for batch, rows in parallel.each(
      step, given, _batches({**conditions, "index": index}, count, size)
    )
  ]
  return {k: np.concatenate([f[k] for f in found]) for k in found[0]}


def _batches(rows: PyTree, count: int, size: int) -> Iterator[Batch]:
  for first in range(0, count, size):
    there = min(size, count - first)

    def cut(x: np.ndarray, first: int = first, there: int = there) -> Any:
      pad = [(0, size - there)] + [(0, 0)] * (x.ndim - 1)
      return np.pad(x[first : first + there], pad, mode="edge")

    yield {**jax.tree.map(cut, rows), "valid": np.arange(size) < there}


class Numbers(NamedTuple):
  """Of a sampler.

  Attributes:
    steps: of each image.
    guidance: weight of the condition, 1 for none.
  """

  steps: int
  guidance: float


def numbers(
  sample: Any,
  conditions: Mapping[str, Any],
  known: Sequence[str],
  condition: str,
) -> Numbers:
  """Steps and guidance: as asked for, else as the config says.

  Args:
    sample: the config's `steps` and `guidance`.
    conditions: what was asked for.
    known: all that can be.
    condition: what images are guided to, for messages.

  Raises:
    UserError: a condition is unknown, or out of range.
  """
  if unknown := sorted(set(conditions) - set(known)):
    raise UserError(
      f"no condition {', '.join(unknown)}: images are drawn by"
      f" {', '.join(known)}"
    )
  steps = int(conditions.get("steps", sample.steps))
  weight = float(conditions.get("guidance", sample.guidance))
  if steps < 1:
    raise UserError(f"{steps} steps of a sampler: take 1 or more")
  if not 0 <= weight < np.inf:
    raise UserError(
      f"guidance {weight:g}: give 1 (no guidance), more, or from 0 (the"
      f" {condition} is ignored) to 1 (it counts less)"
    )
  return Numbers(steps, weight)


def texts(prompt: str | Sequence[str], count: int) -> list[str]:
  """The text of each image.

  Args:
    prompt: one for all, or one for each.
    count: number of images.

  Raises:
    UserError: there is not one for each.
  """
  if isinstance(prompt, str):
    return [prompt] * count
  if len(prompt) != count:
    raise UserError(
      f"{len(prompt)} prompts for {count} images: give one for each"
    )
  return list(prompt)


class Maker(NamedTuple):
  """What makes images.

  Attributes:
    network: first argument of `Generator.images`; can be hashed.
    sample: steps and guidance where nothing else is asked for.
    given: what it takes, beside the key of the draw.
    size: images that are made at once, at most.
  """

  network: Any
  sample: Any
  given: Mapping[str, PyTree]
  size: int


def averaged(method: Any, state: State) -> Maker:
  """A method that draws with its averaged weights."""
  given = {"weights": state.memory["average"], "assets": state.assets}
  c = method.config
  return Maker(method.network, c.sample, given, c.batch_size)


class Draw(NamedTuple):
  """What is asked for; see `methods.generating.Generates`."""

  state: State
  conditions: Mapping[str, Any]
  key: Array
  count: int
  start: int


class Generator(abc.ABC):
  """Makes numbered images; see `methods.generating.Generates`.

  A method's own has `known`, the conditions that can be asked for; `condition`,
  what images are guided to; `images` and `ways`, functions (network, steps,
  guidance, given, batch) -> rows of a batch, of images and of what `traced`
  tells; `maker` and `asked`.
  """

  known: ClassVar[tuple[str, ...]]
  condition: ClassVar[str]
  images: ClassVar[Callable[..., dict[str, Array]]]
  ways: ClassVar[Callable[..., dict[str, Array]]]

  @abc.abstractmethod
  def maker(self, state: State) -> Maker:
    """What makes the images."""

  @abc.abstractmethod
  def asked(self, draw: Draw) -> PyTree:
    """What a batch holds of the conditions, an image as first axis.

    Raises:
      UserError: an image cannot be drawn so.
    """

  def generate(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> UInt8[np.ndarray, "count H W 3"]:
    """Images; see `methods.generating.Generates`."""
    draw = Draw(state, conditions, key, count, start)
    return self._drawn(type(self).images, draw)["images"]

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[UInt8[np.ndarray, "count H W 3"], Mapping[str, np.ndarray]]:
    """Images, and the other rows of `ways`."""
    draw = Draw(state, conditions, key, count, start)
    found = self._drawn(type(self).ways, draw)
    return found.pop("images"), found

  def _drawn(self, function, draw):
    maker = self.maker(draw.state)
    sampler = numbers(maker.sample, draw.conditions, self.known, self.condition)
    asked = self.asked(draw)
    key = np.asarray(jax.random.key_data(draw.key))
    return numbered(
      functools.partial(
        function, maker.network, sampler.steps, sampler.guidance
      ),
      {**maker.given, "key": key},
      asked,
      draw.start,
      draw.count,
      maker.size,
    )


def sampled(
  process: Process, predict: Predict, start: Begun, steps: int
) -> Float[Array, "b h w c"]:
  """Images of noise: along a flow, or by DDPM's steps."""
  times = process.times(steps)
  if isinstance(process, Flow):
    return samplers.follow(process, predict, start.noise, times)
  return samplers.ancestral(process, predict, start.noise, times, start.keys)

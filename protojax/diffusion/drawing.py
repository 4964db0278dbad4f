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
  keys = parallel.example_keys(parallel.key_of(key), index)
  first, more = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  noise = processes.normal(first, space.side, space.side, space.channels)
  return Begun(noise, more)


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


class Generator(abc.ABC):
  """Makes numbered images with a method; see `methods.generating.Generates`.

  A method's own has `known`, the conditions that can be asked for; `condition`,
  what images are guided to; `images` and `ways`, functions (network, steps,
  guidance, given, batch) -> rows of a batch, of images and of what `traced`
  tells; and `asked`.
  """

  known: ClassVar[tuple[str, ...]]
  condition: ClassVar[str]
  images: ClassVar[Callable[..., dict[str, Array]]]
  ways: ClassVar[Callable[..., dict[str, Array]]]

  def __init__(self, method: Any) -> None:
    self._method = method

  @abc.abstractmethod
  def asked(
    self, conditions: Mapping[str, Any], count: int, start: int
  ) -> PyTree:
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
    images = type(self).images
    return self._drawn(images, state, conditions, key, count, start)["images"]

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[UInt8[np.ndarray, "count H W 3"], Mapping[str, np.ndarray]]:
    """Images, and the other rows of `ways`."""
    ways = type(self).ways
    found = self._drawn(ways, state, conditions, key, count, start)
    return found.pop("images"), found

  def _drawn(self, function, state, conditions, key, count, start):
    method = self._method
    sampler = numbers(
      method.config.sample, conditions, self.known, self.condition
    )
    asked = self.asked(conditions, count, start)
    given = {
      "weights": state.memory["average"],
      "assets": state.assets,
      "key": np.asarray(jax.random.key_data(key)),
    }
    return numbered(
      functools.partial(
        function, method.network, sampler.steps, sampler.guidance
      ),
      given,
      asked,
      start,
      count,
      method.config.batch_size,
    )


def sampled(
  process: Process, predict: Predict, start: Begun, steps: int
) -> Float[Array, "b h w c"]:
  """Images of noise: along a flow, or by DDPM's steps."""
  times = process.times(steps)
  if isinstance(process, Flow):
    return samplers.follow(process, predict, start.noise, times)
  return samplers.ancestral(process, predict, start.noise, times, start.keys)

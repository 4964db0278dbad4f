"""The network: image -> features; features and noise -> classes of cells."""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax import parallel
from protojax.backbones.backbone import Backbone
from protojax.diffusion import processes, samplers
from protojax.diffusion.processes import LogSnr
from protojax.methods.noisy_pseudo_label_diffusion import anchors, trust
from protojax.methods.noisy_pseudo_label_diffusion.layers import (
  Denoiser,
  Neck,
  Readouts,
)
from protojax.types import Array, ArrayLike, Batch, PyTree, State

PROCESS = LogSnr("clean")
_EXACT = jax.lax.Precision.HIGHEST


class Read(NamedTuple):
  """What a pass says of each cell; r seeds, and t steps if they are kept.

  Attributes:
    logits: of the classes.
    vectors: unit vectors, to be compared with prototypes.
  """

  logits: Float[Array, "*n b h w k"]
  vectors: Float[Array, "*n b h w d"]


@dataclasses.dataclass(frozen=True)
class Network:
  """Backbone, neck, label latents, denoiser and what is read from it.

  Attributes:
    backbone: image -> maps.
    levels: names of its maps, the finest first.
    neck: maps -> features.
    denoiser: features and noisy latents -> h.
    readouts: h -> logits and unit vectors.
    class_names: index = class.
    image_size: pixels on a side.
    bits: b, half the range of a label's latents.
    steps: T, of the sampler.
    seeds: R, noise maps that an answer is the mean over.
    temperature: tau, of prototype scores.
  """

  backbone: Backbone
  levels: tuple[str, ...]
  neck: Neck
  denoiser: Denoiser
  readouts: Readouts
  class_names: tuple[str, ...]
  image_size: int
  bits: float
  steps: int
  seeds: int
  temperature: float

  @property
  def classes(self) -> int:
    """k."""
    return len(self.class_names)

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the features."""
    side, stride = self.image_size, self.backbone.chosen(self.levels)[0].stride
    return -(-side // stride), -(-side // stride)

  def init(self, key: Array, blank: bool = False) -> State:
    """A random start; the teacher is a copy.

    Args:
      key: of the randomness.
      blank: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 5)
    statistics = self.backbone.init(keys[0], self.image_size, blank)
    params: dict[str, PyTree] = {"backbone": statistics.pop("params")}
    image = jnp.zeros((1, self.image_size, self.image_size, 3))
    maps = jax.eval_shape(
      lambda p, s: self.backbone.pyramid(p, s, image, self.levels)[0],
      params["backbone"],
      statistics,
    )
    maps = [jnp.zeros(x.shape, x.dtype) for x in maps]
    params["neck"] = self.neck.init(keys[1], maps)["params"]
    d = self.neck.channels
    # The last row stands for cells whose class is not known.
    table = jax.random.normal(keys[2], (self.classes + 1, d))
    params["labels"] = {"table": table}
    cells = jnp.zeros((1, *maps[0].shape[1:3], d))
    denoiser = self.denoiser.init(keys[3], cells, cells, jnp.zeros(1))
    params["denoiser"] = denoiser["params"]
    params["readouts"] = self.readouts.init(keys[4], cells)["params"]
    statistics = {"backbone": statistics}
    return State(
      params,
      statistics,
      {},
      memory={
        "teacher": {
          "params": jax.tree.map(jnp.copy, params),
          "statistics": jax.tree.map(jnp.copy, statistics),
        },
        "prototypes": anchors.nothing(self.classes, d),
      },
    )

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    train: bool = False,
  ) -> tuple[Float[Array, "b h w d"], PyTree]:
    """Features of images, once for all times; and the statistics.

    Args:
      params: of the network.
      statistics: of BatchNorm.
      images: pixels 0..255.
      train: BatchNorm normalises by the batch and moves its averages.
    """
    maps, moved = self.backbone.pyramid(
      params["backbone"], statistics["backbone"], images, self.levels, train
    )
    found: Any = self.neck.apply({"params": params["neck"]}, list(maps))
    return found, {"backbone": moved}

  def latents(
    self, params: PyTree, classes: Int[ArrayLike, "*n h w"]
  ) -> Float[Array, "*n h w d"]:
    """z_0 of the class of each cell, in [-b, b]; k and above is not known."""
    known = self.bits * (2 * jax.nn.sigmoid(params["labels"]["table"]) - 1)
    return known[jnp.minimum(jnp.asarray(classes), self.classes)]

  def read(
    self,
    params: PyTree,
    features: Float[ArrayLike, "b h w d"],
    z: Float[ArrayLike, "b h w d"],
    t: Float[ArrayLike, " b"],
  ) -> Read:
    """One pass of the denoiser at the times t, in thousandths."""
    h = self.denoiser.apply(
      {"params": params["denoiser"]}, features, z, PROCESS.log_snr(t)
    )
    found: Any = self.readouts.apply({"params": params["readouts"]}, h)
    return Read(*found)

  def sampled(
    self,
    params: PyTree,
    features: Float[ArrayLike, "b h w d"],
    noise: Float[ArrayLike, "r b h w d"],
    whole: bool = False,
  ) -> Read:
    """Classes from noise, by DDIM: what the last step reads, seed by seed.

    Args:
      params: of the network.
      features: of the images.
      noise: of each seed.
      whole: give what all steps read, with a leading t.
    """
    noise = jnp.asarray(noise)
    r, b = noise.shape[:2]
    repeated = jnp.concatenate([jnp.asarray(features)] * r)

    def read(z: Array, t: Array) -> Read:
      return self.read(params, repeated, z, t)

    def clean(found: Read) -> Array:
      return self.latents(params, jnp.argmax(found.logits, axis=-1))

    z = noise.reshape(r * b, *noise.shape[2:])
    steps = self.steps if self.denoiser.noisy else 1
    found = denoised(read, clean, z, steps, whole)
    lead = (steps,) if whole else ()
    return Read(*(x.reshape(*lead, r, b, *x.shape[-3:]) for x in found))

  def noise(self, images: int) -> Float[Array, "r b h w d"]:
    """That of answers: the same for all images, so that each stands alone."""
    keys = jax.random.split(parallel.key(0), self.seeds)
    one = processes.normal(keys, *self.grid, self.neck.channels)
    return jnp.repeat(one[:, None], images, axis=1)

  def scores(
    self, vectors: Float[ArrayLike, "*n d"], prototypes: Float[ArrayLike, "k d"]
  ) -> Float[Array, "*n k"]:
    """r = cosine / tau of unit vectors and prototypes."""
    cosines = jnp.matmul(
      jnp.asarray(vectors), jnp.asarray(prototypes).T, precision=_EXACT
    )
    return cosines / self.temperature

  def seen(
    self,
    state: State,
    images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"],
    whole: bool = False,
  ) -> Read:
    """What all seeds say of images; see `sampled`."""
    features, _ = self.features(state.params, state.statistics, images)
    noise = self.noise(len(features))
    return self.sampled(state.params, features, noise, whole)

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """What is said of images.

    Returns:
      "classes" [b H W], of each pixel; "disagreement" [b h w], that of the
      seeds about each cell, 0 (none) to 1.
    """
    logits = self.seen(state, batch["image"]).logits
    sides = batch["image"].shape[1:3]
    return {
      "classes": jnp.argmax(self.pixels(logits, sides), axis=-1).astype(
        jnp.int32
      ),
      "disagreement": trust.disagreement(jax.nn.softmax(logits)),
    }

  def pixels(
    self, logits: Float[ArrayLike, "r b h w k"], sides: tuple[int, ...]
  ) -> Float[Array, "b H W k"]:
    """Probabilities of each pixel: the mean over the seeds, made larger."""
    mean = jnp.mean(jax.nn.softmax(jnp.asarray(logits)), axis=0)
    shape = len(mean), *sides, mean.shape[-1]
    return jax.image.resize(mean, shape, "linear")


def denoised(
  read: Any,
  clean: Any,
  z: Float[ArrayLike, "b h w d"],
  steps: int,
  whole: bool = False,
) -> PyTree:
  """DDIM with DDP's pairs of times; what is read in the last step.

  Args:
    read: (latents, times) -> what a pass reads.
    clean: what was read -> latents of its answer.
    z: noise.
    steps: T.
    whole: give what all steps read, stacked.
  """

  def move(z: Array, pair: Array) -> tuple[Array, PyTree]:
    start, end = pair
    found = read(z, jnp.full(len(z), start, jnp.float32))
    answer = clean(found)
    z = samplers.step(PROCESS, lambda z, t: answer, z, start, end)
    return z, found

  z, times = jnp.asarray(z), pairs(steps)
  if whole:
    return jax.lax.scan(move, z, jnp.asarray(times))[1]
  z, _ = jax.lax.scan(
    lambda z, pair: (move(z, pair)[0], None), z, jnp.asarray(times[:-1])
  )
  return read(z, jnp.full(len(z), times[-1, 0], jnp.float32))


def pairs(steps: int) -> Float[np.ndarray, "t 2"]:
  """Start and end of each step, in thousandths: DDP's, one step further.

  A step starts at 1 - i / T and ends at 1 - (i + 2) / T, or 0. 999 stands for
  1000, which training never draws.
  """
  at = 1 - np.arange(steps) / steps
  found = np.stack([at, np.maximum(at - 2 / steps, 0)], axis=1)
  return np.minimum(1000 * found, 999).astype(np.float32)

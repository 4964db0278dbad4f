"""An image -> the same objects in another condition: DriveGEN's sampler.

Lin et al., "DriveGEN", CVPR 2025 (2503.11122), step by step as its code has it;
docs/drivegen.md lists what differs. Nothing is trained. `inverted` turns an
image into noise. `regenerated` draws another image of that noise, by another
text, and holds it to the first by two losses: of the keys of attention along
self-prototypes, in the regions of objects, and of the noisy image itself, in
their boxes. Images do not depend on one another, so that a batch is as many
images one by one.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from protojax.diffusion import (
  guidance,
  processes,
  regions,
  samplers,
  self_prototypes,
)
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.diffusion.processes import Estimate
from protojax.diffusion.regions import Objects
from protojax.diffusion.self_prototypes import Basis
from protojax.diffusion.steering import (
  Regenerated,
  Settings,
  Strength,
  Texts,
  Trace,
)
from protojax.diffusion.transformer import Text
from protojax.types import PyTree, UserError

# Axes of which a trace tells.
_SHOWN = 3


def inverted(
  model: GuidableDiffusion,
  weights: PyTree,
  clean: Float[Array, "b h w c"],
  text: Text,
  steps: int,
) -> Float[Array, "n b h w c"]:
  """The noisy images that lead to images, by DDIM's inversion, noise first.

  Args:
    model: that is steered.
    weights: of it.
    clean: images without noise.
    text: what they show.
    steps: of the path; it has one image more.
  """

  def predict(x, t):
    return model.predict(weights, x, t, text)

  upwards = model.times(steps)[::-1].copy()
  return samplers.path(model.process, predict, clean, upwards)[::-1]


def extracted(
  model: GuidableDiffusion,
  weights: PyTree,
  noise: Float[Array, "b h w c"],
  texts: Texts,
  settings: Settings,
) -> Basis:
  """Self-prototypes of each step, [s blocks b ...]: the code's first stage.

  `regenerated` finds them as it goes, unless it is given these.

  Args:
    model, weights: see `inverted`.
    noise: of `inverted`, the first.
    texts: of the images.
    settings: of the sampler.
  """
  blocks = settings.blocks or model.steered
  times = _times(model, settings)

  def move(carry, given):
    own, axes = carry
    start, end, _ = given
    asked = jnp.full(len(own), start)
    both = (texts.negative, texts.example)
    found, kept = model.seen(
      weights, _joined(own, own), _joined(asked, asked), _joined(*both), blocks
    )
    basis = _basis(jnp.split(kept.keys, 2, axis=1)[1], axes, settings)
    null, told = jnp.split(found, 2)
    own = _after(model, own, _mixed(null, told, settings), start, end)
    return (own, basis.axes), basis

  begun = (noise, _axes(model, weights, noise, texts, blocks, settings))
  _, found = jax.lax.scan(move, begun, _steps(times, 0, settings.first))
  return found


def regenerated(
  model: GuidableDiffusion,
  weights: PyTree,
  path: Float[Array, "n b h w c"],
  texts: Texts,
  objects: Objects,
  settings: Settings,
  strength: Strength | None = None,
  prototypes: Basis | None = None,
) -> Regenerated:
  """Draws images by another text, with the objects of those that are given.

  Args:
    model, weights: see `inverted`.
    path: of `inverted`.
    texts: of the images.
    objects: in them.
    settings: of the sampler.
    strength: weights of the losses where the settings have any, so that one
      program does for all; None: those of the settings.
    prototypes: of `extracted`; None: found on the way.
  """
  strength = strength or Strength(settings.semantic, settings.shallow)
  _, _, high, wide, channels = path.shape
  pull = regions.pull(objects, (high, wide), channels, settings.most)
  steer = _Steer(model, weights, texts, objects, settings, strength, pull)
  times = _times(model, settings)
  x, trace = path[0], None
  if settings.first:
    x, trace = steer.by_keys(path, times, prototypes)
  given = path[settings.first : -1], *_steps(times, settings.first, None)
  x, _ = jax.lax.scan(steer.in_boxes, x, given)
  return Regenerated(x, trace)


@dataclasses.dataclass(frozen=True, eq=False)
class _Steer:
  """The two kinds of steps, and what all of them need."""

  model: GuidableDiffusion
  weights: PyTree
  texts: Texts
  objects: Objects
  settings: Settings
  strength: Strength
  pull: Array

  @property
  def _blocks(self):
    return self.settings.blocks or self.model.steered

  def by_keys(self, path, times, prototypes):
    """The steps with the loss of keys: the images after them, and the trace."""
    s, model = self.settings, self.model
    noise, first = path[0], s.first
    blocks = self._blocks
    _, high, wide, _ = noise.shape
    grid = model.grid(high, wide, blocks)
    hills = regions.layout(self.objects, grid, s.spread)
    warm = int(s.warm_up * s.steps)

    def move(carry, given):
      x, own, axes, words = carry
      example, start, end, number, basis = given
      kept = self._example(x, example, own, start, prototypes is None)
      if basis is None:
        basis = _basis(kept.own_keys, axes, s)
        axes = basis.axes
        own = _after(model, own, kept.own, start, end)
      words = words + jnp.mean(kept.words, axis=0)
      region = regions.region(
        s.region, words / (number + 1), self.objects, hills, grid, s.threshold
      )
      wanted = self_prototypes.projected(kept.keys, basis)
      weight = self.strength.semantic
      if warm:
        weight = weight * jnp.minimum(number / warm, 1.0)

      def loss(x):
        told, seen = model.seen(
          self.weights, x, jnp.full(len(x), start), self.texts.wanted, blocks
        )
        along = self_prototypes.projected(seen.keys, basis)
        value = semantic_loss(along, wanted, region)
        return weight * jnp.sum(value), (told, along, value)

      gradient, (told, along, value) = jax.grad(loss, has_aux=True)(x)
      gradient = gradient + self._pulled(x, example, start, end)
      after = _mixed(kept.null, told, s)
      x = _after(model, x, after, start, end, gradient)
      trace = Trace(
        region, wanted[-1, ..., :_SHOWN], along[-1, ..., :_SHOWN], value
      )
      return (x, own, axes, words), trace

    count = self.texts.example.tokens.shape[1]
    nothing = jnp.zeros((*hills.shape, count))
    axes = _axes(model, self.weights, noise, self.texts, blocks, s)
    begun = (noise, noise, axes, nothing)
    given = path[:first], *_steps(times, 0, first), prototypes
    (x, *_), trace = jax.lax.scan(move, begun, given)
    return x, trace

  def _example(self, x, example, own, start, extract):
    """All that needs no gradient, in one forward pass of up to four branches.

    Of the drawn image without text, of the example and, to find self-prototypes
    by, of the example drawn again with guidance.
    """
    t = self.texts
    images, texts = [x, example], [t.negative, t.example]
    if extract:
      images, texts = [*images, own, own], [*texts, t.negative, t.example]
    asked = jnp.full(len(images) * len(x), start)
    found, kept = self.model.seen(
      self.weights, _joined(*images), asked, _joined(*texts), self._blocks
    )
    predictions = jnp.split(found, len(images))
    keys = jnp.split(kept.keys, len(images), axis=1)
    words = jnp.split(kept.words, len(images), axis=1)[1]
    kept = _Kept(predictions[0], keys[1], words, None, None)
    if not extract:
      return kept
    again = _mixed(predictions[2], predictions[3], self.settings)
    return kept._replace(own=again, own_keys=keys[3])

  def in_boxes(self, x, given):
    """A step without the loss of keys."""
    example, start, end, number = given
    t, weights = self.texts, self.weights

    def network(x, t, text):
      return self.model.predict(weights, x, t, Text(*text))

    predict = guidance.guided(
      network, tuple(t.wanted), tuple(t.negative), self.settings.guidance
    )

    def guide(x, t, both, number):
      del number
      gradient = self._pulled(x, example, start, end)
      _, sigma = self.model.process.scales(t)
      return _held(both, gradient, sigma)

    after = samplers.step(
      self.model.process, predict, x, start, end, number, guide
    )
    return after, None

  def _pulled(self, x, example, start, end):
    """Gradient of the weighted `regions.shallow_loss`, in closed form.

    A step moves x by sigma at its start, times sigma at its end, times this. In
    the code a box of few cells has a gradient of 10 (x - example) / cells in
    Stable Diffusion, and a step that overshoots: below 5 cells the difference
    grows at each of the first steps. If `limited`, a step removes the
    difference at most.
    """
    if not self.settings.shallow:
      return 0.0
    factor = 2 * self.strength.shallow * self.pull
    if self.settings.limited:
      _, sigma = self.model.process.scales(jnp.stack([start, end]))
      factor = jnp.minimum(factor, 1 / jnp.maximum(sigma[0] * sigma[1], 1e-12))
    return factor * (x - example)


class _Kept(NamedTuple):
  """Of one forward pass; `own` and `own_keys` may be missing."""

  null: Array
  keys: Array
  words: Array
  own: Array | None
  own_keys: Array | None


def semantic_loss(
  drawn: Float[Array, "n b l k"],
  example: Float[Array, "n b l k"],
  region: Bool[Array, "b l"],
) -> Float[Array, " b"]:
  """Squared difference along the axes, mean over the region and over blocks.

  Args:
    drawn, example: of `self_prototypes.projected`, of n blocks.
    region: the tokens that count; 0 where there are none.
  """
  counts = region.astype(jnp.float32)
  error = jnp.mean((drawn - example) ** 2, axis=(0, 3))
  return jnp.sum(counts * error, axis=1) / jnp.maximum(jnp.sum(counts, 1), 1)


def _basis(keys, axes, settings):
  if settings.exact:
    return self_prototypes.exact(keys, settings.components)
  return self_prototypes.followed(keys, axes)


def _axes(model, weights, noise, texts, blocks, settings):
  """Axes to begin from, [blocks b k d]; the first step counts little or not."""

  def seen(*x):
    return model.seen(*x, blocks)[1].keys

  asked = jnp.zeros(len(noise))
  keys = jax.eval_shape(seen, weights, noise, asked, texts.example)
  tokens, channels = keys.shape[-2:]
  if settings.components > min(tokens, channels):
    raise UserError(
      f"components is {settings.components}; the blocks that are steered have"
      f" {tokens} tokens of {channels} channels: take as many or fewer"
    )
  return self_prototypes.start(keys.shape, settings.components)


def _mixed(null, told, settings):
  return null + settings.guidance * (told - null)


def _after(model, x, prediction, start, end, gradient=None):
  """Images after a step; along a gradient, if one is given."""
  process = model.process
  before, after = (jnp.full(len(x), t) for t in (start, end))
  both = processes.estimate(process, process.prediction, x, prediction, before)
  if gradient is not None:
    both = _held(both, gradient, process.scales(before)[1])
  return processes.noisy(process, both, after)


def _held(both, gradient, sigma):
  """An estimate whose noise goes against a gradient, and whose image stays.

  What comes of it is a step of plain descent: x at the end of the step, less
  sigma at its start times sigma at its end times the gradient.
  """
  scale = sigma[:, None, None, None]
  return Estimate(both.clean, both.noise - scale * gradient)


def _joined(*trees):
  return jax.tree.map(lambda *x: jnp.concatenate(x), *trees)


def _times(model, settings):
  return jnp.asarray(model.times(settings.steps))


def _steps(times, first, last):
  """Start, end and number of the steps from one to another."""
  count = len(times) - 1 if last is None else last
  span = slice(first, count)
  return times[:-1][span], times[1:][span], jnp.arange(first, count)

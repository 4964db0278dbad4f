"""The loss of both stages: labelled images alone, and with unlabelled ones.

Of an unlabelled image nothing but its pixels is read; see `pixels_of`. Its
stream has no masks in the first place.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax import parallel
from protojax.diffusion import processes
from protojax.diffusion.processes import LogSnr
from protojax.engine import memory
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.layers.sampling import nearest
from protojax.methods.noisy_pseudo_label_diffusion import (
  anchors,
  corruption,
  losses,
  trust,
)
from protojax.methods.noisy_pseudo_label_diffusion.network import Network, Read
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Numbers that an image's key is folded with; 0 and 1 are the views'.
_ALIGNED, _SEEDS, _WRONG = 2, 3, 4


class Weights(NamedTuple):
  """Weights of the terms; those of labelled cells are 1."""

  pseudo: float
  contrast: float
  consistency: float
  separation: float


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the config says of the loss.

  Attributes:
    weights: of the terms.
    margin: delta, of the separation.
    decay: mu, of the prototypes.
    follow: decay of the teacher.
    aligned: the share of labelled images whose latents are those of the
      network's own answer.
    least: the earliest time of unlabelled images, in thousandths.
    rule: of trust.
    ramp: the share of the second stage after which unlabelled images count in
      full.
    regions: of a map that is made wrong on purpose.
    train_norm: whether BatchNorm goes by the batch.
  """

  weights: Weights
  margin: float
  decay: float
  follow: float
  aligned: float
  least: float
  rule: trust.Rule
  ramp: float
  regions: int
  train_norm: bool


class Pseudo(NamedTuple):
  """What the teacher says of unlabelled images.

  Attributes:
    labels: of the cells.
    weights: their trust.
  """

  labels: Int[Array, "b h w"]
  weights: Float[Array, "b h w"]


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """The loss of a stage; see `engine.terms.Loss`.

  Attributes:
    network: of the method.
    settings: of the config.
    both: whether there are unlabelled images.
  """

  network: Network
  settings: Settings
  both: bool

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """The terms of this device's images."""
    labelled = batch["labelled"] if self.both else batch
    images, given, metrics = labelled["image"], None, {}
    keys = [_keys(now, labelled, 0)]
    if self.both:
      views = pixels_of(batch["unlabelled"])
      keys.append(_keys(now, views["weak"], 1))
      given = self.pseudo(state, views["weak"]["image"], keys[1])
      images = jnp.concatenate([images, views["strong"]["image"]])
      metrics = _trusted(given.weights)
    features, statistics = self.network.features(
      params, state.statistics, images, self.settings.train_norm
    )
    labels = nearest(jnp.asarray(labelled["mask"]), *features.shape[1:3])
    first, second = self._views(params, features, labels, given, keys)
    terms = self._supervised(first, second, labels)
    ramp = jnp.float32(1)
    weights = (labels < self.network.classes).astype(jnp.float32)
    if given is not None:
      ramp = jnp.exp(-5 * (1 - _until(now.share, self.settings.ramp)) ** 2)
      terms["pseudo"] = self._pseudo_term(first, second, given, ramp)
      labels = jnp.concatenate([labels, given.labels])
      weights = jnp.concatenate([weights, given.weights])
    prototypes = state.memory["prototypes"]
    rows = Rows(
      first.vectors.reshape(-1, first.vectors.shape[-1]),
      second.vectors.reshape(-1, second.vectors.shape[-1]),
      labels.reshape(-1),
      weights.reshape(-1),
    )
    known = len(labelled["mask"]) * features.shape[1] * features.shape[2]
    terms |= self._anchored(rows, prototypes.vectors, known, ramp)
    after = anchors.moved(
      prototypes,
      jnp.concatenate([rows.first, rows.second]),
      jnp.concatenate([rows.labels] * 2),
      jnp.concatenate([rows.weights] * 2),
      self.settings.decay,
    )
    drift = Term(anchors.drift(prototypes, after), 1.0)
    return terms, Aux(
      statistics,
      {**state.memory, "prototypes": after},
      {**metrics, "prototype_drift": drift},
    )

  # The two views of the noise.

  def _views(
    self,
    params: PyTree,
    features: Float[Array, "b h w d"],
    labels: Int[Array, "l h w"],
    given: Pseudo | None,
    keys: list[Array],
  ) -> tuple[Read, Read]:
    """What is read at two draws of time and noise; features count once."""
    network, count = self.network, len(labels)
    if not network.denoiser.noisy:
      found = network.read(params, features, features, jnp.zeros(len(features)))
      return found, found
    shown = self._aligned(params, features[:count], labels, keys[0])
    latents = network.latents(params, shown)
    if given is not None:
      # What is not trusted is unknown, so that no pass takes it for clean.
      unknown = jnp.full_like(given.labels, network.classes)
      shown = jnp.where(given.weights > 0, given.labels, unknown)
      latents = jnp.concatenate([latents, network.latents(params, shown)])
    drawn = [self._noised(latents, keys, view) for view in (0, 1)]
    found = network.read(
      params,
      jnp.concatenate([features] * 2),
      jnp.concatenate([one[0] for one in drawn]),
      jnp.concatenate([one[1] for one in drawn]),
    )
    b = len(features)
    return Read(*(x[:b] for x in found)), Read(*(x[b:] for x in found))

  def _noised(
    self, latents: Array, keys: list[Array], view: int
  ) -> tuple[Array, Array]:
    """Noisy latents and times; unlabelled images are never nearly clean."""
    made, begin = [], 0
    for n, own in enumerate(keys):
      process = LogSnr(least=self.settings.least if n else 0.0)
      some = latents[begin : begin + len(own)]
      begin += len(own)
      made.append(processes.noised(process, some, _folded(own, view)))
    return (
      jnp.concatenate([one.x for one in made]),
      jnp.concatenate([one.t for one in made]),
    )

  def _aligned(
    self, params: PyTree, features: Array, labels: Array, keys: Array
  ) -> Array:
    """Some images with the network's own answer from noise (self-aligned)."""
    share = self.settings.aligned
    if not share:
      return labels
    params, features = jax.lax.stop_gradient((params, features))
    for_which, for_noise = jnp.moveaxis(
      jax.vmap(jax.random.split)(_folded(keys, _ALIGNED)), 1, 0
    )
    z = processes.normal(for_noise, *features.shape[1:])
    t = jnp.full(len(z), 999.0)
    said = jnp.argmax(self.network.read(params, features, z, t).logits, axis=-1)
    chosen = jax.vmap(lambda key: jax.random.bernoulli(key, share))(for_which)
    known = labels < self.network.classes
    return jnp.where(chosen[:, None, None] & known, said, labels)

  # Who is believed.

  def pseudo(self, state: State, images: Array, keys: Array) -> Pseudo:
    """Labels of the teacher, and their trust; there is no gradient.

    Args:
      state: with the teacher and the prototypes.
      images: the weak view.
      keys: of each image.
    """
    network, s = self.network, self.settings
    teacher = state.memory["teacher"]
    features, _ = network.features(
      teacher["params"], teacher["statistics"], images
    )
    noise = jnp.stack(
      [
        processes.normal(
          _folded(_folded(keys, _SEEDS), seed), *features.shape[1:]
        )
        for seed in range(network.seeds)
      ]
    )
    found = network.sampled(teacher["params"], features, noise)
    p = jax.nn.softmax(found.logits)
    labels = jnp.argmax(jnp.mean(p, axis=0), axis=-1)
    labels = corruption.corrupted(
      labels,
      _folded(keys, _WRONG),
      state.buffers["wrong"],
      s.regions,
      network.classes,
    )
    scores = network.scores(found.vectors, state.memory["prototypes"].vectors)
    weights = trust.weights(s.rule, p, scores, labels)
    return jax.lax.stop_gradient(Pseudo(labels, weights))

  # The terms.

  def _supervised(
    self, first: Read, second: Read, labels: Array
  ) -> dict[str, Term]:
    """L_sup: cross entropy and Dice of labelled cells, over both views."""
    count = len(labels)
    logits = jnp.concatenate([first.logits[:count], second.logits[:count]])
    twice = jnp.concatenate([labels] * 2)
    return {
      "labelled": Term(*losses.cross_entropy(logits, twice)),
      "dice": Term(*losses.dice(logits, twice)),
    }

  def _pseudo_term(
    self, first: Read, second: Read, given: Pseudo, ramp: Array
  ) -> Term:
    """L_u: cross entropy of pseudo-labels by trust, over both views."""
    count = len(given.labels)
    logits = jnp.concatenate([first.logits[-count:], second.logits[-count:]])
    found = losses.cross_entropy(
      logits,
      jnp.concatenate([given.labels] * 2),
      jnp.concatenate([given.weights] * 2),
    )
    return Term(*found, self.settings.weights.pseudo * ramp)

  def _anchored(
    self, rows: "Rows", prototypes: ArrayLike, known: int, ramp: Array
  ) -> dict[str, Term]:
    """L_pc, L_cc and L_sep; the first `known` rows have a true class."""
    w, network = self.settings.weights, self.network
    fixed = jax.lax.stop_gradient(jnp.asarray(prototypes))
    views = [network.scores(x, fixed) for x in (rows.first, rows.second)]
    terms = {}
    if w.contrast:
      found = losses.contrast(
        jnp.concatenate(views),
        jnp.concatenate([rows.labels] * 2),
        jnp.concatenate([rows.weights] * 2),
      )
      terms["contrast"] = Term(*found, w.contrast)
    if w.consistency:
      # A cell without a class is none of the image's: padding of a warp.
      valid = (jnp.arange(len(rows.labels)) >= known) | (rows.weights > 0)
      found = losses.consistency(views[0], views[1], valid)
      terms["consistency"] = Term(*found, w.consistency * ramp)
    if w.separation:
      value = losses.separation(
        jnp.concatenate([rows.first[:known], rows.second[:known]]),
        jnp.concatenate([rows.labels[:known]] * 2),
        fixed,
        self.settings.margin,
      )
      terms["separation"] = of_whole_batch(value, w.separation)
    return terms

  def follow(self, state: State) -> State:
    """The state after the teacher came a little nearer."""
    now = {"params": state.params, "statistics": state.statistics}
    teacher = memory.ema(state.memory["teacher"], now, self.settings.follow)
    return state.replace(memory={**state.memory, "teacher": teacher})


class Rows(NamedTuple):
  """Cells of a batch, labelled images first.

  Attributes:
    first: unit vectors of one view of the noise.
    second: of the other.
    labels: their classes; k and above is not known.
    weights: omega.
  """

  first: Float[Array, "n d"]
  second: Float[Array, "n d"]
  labels: Int[Array, " n"]
  weights: Float[Array, " n"]


def pixels_of(views: Mapping[str, Batch]) -> dict[str, dict[str, Any]]:
  """Views of unlabelled images without any label: no term can see one."""
  allowed = ("image", "index", "draw")
  return {
    view: {name: batch[name] for name in allowed if name in batch}
    for view, batch in views.items()
  }


def _keys(now: Now, batch: Batch, number: int) -> Array:
  """A key of each image; labelled and unlabelled ones differ."""
  key = jax.random.fold_in(now.key, number)
  return parallel.example_keys(key, batch["index"], batch.get("draw"))


def _folded(keys: Array, number: int) -> Array:
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _until(share: Array, end: float) -> Array:
  return jnp.minimum(share / end, 1.0) if end else jnp.ones_like(share)


def _trusted(weights: Array) -> dict[str, Term]:
  """The share of cells with any trust, and the mean of it."""
  count = float(weights.size)
  return {
    "coverage": Term(jnp.sum(weights > 0, dtype=jnp.float32), count),
    "trust": Term(jnp.sum(weights), count),
  }

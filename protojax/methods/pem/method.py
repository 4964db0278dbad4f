"""PEM: masks and their classes from queries that pick one token each.

Cavagnero et al., CVPR 2024 (2402.19422), after its authors' code, which is
Mask2Former's in all that is not PEM's. docs/pem.md says what is from where.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones, parallel
from protojax.data import stream as stream_lib
from protojax.data.source import origin
from protojax.engine.cached import Cached
from protojax.engine.optimizer import grouped
from protojax.engine.stage import Fit, Pass, steps
from protojax.engine.terms import Aux, Now, Term
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.pem import (
  explanation,
  judging,
  losses,
  segments,
  settings,
)
from protojax.methods.pem.decoder import Decoder
from protojax.methods.pem.inference import Thresholds
from protojax.methods.pem.network import Network
from protojax.methods.pem.pixel_decoder import PixelDecoder
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError

# Groups of parameters beside the backbone.
_OWN = ("pixels", "decoder")
# Arrays that are no weights of layers: weight decay leaves them alone.
_EMBEDDED = ("queries", "places", "levels")


class Method:
  """PEM as its config says; see `configs/pem_folder.py`."""

  assets = NO_ASSETS
  capabilities = Capabilities(
    segments=explanation.Explainer, explains=explanation.Explainer
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, 0)
    self.dataset = image_data.dataset(config, class_names)

  @functools.cached_property
  def network(self) -> Network:
    """Backbone, pixel decoder and transformer decoder."""
    c, b = self.config, self.config.backbone
    backbone = backbones.load(b.name, b.dtype, b.remat)
    chosen = backbone.chosen(b.levels)
    settings.require_levels(
      tuple(level.stride for level in chosen), c.data.image_size
    )
    p, d, a = c.pixels, c.decoder, c.attention
    names = self.dataset.class_names
    return Network(
      backbone,
      tuple(b.levels),
      PixelDecoder(p.channels, p.mask_channels, p.deformable, p.gated),
      Decoder(
        len(names),
        d.queries,
        d.channels,
        d.heads,
        d.layers,
        d.width,
        a.kind,
        1 + settings.ACROSS.index(a.across),
        a.parity,
        a.chunk,
      ),
      names,
      c.data.image_size,
      Thresholds(c.found.score, c.found.overlap),
      c.task == "panoptic",
    )

  @property
  def _moves(self) -> bool:
    """Whether training moves the backbone, or the averages of its norms."""
    return bool(self.config.train.backbone or self.config.backbone.train_norm)

  @functools.cached_property
  def _maps(self) -> Cached:
    """Cached maps of a backbone that does not move, with what is asked for."""
    return Cached(
      self._mapped, lambda s: (s.params["backbone"], s.statistics["backbone"])
    )

  def _mapped(self, state: State, batch: Batch) -> Mapping[str, Any]:
    maps, _ = self.network.maps(state.params, state.statistics, batch["image"])
    truth = "segments" if self.network.panoptic else "mask"
    return {"maps": maps, truth: batch[truth]}

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    b = self.config.backbone
    return self.network.init(key, bool(b.pretrained or b.weights))

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; all parameters at once."""
    yield Pass("start", self.start, self.stream("train"))
    if self.config.train.steps:
      yield Fit(
        "train",
        self.loss,
        self.dataset.shuffled(self.config.data.augment),
        self._optimizer(),
        steps(self.config.train.steps),
        cached=None if self._moves else self._maps,
        accumulate=self.config.accumulate,
      )

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights of the backbone, and which classes are things.

    Raises:
      UserError: the task is panoptic, and the data know no objects.
    """
    c, b = self.config, self.config.backbone
    things = np.zeros(len(self.network.class_names), bool)
    if self.network.panoptic:
      things = _things(data.source, c.data.name)
    if (b.pretrained or b.weights) and not c.init_from:
      state = start.pretrained(state, self.network.backbone, b.name, b.weights)
    state = state.replace(buffers={**state.buffers, "things": things})
    return state, {"things": int(things.sum())}

  def _optimizer(self) -> optax.GradientTransformation:
    """AdamW along a cosine, the gradient clipped as a whole."""
    c = self.config.train

    def rule(rate: float) -> optax.GradientTransformation:
      fall = c.end / rate if rate else 0.0
      return optax.adamw(
        optax.cosine_decay_schedule(rate, max(c.steps, 1), min(fall, 1.0)),
        weight_decay=self.config.optimizer.weight_decay,
        mask=_decayed,
      )

    rules = {name: rule(c.rate) for name in _OWN}
    if c.backbone:
      rules["backbone"] = rule(c.rate * c.backbone)
    return grouped(rules, self.config.optimizer.clip_norm)

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Classes, masks and dice of all predictions.

    A term is the sum over the predictions of a mean: over the queries, or over
    the segments of all images.
    """
    c, network, statistics = self.config, self.network, state.statistics
    if "maps" in batch:
      found, statistics = network.of_maps(
        params, statistics, batch["maps"], True, now.key
      )
    else:
      train = c.backbone.train_norm, True
      found, statistics = network.forward(
        params, statistics, batch["image"], train, now.key
      )
    own = segments.of_batch(batch, len(network.class_names), network.panoptic)
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    sums = losses.of_predictions(
      found.logits, found.masks, own, keys, self._compared
    )
    weights = self._compared.weights
    # The counts are those of any prediction: all match as many segments.
    pairs, weight = sums.pairs[0], sums.weight[0]
    return {
      "classes": Term(jnp.sum(sums.classes), weight, weights[0]),
      "masks": Term(jnp.sum(sums.masks), pairs, weights[1]),
      "dice": Term(jnp.sum(sums.dice), pairs, weights[2]),
    }, Aux(statistics)

  @property
  def _compared(self) -> losses.Settings:
    c = self.config.loss
    return losses.Settings(
      c.points,
      c.oversample,
      c.importance,
      c.no_object,
      (c.classes, c.masks, c.dice),
      c.skip_void,
    )

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes", that of each pixel; if panoptic, segments, too."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """IoU and accuracy of pixels; if panoptic, PQ, SQ and RQ."""
    found = judging.counts(self.network, state, self.stream(split))
    return judging.scores(found, state.buffers["things"])

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, and those of each class."""
    found = judging.counts(self.network, state, self.stream("test"))
    return {
      "headline": "pq" if self.network.panoptic else "miou",
      **judging.scores(found, state.buffers["things"]),
      "by_stage": {s["id"]: dict(s["metrics"]) for s in stages},
      "classes": judging.of_classes(self.network.class_names, found),
    }


def _things(source: Any, name: str) -> np.ndarray:
  """Which classes of a source are objects."""
  things = getattr(origin(source)[0], "things", None)
  if things is None:
    raise UserError(
      f"the data set {name!r} tells no objects of a class apart, which"
      " --config.task=panoptic needs: set --config.task=semantic, or read"
      " panoptic PNGs with --config.data.name=panoptic_folder"
    )
  return np.asarray(things, bool)


def _decayed(params: PyTree) -> PyTree:
  """Which arrays weight decay draws to 0: not norms, nor embeddings."""

  def of(path: Any, leaf: Any) -> bool:
    del leaf
    names = [getattr(part, "key", "") for part in path]
    return names[-1] not in _EMBEDDED and not any("norm" in n for n in names)

  return jax.tree_util.tree_map_with_path(of, params)

"""INP-Former: an anomaly is what the prototypes of an image cannot rebuild.

Luo et al., CVPR 2025 (2503.02424). A few intrinsic normal prototypes are found
in every image, and a decoder rebuilds the image's features from them alone. The
answer is a map of the errors. There are no classes and no push.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool
from ml_collections import ConfigDict
import numpy as np

from protojax import backbones, parallel, ranges
from protojax.data import stream as stream_lib
from protojax.data.resizing import Frame
from protojax.datasets import anomalies, truths
from protojax.datasets.dataset import Dataset
from protojax.engine import adopt
from protojax.engine.assets import Asset
from protojax.engine.cached import Cached
from protojax.engine.optimizer import grouped, stable_adamw, warmup_cosine
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.base import Capabilities
from protojax.methods.inp_former import explanation, intrinsic, losses
from protojax.methods.inp_former.encoder import Encoder
from protojax.methods.inp_former.network import AnomalyNetwork
from protojax.metrics import anomaly as metrics
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "epochs": ranges.EPOCHS,
  "data.shots": ranges.whole(0, 100_000),
  "data.calibration_fraction": ranges.HELD_OUT,
  "encoder.grid": ranges.SIDE,
  # Sides of the image, as shares.
  "encoder.scales": ranges.Range(0.0, 4.0, above=True),
  "prototypes.count": ranges.COUNT,
  "prototypes.heads": ranges.COUNT,
  "decoder.blocks": ranges.whole(2, 1_000),
  "decoder.heads": ranges.COUNT,
  "loss.coherence": ranges.WEIGHT,
  "loss.gamma": ranges.Range(0.0, 100.0),
  "optimizer.rate": ranges.RATE,
  "optimizer.end": ranges.RATE,
  "optimizer.warmup": ranges.whole(0, 10**9),
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.WEIGHT,
  "map.size": ranges.SIDE,
  "map.share": ranges.Range(0.0, 1.0, above=True),
  "map.length": ranges.Range(0.0, 100.0),
  # Of 0.01, one normal image in a hundred is flagged.
  "threshold.false_positive_rate": ranges.Range(
    0.0, 1.0, above=True, below=True
  ),
}
_TRAINED = ("prototypes", "bottleneck", "decoder")


class Method:
  """INP-Former as its config says; see `configs/inp_former_textures.py`."""

  splits = ("train", "test")
  capabilities = Capabilities(
    inspects=explanation.Inspector, explains=explanation.Inspector
  )

  def __init__(self, config: ConfigDict, class_names: None = None) -> None:
    del class_names  # There are none.
    ranges.require(config, _RANGES)
    _require_scale(config.encoder.scales)
    self.config = config
    self.dataset = Dataset(
      config.data,
      config.seed,
      config.batch_size,
      open_split=anomalies.open_split,
      of_weights=functools.partial(
        backbones.preprocessing, config.backbone.name, config.backbone.weights
      ),
    )

  @functools.cached_property
  def network(self) -> AnomalyNetwork:
    """Encoder, prototypes and decoder."""
    c, b = self.config, self.config.backbone
    return AnomalyNetwork(
      Encoder(
        backbones.load(b.name, b.dtype, b.remat),
        tuple(c.encoder.levels),
        c.encoder.grid,
        tuple(c.encoder.scales),
      ),
      intrinsic.Extractor(
        c.prototypes.count, c.prototypes.heads, c.prototypes.static
      ),
      intrinsic.Decoder(
        c.decoder.blocks,
        c.decoder.heads,
        c.decoder.attention,
        c.decoder.residual,
      ),
      c.data.image_size,
      c.map.kind,
      c.map.size,
      c.map.share,
      c.map.length,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of "train", "calibration" or "test" in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The backbone, which is never trained."""
    backbone, c = self.network.encoder.backbone, self.config.backbone
    random = functools.partial(
      backbone.init,
      jax.random.split(parallel.init_key(self.config.seed), 4)[0],
      self.config.data.image_size,
    )
    make = jax.jit(random)
    if c.pretrained or c.weights:
      make = functools.partial(start.variables, backbone, c.name, c.weights)
    asset = Asset(
      make,
      functools.partial(jax.eval_shape, random),
      kept=not c.pretrained or bool(c.weights),
      earlier={
        "params": "params.backbone",
        "batch_stats": "statistics.backbone.batch_stats",
      },
    )
    return {"backbone": asset}

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; train on normal images; choose the threshold on others."""
    c = self.config
    train = self.stream("train")
    yield Pass("start", self.start, train)
    if c.epochs:
      shuffled = self.dataset.shuffled()
      steps = c.epochs * shuffled.steps_per_epoch
      o = c.optimizer
      rate = warmup_cosine(o.rate, o.warmup, steps, o.end)
      rules = {
        name: stable_adamw(rate, o.weight_decay, stacked=name == "decoder")
        for name in _TRAINED
      }
      yield Fit(
        "train",
        self.loss,
        shuffled,
        grouped(rules, o.clip_norm),
        epochs(c.epochs),
        cached=Cached(self.network.encoder_rows),
      )
    yield Pass("threshold", self.choose_threshold, self.stream("calibration"))

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Soft mining loss + 0.2 coherence (section 3)."""
    del now
    c = self.config.loss
    found = self.network.forward(params, state, batch)
    mining = losses.soft_mining(
      found.encoded, found.decoded, c.gamma, parallel.pmean
    )
    coherence = jnp.sum(losses.coherence(found.distance))
    count = len(found.distance)
    terms = {
      "mining": Term(jnp.sum(mining), count),
      "coherence": Term(coherence, count, c.coherence),
    }
    return terms, Aux()

  # The sweeps around it.

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Levels are shifted to mean 0 and scaled to equal size.

    Arrays that were taken over from another run do not change.
    """
    c, encoder = self.config, self.network.encoder
    taken = adopt.fitting(state, c.init_from, None) if c.init_from else {}
    if not (c.epochs or taken):
      parallel.say(
        "note: with --config.epochs=0 nothing is trained; give --init-from=RUN"
        " of another data set, or the maps mean nothing."
      )
    if "statistics.shift" in taken:
      return state, {}
    if c.encoder.standardise:
      shift, scale = start.standardisation(
        encoder.side_by_side, state, data, sum(encoder.widths)
      )
      scale = encoder.by_level(scale)
      statistics = {**state.statistics, "shift": shift, "scale": scale}
      state = state.replace(statistics=statistics)
    return state, {}

  def choose_threshold(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Chooses the score that few normal images exceed.

    On held-out images; without any, on the training images.
    """
    wanted = self.config.threshold.false_positive_rate
    scores = self._scores(state, data)
    chosen = metrics.threshold(scores, wanted)
    if self.config.data.shots:
      parallel.say(
        "note: with so few images the threshold is chosen on the training"
        " images; expect more false alarms."
      )
    elif self._trained_on(data):
      parallel.say(
        "note: no normal image is held out, so the threshold is chosen on the"
        " training images; expect more false alarms."
      )
    elif chosen.rate > wanted:
      parallel.say(
        f"note: with {len(scores)} normal images the rate of false alarms is"
        f" {chosen.rate:.1%} at best, not {wanted:.1%}; hold out more with"
        " --config.data.calibration_fraction."
      )
    buffers = {
      "threshold": np.float32(chosen.value),
      "false_positive_rate": np.float32(chosen.rate),
      "normal_images": np.int32(len(scores)),
    }
    return state.replace(buffers=buffers), {"threshold": chosen.value}

  def _trained_on(self, data: stream_lib.Stream) -> bool:
    """Whether images that the threshold is chosen on are trained on, too."""
    if self.config.data.calibration_fraction:
      return False
    sources: list[Any] = [data.source, self.dataset.source("train")]
    return bool(np.isin(*(source.rows for source in sources)).any())

  def _scores(self, state: State, data: stream_lib.Stream) -> np.ndarray:
    return np.concatenate(
      [
        rows["score"][batch["valid"]]
        for batch, rows in parallel.each(self._score, state, data.batches())
      ]
    )

  def _score(self, state: State, batch: Batch) -> Mapping[str, Array]:
    return {"score": self.predict(state, batch)["score"]}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Map, score, and the other rows of `AnomalyNetwork.inspect`."""
    return self.network.inspect(state, batch["image"])

  def evaluate(self, state: State, split: str) -> Metrics:
    """Image and pixel metrics, means over the categories (section 7).

    A category in which a metric is not defined is left out of its mean.
    """
    by_category = self._by_category(state, split)
    means = {}
    for name in next(iter(by_category.values())):
      values = [found[name] for found in by_category.values()]
      if not np.isnan(values).all():
        means[name] = float(np.nanmean(values))
    return means

  def _by_category(
    self, state: State, split: str
  ) -> dict[str, dict[str, float]]:
    data = self.stream(split)
    source: Any = data.source
    found = {}
    for number, name in enumerate(source.category_names):
      own = np.flatnonzero(source.categories == number)
      if not len(own):
        continue  # It has training images alone.
      sweep = parallel.Sweep(self._measure, state, metrics.Counts.empty())
      scores = [
        rows["score"][batch["valid"]]
        for batch, rows in sweep.rows(
          self._with_weights(source, data.some(own))
        )
      ]
      labels = source.labels[own] > 0
      found[name] = metrics.image_metrics(labels, np.concatenate(scores))
      if source.has_truth:
        found[name] |= metrics.pixel_metrics(sweep.carry())
    return found

  def _measure(
    self, state: State, carry: PyTree, batch: Batch
  ) -> tuple[PyTree, PyTree]:
    found = self.network.inspect(state, batch["image"])
    weights, valid = batch["weights"], batch["valid"]
    carry = metrics.count(carry, found["map"], weights, valid)
    return carry, {"score": found["score"]}

  def _with_weights(self, source: Any, batches: Any) -> Iterator[Batch]:
    """Batches with "weights": see `metrics.region_weights`."""
    for batch in batches:
      found = [self.truth(source, int(i)) for i in batch["index"]]
      weights = np.stack([metrics.region_weights(truth) for truth in found])
      yield {**batch, "weights": weights}

  def truth(
    self, source: anomalies.Anomalies, i: int
  ) -> Bool[np.ndarray, "S S"]:
    """Defective pixels at the size of the map (section 7).

    No pixel, if only images have labels.
    """
    size = self.config.map.size
    if not source.has_truth:
      return np.zeros((size, size), bool)
    truth = source.truth(i)
    return truths.on_map(truth, self._frame(truth.shape), size)

  def _frame(self, shape: tuple[int, ...]) -> Frame:
    size = self.config.data.image_size
    return self.dataset.resizing.frame(shape, size)

  def _hidden(self, source: Any) -> dict[str, int]:
    """Numbers of defective images whose defect the network does not see.

    Empty if it sees all of every image.
    """
    if not source.has_truth or self._frame((1, 1)).whole:
      return {}
    marked = [source.truth(int(i)) for i in np.flatnonzero(source.labels)]
    shares = [truths.hidden(x, self._frame(x.shape)) for x in marked]
    found = [share for share in shares if share]
    wholly = sum(share == 1 for share in found)
    if found:
      parallel.say(
        f"note: of {len(marked)} defective images, {wholly} have their defect"
        " outside of what the network sees, and"
        f" {len(found) - wholly} a part of it: see --config.data.resize_size."
        " All of them count as defective."
      )
    return {"wholly": wholly, "partly": len(found) - wholly}

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, also of each category, and the threshold."""
    found = self._by_category(state, "test")
    finite = {
      name: {k: v for k, v in values.items() if np.isfinite(v)}
      for name, values in found.items()
    }
    hidden = self._hidden(self.stream("test").source)
    return {
      "headline": "image_auroc",
      **({"defects_not_seen": hidden} if hidden else {}),
      **stages[-1]["metrics"],
      "categories": finite,
      "threshold": explanation.Inspector(self).threshold(state)._asdict(),
    }


def _require_scale(scales: Sequence[float]) -> None:
  if not scales:
    raise UserError(
      "--config.encoder.scales is (); it must hold sides of the image as"
      " shares, such as 1.0,0.5"
    )

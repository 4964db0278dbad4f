"""A detector of objects in photographs, in the image and in space.

Objects as points (CenterNet, Zhou et al., 2019), with depth, size and angle for
each. It has no prototypes: it is what training images are judged by that
DriveGEN makes, and any other ones.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

from ml_collections import ConfigDict
import optax

from protojax import backbones, ranges
from protojax.data import stream as stream_lib
from protojax.datasets import driving
from protojax.engine.optimizer import grouped, warmup_cosine
from protojax.engine.stage import Fit, Pass, steps
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, OF_NETWORK, Capabilities, splits
from protojax.methods.centre_detector import judging
from protojax.methods.centre_detector.judging import Rules
from protojax.methods.centre_detector.network import PARTS, Network
from protojax.methods.centre_detector.objective import Objective
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, State, UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  "steps": ranges.whole(1, 10_000_000),
  "network.hidden": ranges.CHANNELS,
  "network.typical": ranges.Range(1e-3, 1e6),
  "network.most": ranges.whole(1, 10_000),
  **{f"loss.{name}": ranges.WEIGHT for name in PARTS},
  "optimizer.rate": ranges.RATE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.Range(0.0, 1e6),
  "optimizer.warmup": ranges.whole(0, 1_000_000),
  "evaluation.overlaps": ranges.SHARE,
  "evaluation.scale": ranges.Range(1e-3, 1e3),
}


class Method:
  """A centre detector; see `configs/centre_detector_folder.py`.

  `predict` gives, for each image, "boxes" [b n 4] (top, left, bottom, right,
  in pixels of the network's input), "scores" [b n], "classes" [b n], and of the
  cuboids "middles" [b n 2] (in shares of the image, down and to the right),
  "depths" [b n], "sizes" [b n 3] (height, width, length) and "angles" [b n]
  (yaws as seen from the camera).
  """

  capabilities = Capabilities(localises=OF_NETWORK)
  assets = NO_ASSETS

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    ranges.require(config, RANGES)
    judging.rule(config.evaluation.difficulty)
    judging.corruptions(config.evaluation.corruptions)
    if config.data.get("resize", "squash") != "squash" or config.data.augment:
      raise UserError(
        "the camera holds for whole images as they are: set"
        " --config.data.resize=squash --config.data.augment="
      )
    self.config = config
    self.splits = splits(config.data.validation_fraction, 0)
    self.dataset = image_data.dataset(config, class_names)

  @functools.cached_property
  def class_names(self) -> tuple[str, ...]:
    """Kinds of objects; index = class."""
    found = self.dataset.class_names
    overlaps = self.config.evaluation.overlaps
    if len(overlaps) != len(found):
      raise UserError(
        f"--config.evaluation.overlaps={tuple(overlaps)}: give an IoU for each"
        f" of {', '.join(found)}"
      )
    return found

  @functools.cached_property
  def network(self) -> Network:
    """Backbone and head."""
    b, n = self.config.backbone, self.config.network
    return Network(
      backbones.load(b.name, b.dtype, b.remat),
      self.config.data.image_size,
      self.class_names,
      n.hidden,
      n.typical,
      n.most,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key, blank_backbone=self._has_weights)

  def stages(self) -> Iterator[Fit | Pass]:
    """Weights, if the backbone has some; one stage of gradient descent."""
    c, o = self.config, self.config.optimizer
    if self._has_weights and not c.init_from:
      yield Pass("weights", self.load_weights, self.stream("train"))
    rate = warmup_cosine(o.rate, o.warmup, c.steps)
    rule = optax.adamw(rate, weight_decay=o.weight_decay)
    yield Fit(
      "train",
      Objective(self.network, c.loss.to_dict()),
      self.dataset.shuffled(),
      grouped({"backbone": rule, "head": rule}, o.clip_norm),
      steps(c.steps),
    )

  @property
  def _has_weights(self) -> bool:
    b = self.config.backbone
    return b.pretrained or bool(b.weights)

  def load_weights(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights of the backbone in place of zeros."""
    del data
    b = self.config.backbone
    variables = start.variables(self.network.backbone, b.name, b.weights)
    statistics = dict(variables)
    params = {**state.params, "backbone": statistics.pop("params")}
    return state.replace(params=params, statistics={"backbone": statistics}), {}

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """The surest objects of each image; see above."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """AP by KITTI's rules; see `judging.measured`."""
    stream = self.stream(split)
    if not isinstance(stream.source, driving.Driving):
      raise UserError(
        f"--config.data.name={self.config.data.name}: its images have no"
        " objects in space; take kitti, nuscenes or driving_scenes"
      )
    e = self.config.evaluation
    overlaps = dict(zip(self.class_names, e.overlaps, strict=True))
    return judging.measured(self, state, stream, Rules(overlaps, e.difficulty))

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """AP, and the kinds of objects."""
    del state
    metrics = stages[-1]["metrics"]
    shifted = "ap_3d_shifted" in metrics
    return {
      "headline": "ap_3d_shifted" if shifted else "ap_3d",
      **metrics,
      "class_names": list(self.class_names),
    }

"""Few labels and wrong pseudo-labels: diffusion of label maps, with anchors.

After the abstract of "Robust Noisy Pseudo-label Learning for Semi-supervised
Medical Image Segmentation Using Diffusion Model" (Xi et al., DGM4MICCAI 2025,
2507.16429). Its text was not available: architecture, losses and schedule are
ours, on DDP's diffusion of labels (Ji et al., 2023, 2303.17559).
docs/noisy_pseudo_label_diffusion.md says what is from where.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones
from protojax.data import stream as stream_lib
from protojax.data.source import Source
from protojax.datasets.dataset import Dataset
from protojax.datasets.unlabelled import Unlabelled
from protojax.engine.optimizer import grouped
from protojax.engine.stage import Fit, Pass, steps
from protojax.explain import volume_answers
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.noisy_pseudo_label_diffusion import (
  explanation,
  judging,
  labelled,
  settings,
)
from protojax.methods.noisy_pseudo_label_diffusion.layers import (
  Denoiser,
  Neck,
  Readouts,
)
from protojax.methods.noisy_pseudo_label_diffusion.network import Network
from protojax.methods.noisy_pseudo_label_diffusion.objective import Objective
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, PyTree, State

# Groups of parameters beside the backbone.
_OWN = ("neck", "labels", "denoiser", "readouts")
# Arrays that are no weights of layers: weight decay leaves them alone.
_NO_WEIGHTS = ("table", "frequencies", "bias", "scale")


class Method:
  """See `configs/noisy_pseudo_label_diffusion_folder.py`."""

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
    """Backbone, neck, denoiser and what is read from it."""
    c, b, d = self.config, self.config.backbone, self.config.denoiser
    backbone = backbones.load(b.name, b.dtype, b.remat)
    levels = backbone.chosen(b.levels)
    settings.require_levels(
      tuple(level.stride for level in levels), c.data.image_size
    )
    names, noisy = self.dataset.class_names, d.kind == "diffusion"
    return Network(
      backbone,
      tuple(b.levels),
      Neck(d.channels),
      Denoiser(d.channels, d.blocks, d.kernel, noisy),
      Readouts(d.channels, len(names)),
      names,
      c.data.image_size,
      d.bits,
      c.sampler.steps,
      # Without noise all seeds say the same.
      c.sampler.seeds if noisy else 1,
      c.prototypes.temperature,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  @functools.cached_property
  def rows(self) -> labelled.Rows:
    """Which training images are labelled."""
    c = self.config
    seed = c.seed if c.data.split_seed < 0 else c.data.split_seed
    source = self.dataset.source("train")
    return labelled.rows(source, c.data.labelled, seed)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    b, wrong = self.config.backbone, jnp.float32(self.config.corruption.rate)
    state = self.network.init(key, bool(b.pretrained or b.weights))
    # In the state, so that runs of all shares are one program.
    return state.replace(buffers={"wrong": wrong})

  def stages(self) -> Iterator[Fit | Pass]:
    """Weights; A: labelled images; B: all of them; the teacher's weights."""
    c, train = self.config, self.stream("train")
    first = round(c.train.labelled * c.train.steps)
    if (c.backbone.pretrained or c.backbone.weights) and not c.init_from:
      yield Pass("weights", self.load_weights, train)
    if first:
      yield self._fit("labelled", self._labelled, first)
    yield Pass("teacher", self.teach, train)
    if c.train.steps - first:
      data = {"labelled": self._labelled, "unlabelled": self._unlabelled}
      yield self._fit("both", data, c.train.steps - first)
    yield Pass("average", self.average, train)

  def _fit(self, name: str, data: Any, count: int) -> Fit:
    loss = Objective(
      self.network, settings.of_loss(self.config), isinstance(data, Mapping)
    )
    return Fit(
      name,
      loss,
      data,
      self._optimizer(),
      steps(count),
      after_step=loss.follow if loss.both else None,
      optimizer_id="train",
    )

  @functools.cached_property
  def _labelled(self) -> stream_lib.Stream:
    return self.dataset.shuffled(
      self.config.data.augment,
      rows=self._enough(self.rows.labelled, "labelled"),
    )

  @functools.cached_property
  def _unlabelled(self) -> stream_lib.Stream:
    c = self.config
    return self._hidden.shuffled(
      order="unlabelled",
      rows=self._enough(self.rows.unlabelled, "unlabelled"),
      batch_size=c.unlabelled_batch_size,
      views={"weak": c.data.weak, "strong": c.data.strong},
    )

  @functools.cached_property
  def _hidden(self) -> Dataset:
    """The training images without their masks."""

    def opened(data: Any, split: str, seed: int) -> Source:
      del data, seed
      return Unlabelled(self.dataset.source(split))

    return image_data.dataset(self.config, self.dataset.class_names, opened)

  def _enough(self, rows: np.ndarray, name: str) -> np.ndarray:
    """The rows, as often as fills a batch: few labels are the case here."""
    c = self.config
    size = c.batch_size if name == "labelled" else c.unlabelled_batch_size
    return np.tile(rows, -(-size // len(rows)))

  def _optimizer(self) -> optax.GradientTransformation:
    """AdamW along a cosine over both stages, the gradient clipped."""
    c = self.config.train

    def rule(rate: float) -> optax.GradientTransformation:
      return optax.adamw(
        optax.cosine_decay_schedule(rate, max(c.steps, 1)),
        weight_decay=self.config.optimizer.weight_decay,
        mask=_decayed,
      )

    rules = {name: rule(c.rate) for name in _OWN}
    if c.backbone:
      rules["backbone"] = rule(c.rate * c.backbone)
    return grouped(rules, self.config.optimizer.clip_norm)

  # The sweeps between.

  def load_weights(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights of the backbone."""
    del data
    b = self.config.backbone
    return start.pretrained(state, self.network.backbone, b.name, b.weights), {}

  def teach(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The teacher starts as the network is."""
    del data
    teacher = {"params": state.params, "statistics": state.statistics}
    found = state.replace(memory={**state.memory, "teacher": teacher})
    return found, {
      "labelled": len(self.rows.labelled),
      "unlabelled": len(self.rows.unlabelled),
    }

  def average(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The teacher becomes the network, which answers from here on."""
    del data
    return state.replace(**state.memory["teacher"]), {}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes" of pixels and "disagreement" of cells."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """IoU, Dice, calibration and how far the seeds disagree."""
    found = judging.counts(self.network, state, self.stream(split))
    return judging.scores(found)

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, those of each class, pseudo-labels, and latent margins."""
    network = self.network
    found = judging.counts(network, state, self.stream("test"))
    rows = self.rows.unlabelled
    rule = settings.of_loss(self.config).rule
    return {
      "headline": "miou",
      **judging.scores(found),
      **judging.surfaces(network, state, self.stream("test")),
      **volume_answers.scores(
        network.answers, network.class_names, state, self.stream("test")
      ),
      "by_stage": {s["id"]: dict(s["metrics"]) for s in stages},
      "classes": judging.of_classes(network.class_names, found),
      "pseudo": judging.pseudo(
        network, rule, state, self.stream("train"), rows
      ),
      "margins": judging.margins(network, state, self.stream("test")),
    }


def _decayed(params: PyTree) -> PyTree:
  """Which arrays weight decay draws to 0."""

  def of(path: Any, leaf: Any) -> bool:
    del leaf
    return getattr(path[-1], "key", "") not in _NO_WEIGHTS

  return jax.tree_util.tree_map_with_path(of, params)

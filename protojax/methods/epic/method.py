"""EPIC: prototypes for a classifier that is trained already (2505.12897).

Borycki et al., AAAI 2026. Backbone and head do not change. A matrix U on the
channels between them is trained until the strongest patches of each channel
fire in no other. U^-1 goes into the head, so that no prediction changes. The
images that fire most in a channel are its prototypes.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

from jaxtyping import Float
from ml_collections import ConfigDict
import numpy as np

from protojax import backbones, parallel, ranges
from protojax.backbones import classifier
from protojax.backbones.backbone import Backbone
from protojax.data import stream as stream_lib
from protojax.data.resizing import Preprocessing
from protojax.data.source import Source, of_classes
from protojax.datasets import dataset
from protojax.datasets.dataset import Dataset
from protojax.engine import pretrain
from protojax.engine.cached import Cached
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, Pass, epochs
from protojax.explain import prototypical
from protojax.methods.base import NO_ASSETS, OF_NETWORK, Capabilities, splits
from protojax.methods.epic import (
  channels,
  editing,
  folding,
  losses,
  pairs,
  probe,
  rotation,
)
from protojax.methods.epic.network import RotatedNetwork
from protojax.prototypes import push, start
from protojax.prototypes.neighbours import Neighbours
from protojax.types import Array, Batch, Metrics, State, UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "probe.epochs": ranges.EPOCHS,
  "probe.rate": ranges.RATE,
  "probe.weight_decay": ranges.DECAY,
  "pretrain.epochs": ranges.EPOCHS,
  "pretrain.backbone": ranges.RATE,
  "pretrain.weight_decay": ranges.DECAY,
  "rotation.sweeps": ranges.COUNT,
  "rotation.inertia": ranges.WEIGHT,
  "rotation.pairs": ranges.COUNT,
  "rotation.shrinkage": ranges.WEIGHT,
  "rotation.epochs": ranges.COUNT,
  "rotation.rate": ranges.RATE,
  "rotation.weight_decay": ranges.DECAY,
  "rotation.rounds": ranges.whole(0, 100_000),
  "rotation.most": ranges.COUNT,
  "rotation.least": ranges.COUNT,
  "rotation.prototypes": ranges.COUNT,
}
HEADS = ("probe", "weights", "readout")


class Method:
  """EPIC as its config says; see `configs/epic_folder.py`."""

  capabilities = Capabilities(
    classifies=OF_NETWORK,
    explains=functools.partial(
      prototypical.Explainer, check=folding.require_same
    ),
    edits=editing.of_method,
  )
  assets = NO_ASSETS

  def __init__(
    self,
    config: ConfigDict,
    class_names: tuple[str, ...] | None = None,
    own: tuple[Backbone, classifier.Head] | None = None,
  ) -> None:
    """From a config; `own` replaces the backbone and head that it names."""
    ranges.require(config, _RANGES)
    _require(config)
    self.splits = splits(config.data.validation_fraction, patience=0)
    self.config = config
    self._own = own
    self.dataset = Dataset(
      config.data,
      config.seed,
      config.batch_size,
      class_names,
      self._open,
      of_weights=self._preprocessing,
    )
    self._class_names = class_names

  @functools.cached_property
  def _backbone(self) -> Backbone:
    b = self.config.backbone
    if self._own is not None:
      return self._own[0]
    return backbones.load(b.name, b.dtype, b.remat)

  def _preprocessing(self) -> Preprocessing:
    """How images were resized for the classifier's weights."""
    if self._own is not None:
      raise UserError(
        "--config.data.resize=weights: a classifier of your own does not say"
        " how its images are resized; choose squash, or aspect with"
        " resize_size and interpolation."
      )
    b = self.config.backbone
    return backbones.preprocessing(b.name, b.weights)

  @property
  def _brings_head(self) -> bool:
    """Whether a trained head is given; its classes may not be the data's."""
    return self._own is not None or self.config.head == "weights"

  @property
  def is_probe(self) -> bool:
    """Whether the head is a linear probe that is trained here."""
    return self.config.head == "probe" and self._own is None

  @property
  def _pretrained(self) -> bool:
    b = self.config.backbone
    return bool(self._own is not None or b.pretrained or b.weights)

  @functools.cached_property
  def _head(self) -> classifier.Head | None:
    """The head that is given or fixed; None if it is trained as a probe."""
    if self._own is not None:
      return self._own[1]
    b, head = self.config.backbone, self.config.head
    if head == "weights":
      return classifier.head(self._backbone, b.name, b.weights)
    if head == "readout":
      channels, count = self._backbone.channels, len(self.dataset.class_names)
      return classifier.Head(*pretrain.readout_head(channels, count))
    return None

  def _open(self, data: ConfigDict, split: str, seed: int) -> Source:
    """The images; without labels if these are not of the head's classes."""
    source = dataset.open_split(data, split, seed)
    if not self._brings_head:
      return source
    names = classifier.class_names(self._head, source.class_names)
    return of_classes(source, self._class_names or names)

  @functools.cached_property
  def network(self) -> RotatedNetwork:
    """The classifier with U between backbone and head."""
    c, backbone = self.config, self._backbone
    normed = self._brings_head and backbone.readout == "normed mean"
    return RotatedNetwork(
      backbone,
      c.data.image_size,
      self.dataset.class_names,
      normed,
      c.rotation.kind,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, without augmentation."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start with U = I."""
    c = self.config
    return self.network.init(
      key,
      max(c.rotation.most, c.rotation.least),
      generator=c.rotation.solver == "adam",
      blank_backbone=self._pretrained,
      remember="validation" in self.splits,
    )

  def stages(self) -> Iterator[Fit | Pass]:
    """The classifier; rounds on fewer and fewer images; the prototypes."""
    c = self.config
    train, ordered = self.dataset.shuffled(), self.stream("train")
    if c.pretrain.epochs:
      yield pretrain.pretraining(
        self.network.features,
        len(self.dataset.class_names),
        self.dataset.shuffled(c.data.augment),
        grouped(
          {"backbone": adam(c.pretrain.backbone, c.pretrain.weight_decay)}
        ),
        epochs(c.pretrain.epochs),
      )
    yield Pass("start", self.start, ordered)
    if self.is_probe:
      yield probe.probing(
        Cached(self.network.pooled_rows, after=self.maps),
        train,
        grouped({"head": adam(c.probe.rate, c.probe.weight_decay)}),
        epochs(c.probe.epochs),
        after_step=folding.with_head_as_classifier,
      )
    yield Pass("before", self.before, ordered)
    r = c.rotation
    if r.kind == "invertible" and r.solver == "procrustes":
      yield Pass("whiten", self.whiten, ordered)
    schedule = rotation.schedule(r.schedule, r.rounds, r.most, r.least)
    for number, images in enumerate(schedule):
      if r.solver == "procrustes":
        purify = functools.partial(self.purify, images=images)
        yield Pass("purify", purify, ordered)
        continue
      choose = functools.partial(self.choose, images=images)
      yield Pass("choose", choose, ordered)
      yield Fit(
        "purify",
        functools.partial(losses.loss, r.kind),
        pairs.stream(
          self.dataset,
          self._backbone.channels,
          images,
          r.pairs,
          order=f"pairs of round {number}",
        ),
        grouped({"rotation": adam(r.rate, r.weight_decay)}),
        epochs(r.epochs),
        cached=self.maps,
        optimizer_id="rotation",
        redraw=pairs.chosen,
      )
    yield Pass("prototypes", self.prototypes, ordered)

  # The sweeps.

  @functools.cached_property
  def maps(self) -> Cached:
    """Cached maps Z of the images, if they fit into memory."""
    network, size = self.network, self.config.batch_size
    return Cached(network.map_rows, network.frozen, batch_size=size)

  @functools.cached_property
  def _pooled(self) -> Cached:
    """Cached means of Z over the cells."""
    network = self.network
    return Cached(network.pooled_rows, network.frozen, after=self.maps)

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights, the head that is given, and U = I."""
    del data
    c, b = self.config, self.config.backbone
    if self._pretrained and not c.init_from:
      weights = b.weights if self._own is None else ""
      state = start.pretrained(state, self._backbone, b.name, weights)
    if self._head is not None:
      state = folding.with_head(state, self._head)
    return folding.folded(state, np.eye(self._backbone.channels)), {}

  def before(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Measures how pure the channels are without U."""
    purity = channels.purities(self._strongest(state, data))
    both = {"before": purity, "after": purity}
    state = state.replace(buffers={**state.buffers, "purity": both})
    return self._remembered(state), channels.spread(purity, "train_purity")

  def whiten(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """U removes what channels have in common, before it is rotated."""
    batches = self.maps.batches(state, data)
    state, condition = channels.whitened(
      self.network, state, batches, self.config.rotation.shrinkage
    )
    return self._remembered(state), {"condition": condition}

  def choose(
    self, state: State, data: stream_lib.Stream, images: int
  ) -> tuple[State, Metrics]:
    """Chooses for each channel the images that fire most in it."""
    most = state.buffers["chosen"].shape[1]
    if "rotation" in state.params:
      state = self._remembered(self._turned(state))
    batches = self._pooled.batches(state, data)
    chosen = channels.ranked(self.network, state, batches, most).copy()
    chosen[:, images:] = -1
    buffers = {**state.buffers, "chosen": chosen}
    return state.replace(buffers=buffers), {"images": images}

  def purify(
    self, state: State, data: stream_lib.Stream, images: int
  ) -> tuple[State, Metrics]:
    """Chooses images, and rotates U to the best one for their pixels."""
    purity = 0.0
    for _ in range(self.config.rotation.sweeps):
      state, _ = self.choose(state, data, images)
      chosen = state.buffers["chosen"]
      batches = self.maps.batches(state, data, np.unique(chosen[chosen >= 0]))
      state, purity = losses.procrustes(
        self.network, state, batches, self.config.rotation.inertia
      )
    return self._remembered(state), {"images": images, "chosen_purity": purity}

  def prototypes(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Finds each channel's prototypes; checks that no answer has changed.

    Raises:
      UserError: logits have changed by more than rounding.
    """
    state = self._remembered(self._turned(state))
    if "best" in state.buffers:
      state = folding.purest(state)
    moved = self._compared(state, data)["difference"].max()
    folding.require_same(state, float(moved))
    return channels.with_prototypes(self._strongest(state, data), state, data)

  def _turned(self, state: State) -> State:
    """The state with the U of its generator, if it has one."""
    if "rotation" not in state.params:
      return state
    generator = parallel.to_host(state.params["rotation"]["generator"])
    kind = self.config.rotation.kind
    return folding.folded(state, *rotation.exact(generator, kind))

  def _remembered(self, state: State) -> State:
    """The state, which remembers U if it is the purest on validation images."""
    if "best" not in state.buffers:
      return state
    found = self._strongest(state, self.stream("validation"))
    return folding.remember_purest(
      state, float(channels.purities(found).mean())
    )

  def _strongest(self, state: State, data: stream_lib.Stream) -> Neighbours:
    batches = self.maps.batches(state, data)
    count = self.config.rotation.prototypes
    return channels.strongest(self.network, state, batches, count)

  def _compared(
    self, state: State, data: stream_lib.Stream
  ) -> dict[str, Float[np.ndarray, " n"]]:
    batches = self.maps.batches(state, data)
    return channels.compared(self.network, state, batches)

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; each channel's similarity, cell, and points.

    Points are those of the predicted class: what the channel's mean adds to
    its logit. The paper's score is their positive part.
    """
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Metrics of the classifier, and the purity of its channels.

    `RotatedNetwork.compared` compares it with the classifier without U.
    """
    data = self.stream(split)
    return channels.figures(
      self._compared(state, data), self._strongest(state, data), data.labels
    )

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Purity before and after, on training images and on held-out ones."""
    return {
      "headline": "purity",
      "purity": channels.before_and_after(stages),
      **push.counts(state),
      "class_names": list(self.dataset.class_names),
    }


def _require(config: ConfigDict) -> None:
  """Refuses unknown settings, and settings that do not fit together."""
  if config.head not in HEADS:
    raise UserError(
      f"--config.head={config.head!r}: choose from {', '.join(HEADS)}."
    )
  r = config.rotation
  rotation.require_known(r.kind, r.solver, r.schedule)
  if config.head == "readout" and not config.pretrain.epochs:
    raise UserError(
      "--config.head=readout is the head of a backbone that is trained as a"
      " classifier first: set --config.pretrain.epochs, or --config.head=probe."
    )

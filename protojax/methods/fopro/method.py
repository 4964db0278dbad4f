"""FoPro: few clean images guide learning from many of the web.

Qin et al., AAAI 2023 (2212.00465). A few real images of each class place a
prototype; web images are drawn to it, and a learned relation of image and
prototype decides which of their labels are kept, changed or dropped. Three
stages: with all labels; the relation module alone; with cleaned labels.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from protojax import backbones, parallel
from protojax.data import stream as stream_lib
from protojax.datasets.dataset import Dataset
from protojax.engine.assets import Asset
from protojax.engine.optimizer import grouped
from protojax.engine.stage import Fit, Pass, epochs
from protojax.methods.base import OF_NETWORK, Capabilities, splits
from protojax.methods.fopro import (
  cleaning,
  cleaning_list,
  explanation,
  judging,
  settings,
  starting,
  verdicts,
  web,
)
from protojax.methods.fopro.network import Network
from protojax.methods.fopro.objective import Objective, Phase
from protojax.methods.fopro.plain import MixUp, Plain
from protojax.methods.fopro.verdicts import Rule, Verdicts
from protojax.types import Array, Batch, Metrics, State

VERDICTS = "verdicts"
_HEADS = "classifier", "projector", "reconstructor", "auxiliary", "relation"


class Method:
  """FoPro as its config says; see `configs/fopro_folder.py`."""

  capabilities = Capabilities(
    classifies=OF_NETWORK, explains=explanation.EXPLAINER
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, 0)
    b = config.backbone
    self.dataset = Dataset(
      config.data,
      config.seed,
      config.batch_size,
      class_names,
      web.open_split,
      functools.partial(backbones.preprocessing, b.name, b.weights),
    )

  @functools.cached_property
  def network(self) -> Network:
    """Encoder, heads and relation module."""
    return settings.network(self.config, self.dataset.class_names)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The verdicts on the training images, which a sweep gives."""

    def shapes() -> Any:
      return Verdicts.empty(len(self.dataset.source("train")))._asdict()

    return {VERDICTS: Asset(None, shapes)}

  @functools.cached_property
  def listed(self) -> web.Listed:
    """The training images, as they are or as a person has corrected them."""
    source, c = self.dataset.source("train"), self.config
    found = cleaning_list.listed(source, c.cleaning.corrected)
    if c.data.shots and self.dataset.stand_in is None:
      web.require_shots(source, web.trusted(source), c.data.shots)
    return found

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key, blank_backbone=self._has_weights)

  def stages(self) -> Iterator[Fit | Pass]:
    """Weights; the three stages, or a baseline; verdicts; mix-up."""
    c, train = self.config, self.stream("train")
    if self._has_weights and not c.init_from:
      yield Pass("weights", self.load_weights, train)
    if c.baseline:
      yield self._plain()
    else:
      yield from self._whole(train)
    yield Pass("verdicts", self.judge, train)
    if c.mixup.epochs:
      yield self._mixup()

  def _whole(self, train: stream_lib.Stream) -> Iterator[Fit | Pass]:
    s, mode = self.config.stages, self.config.cleaning.mode
    first = self._objective(cleaning.NOTHING, contrast=False)
    if s.frozen:
      yield self._fit("frozen", first, _HEADS, 0, s.frozen)
    groups = ("backbone", *_HEADS)
    shared = {"begin": s.frozen, "optimizer_id": "first"}
    if s.start:
      yield self._fit("start", first, groups, length=s.start, **shared)
    yield Pass("prototypes", self.make_prototypes, train)
    if s.contrast:
      second = self._objective(cleaning.NOTHING)
      yield self._fit("contrast", second, groups, length=s.contrast, **shared)
    if s.relate:
      yield self._relation_stage()
    if not s.clean:
      return
    last = self._objective(mode, relation=mode > cleaning.VOTE)
    begin = s.plan - s.clean
    late = min(max(self.config.optimizer.late - begin, 0), s.clean)
    shared = {"begin": begin, "optimizer_id": "last"}
    if late:
      yield self._fit("clean", last, groups, length=late, **shared)
    if s.clean - late:
      yield self._fit(
        "clean late", last, groups, length=s.clean - late, late=True, **shared
      )

  def _objective(
    self,
    mode: int,
    contrast: bool = True,
    relation: bool = False,
    alone: bool = False,
  ) -> Objective:
    steps = self._data.steps_per_epoch
    phase = Phase(mode, contrast, relation, alone, steps)
    return Objective(
      self.network, settings.settings(self.config), phase, self._class_weights
    )

  def _fit(
    self,
    name: str,
    loss: Objective,
    groups: Sequence[str],
    begin: int,
    length: int,
    late: bool = False,
    optimizer_id: str | None = None,
  ) -> Fit:
    rule = self._rates.rule(begin, late)
    return Fit(
      name,
      loss,
      self._data,
      grouped(dict.fromkeys(groups, rule)),
      epochs(length),
      after_step=loss.follow,
      optimizer_id=optimizer_id,
    )

  def _relation_stage(self) -> Fit:
    length = self.config.stages.relate
    loss = self._objective(cleaning.VOTE, relation=True, alone=True)
    rule = self._rates.of_relation(length)
    optimizer = grouped({"relation": rule})
    return Fit("relate", loss, self._data, optimizer, epochs(length))

  def _plain(self) -> Fit:
    c = self.config
    loss = Plain(self.network, c.plain.dropped * (c.baseline == "loss"))
    rates = settings.Rates(
      c.optimizer, c.plain.epochs, self._data.steps_per_epoch
    )
    return Fit(
      "plain",
      loss,
      self._shuffled(augment=c.data.weak),
      grouped(dict.fromkeys(("backbone", "classifier"), rates.rule(0))),
      epochs(c.plain.epochs),
    )

  def _mixup(self) -> Fit:
    """Trains classifier and encoder on the cleaned list."""
    m = self.config.mixup
    loss = MixUp(self.network, m.beta, m.probability, self._class_weights)
    rule = self._rates.of_mixup(m.rate, m.epochs)
    return Fit(
      "mixup",
      loss,
      self._pairs(np.ones(len(self.listed.labels)), self.listed.labels),
      grouped(dict.fromkeys(("backbone", "classifier"), rule)),
      epochs(m.epochs),
      redraw=self._cleaned_pairs,
    )

  # The images.

  @functools.cached_property
  def _data(self) -> stream_lib.Stream:
    """Both views of the training images."""
    c = self.config.data
    return self._shuffled(views={"weak": c.weak, "strong": c.strong})

  def _shuffled(self, **views: Any) -> stream_lib.Stream:
    rows = self.listed.rows
    return self.dataset.shuffled(
      rows=rows,
      labels=self.listed.labels,
      weights=self.listed.weights(self.config.data.rebalance),
      columns={"trusted": self.listed.trusted[rows]},
      **views,
    )

  def _pairs(
    self, weights: np.ndarray, labels: np.ndarray
  ) -> Mapping[str, stream_lib.Stream]:
    """Two streams in different orders."""
    shuffled = functools.partial(
      self.dataset.shuffled,
      self.config.data.weak,
      weights=weights,
      labels=labels,
    )
    return {name: shuffled(order=f"{name} of two") for name in _PAIR}

  def _cleaned_pairs(self, state: State, data: Any) -> Any:
    """The same of the images that were kept, with their new labels."""
    del data
    found = self.verdicts(state)
    kept = found.kept.copy()
    kept[np.setdiff1d(np.arange(len(kept)), self.listed.rows)] = False
    weights = kept.astype(float)
    if self.config.data.rebalance:
      weights = web.rebalancing(found.label, np.flatnonzero(kept))
    return self._pairs(weights, found.label)

  @functools.cached_property
  def _rates(self) -> settings.Rates:
    c = self.config
    steps = self._data.steps_per_epoch
    return settings.Rates(c.optimizer, c.stages.plan, steps)

  @functools.cached_property
  def _class_weights(self) -> np.ndarray:
    wanted = self.config.loss.class_weights
    given = web.class_weights(self.dataset.source("train"))
    classes = len(self.dataset.class_names)
    return settings.class_weights(given, wanted, classes)

  @property
  def _has_weights(self) -> bool:
    b = self.config.backbone
    return bool(b.pretrained or b.weights)

  # The sweeps between.

  def load_weights(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights in both encoders."""
    del data
    b = self.config.backbone
    return starting.with_weights(
      state, self.network.backbone, b.name, b.weights
    ), {}

  def make_prototypes(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """A prototype of each class: the mean of its few-shot images."""
    p, listed = self.config.prototypes, self.listed
    few = listed.trusted if p.start == "shots" else listed.trusted & False
    rows = listed.rows
    if p.start == "web":
      rows = rows[~listed.trusted[rows]]
    chosen = starting.chosen(listed.labels, few, rows, p.web, self.config.seed)
    found = starting.means(self.network, state, data, chosen, listed.labels)
    names = self.dataset.class_names
    if nothing := [names[k] for k in np.flatnonzero(~found.any(axis=1))]:
      parallel.say(
        f"note: no image to make a prototype of in {', '.join(nothing)}"
      )
    made = state.memory["prototypes"]._replace(vectors=found)
    return state.replace(memory={**state.memory, "prototypes": made}), {}

  @functools.cached_property
  def rule(self) -> Rule:
    """How verdicts are given: as in the last stage."""
    c = self.config
    asks = c.cleaning.mode or cleaning.BOTH
    if c.baseline or (asks > cleaning.VOTE and not c.stages.relate):
      asks = cleaning.VOTE
    return Rule(
      asks,
      c.loss.alpha,
      c.cleaning.threshold,
      c.loss.density,
      c.loss.temperature,
      not c.baseline,
    )

  def judge(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics, Mapping[str, Any]]:
    """Verdicts on all training images, and how good they are."""
    found = verdicts.swept(self.network, self.rule, state, data, self.listed)
    names = self.dataset.class_names
    for name in verdicts.emptied(found, self.listed, names):
      parallel.say(
        f"note: all web images of the class {name} are dropped; it keeps its"
        " prototype"
      )
    truth = web.truth(self.dataset.source("train"))
    metrics = verdicts.metrics(found, self.listed, truth)
    return state, metrics, {VERDICTS: found._asdict()}

  def verdicts(self, state: State) -> Verdicts:
    """The verdicts that a sweep has given."""
    tree = parallel.to_host(state.assets[VERDICTS])
    return Verdicts(**tree)

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; cosines and relations to the prototypes."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Accuracy on images of a split, and how near its classes are."""
    batches = self.stream(split).batches()
    return judging.evaluate(self.network, state, batches)

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Figures of the verdicts, and the domain gap."""
    del state
    judged = [s for s in stages if s["id"].endswith(f"-{VERDICTS}")]
    told = {k: v for k, v in judged[-1]["metrics"].items() if k in _TOLD}
    last = stages[-1]
    if "validation" in last:
      apart = last["validation"]["accuracy"] - last["metrics"]["accuracy"]
      told["domain_gap"] = apart
    return {"headline": "accuracy", **told}


_PAIR = "first", "second"
_TOLD = (
  "dropped",
  "relabelled",
  "noise_auroc",
  "noise_auroc_loss",
  "noise_precision",
  "noise_recall",
  "relabel_accuracy",
  "recovered",
)

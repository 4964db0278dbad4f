"""NeuroGaze-Distill (Li et al., 2509.11916): prototypes from another sense.

A teacher on measurements, such as maps of an EEG, gives one prototype for each
cell of a grid over valence and arousal. An image classifier is trained with
them frozen. Nothing pairs a measurement with an image, and an answer needs the
image alone. The paper's authors have published no code: docs/neurogaze_distill
tells what is theirs and what is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones, parallel, ranges
from protojax.data.stream import Stream, ordered
from protojax.engine.assets import Asset
from protojax.engine.optimizer import grouped, warmup_cosine
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.methods import image_data
from protojax.methods.base import OF_NETWORK, Capabilities
from protojax.methods.neurogaze_distill import (
  anchors,
  bank_asset,
  data_card,
  explanation,
  grid_bank,
  losses,
  modality,
  outside,
)
from protojax.methods.neurogaze_distill import distillation as distil
from protojax.methods.neurogaze_distill import teacher as teachers
from protojax.methods.neurogaze_distill.bank_asset import BANK
from protojax.methods.neurogaze_distill.faces import nearest_images
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.methods.neurogaze_distill.network import (
  TEACHER,
  Classifier,
  Network,
)
from protojax.methods.neurogaze_distill.settings import RANGES, require_known
from protojax.types import Array, Batch, Metrics, PyTree, State


class Method:
  """NeuroGaze-Distill; see `configs/neurogaze_distill_ferplus.py`."""

  capabilities = Capabilities(
    classifies=OF_NETWORK, explains=explanation.EXPLAINER
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    ranges.require(config, RANGES)
    self.splits = require_known(config)
    self.config = config
    c = config
    self.weights = losses.weights_of_arm(
      c.arm, c.kd_mse.weight, c.proto_kd.weight, c.d_geo.weight
    )
    self.dataset = image_data.dataset(config, class_names)
    self.modality = modality.Modality(c.modality, c.seed)
    self.grid = Grid(
      *(c.bank.rows, c.bank.columns),
      *map(tuple, (c.bank.low, c.bank.high, c.bank.axes)),
    )

  # What an arm needs.

  @property
  def banked(self) -> bool:
    """Whether the run has a bank: L_proto needs it, and KD may."""
    of_bank = self.config.kd_mse.source == "prototype"
    return bool(self.weights["proto"] or (self.weights["kd"] and of_bank))

  @property
  def mapped(self) -> bool:
    """Whether images have a place on the grid: L_proto trains a projection."""
    return bool(self.weights["proto"])

  @property
  def built(self) -> bool:
    """Whether the run builds its bank itself, and reads none."""
    return self.banked and not self.config.teacher_prototypes

  @property
  def taught(self) -> bool:
    """Whether an image teacher is trained."""
    of_image = self.config.kd_mse.source == "image"
    return bool(self.weights["kd"] and of_image)

  @functools.cached_property
  def network(self) -> Network:
    """The student, and its image teacher."""
    c, names = self.config, self.dataset.class_names

    def classifier(b: Any) -> Classifier:
      backbone = backbones.load(b.name, b.dtype, b.remat)
      return Classifier(backbone, len(names), c.data.image_size)

    return Network(
      classifier(c.backbone),
      classifier(c.image_teacher) if self.taught else None,
      c.bank.channels,
      names,
      self.grid.names,
    )

  @functools.cached_property
  def teacher(self) -> teachers.Teacher | None:
    """The teacher on measurements; None if their values are features."""
    c, m = self.config.teacher, self.config.modality
    if not c.epochs:
      return None
    net = teachers.TeacherNet(tuple(c.widths), self.config.bank.channels)
    return teachers.Teacher(net, m.size, m.channels, self.grid)

  def stream(self, split: str) -> Stream:
    """The images of a split in source order, without augmentation."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    c, keys = self.config, jax.random.split(key)
    k = len(self.dataset.class_names)
    params, statistics = self.network.init(
      keys[0],
      bool(c.backbone.pretrained or c.backbone.weights),
      bool(c.image_teacher.pretrained or c.image_teacher.weights),
    )
    if self.built and self.teacher is not None:
      params[modality.GROUP] = self.teacher.init(keys[1])
    buffers: dict[str, PyTree] = {
      "class_weights": jnp.ones(k),
      "positive": jnp.zeros(k),
    }
    if self.mapped:
      shape = len(self.grid), c.bank.nearest
      buffers["faces"] = jnp.full(shape, -1, jnp.int32)
      buffers["face_cosines"] = jnp.zeros(shape)
    width = self.network.student.backbone.channels
    memory = {"means": jnp.zeros((k, width)), "seen": jnp.zeros(k, bool)}
    return State(params, statistics, buffers, memory)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The bank, which is never trained: read from a file, or built once."""
    if not self.banked:
      return {}
    file = self.config.teacher_prototypes
    return {
      BANK: Asset(
        self._read if file else None, self._bank_shapes, kept=bool(file)
      )
    }

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; teacher; bank; image teacher; student; nearest images."""
    train = self.stream("train")
    self.modality.planned = self.dataset.stand_in is not None
    yield Pass("start", self.start, train)
    if self.built:
      if self.teacher is not None:
        yield self._teacher_stage(self.teacher)
      yield Pass("bank", self.build_bank, self.modality.banked())
    if self.taught:
      yield self._image_teacher_stage()
    yield self._student_stage()
    if self.mapped:
      yield Pass("nearest images", self.find_images, train)

  def _teacher_stage(self, teacher: teachers.Teacher) -> Fit:
    c, data = self.config.teacher, self.modality.shuffled()
    rule = optax.adamw(c.rate, weight_decay=c.weight_decay)
    return Fit(
      "teacher",
      functools.partial(distil.teacher_loss, teacher, c.loss),
      data,
      grouped({modality.GROUP: rule}),
      epochs(c.epochs),
      patience=c.patience,
      monitor=("teacher_error", "min"),
    )

  def _image_teacher_stage(self) -> Fit:
    c = self.config.image_teacher
    data = self.dataset.shuffled(self.config.data.augment)
    rule = self._rule(c.rate, c.epochs * data.steps_per_epoch)
    return Fit(
      "image teacher",
      functools.partial(
        distil.image_teacher_loss, self.network, self.config.ce.label_smoothing
      ),
      data,
      grouped({TEACHER: rule}, self.config.optim.clip_norm),
      epochs(c.epochs),
    )

  def _student_stage(self) -> Fit:
    c = self.config.optim
    data = self.dataset.shuffled(self.config.data.augment)
    steps = data.steps_per_epoch
    groups = ["backbone", "head"]
    if self.mapped:
      groups.append("projection")
    rule = self._rule(c.rate, c.epochs * steps)
    return Fit(
      "student",
      functools.partial(self.loss, steps),
      data,
      grouped(dict.fromkeys(groups, rule), c.clip_norm),
      epochs(c.epochs),
      patience=c.patience,
      monitor=("macro_f1", "max"),
    )

  def _rule(self, rate: float, steps: int) -> optax.GradientTransformation:
    c = self.config.optim
    schedule = warmup_cosine(rate, c.warmup, steps)
    return optax.adamw(schedule, weight_decay=c.weight_decay)

  def loss(
    self, steps: int, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """L_CE + KD + L_proto + D-Geo (section 4).

    Args:
      steps: of an epoch, for the ramp.
      params, state, batch, now: see `Loss`.
    """
    c, weights, labels = self.config, self.weights, batch["label"]
    pooled, statistics = self.network.pooled(
      params, state.statistics, batch["image"], train=True
    )
    logits = self.network.student.logits(params, pooled)
    count = len(labels)
    smoothing = c.ce.label_smoothing
    terms = {
      "cross_entropy": distil.cross_entropy(state, logits, labels, smoothing)
    }
    if weights["kd"]:
      wanted = self._teacher_logits(state, batch)
      kd = losses.kd_mse if c.kd_mse.form == "mse" else losses.kd_kl
      values = kd(logits, wanted, c.kd_mse.temperature)
      terms["kd"] = Term(jnp.sum(values), count, weights["kd"])
    if weights["proto"]:
      values = distil.proto_terms(
        self.network.raw(params, pooled),
        state.assets[BANK],
        labels,
        c.proto_kd.mode,
        c.proto_kd.tau,
        c.proto_kd.temperature,
      )
      terms["proto"] = Term(jnp.sum(values), count, weights["proto"])
    metrics, memory = distil.accuracy(logits, labels), None
    if weights["geo"]:
      geometry, memory = distil.geometry(
        pooled, labels, state, c.d_geo.hard_gate, c.d_geo.margin, c.d_geo.decay
      )
      spread = geometry.spread if c.d_geo.intra_class else 0.0
      ramp = distil.ramp(c.d_geo, now.step / steps)
      terms["geo"] = of_whole_batch(
        spread + geometry.margin, weights["geo"] * ramp
      )
      metrics["positive_variance"] = of_whole_batch(geometry.variance)
    return terms, Aux(statistics, memory, metrics)

  def _teacher_logits(self, state: State, batch: Batch) -> Array:
    if self.taught:
      return self.network.teacher_logits(state, batch["image"])
    table = jnp.asarray(state.assets[BANK]["class_logits"])
    return self.config.kd_mse.scale * table[batch["label"]]

  # The sweeps between the stages of gradient descent.

  def start(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Says what the model is not for; weights, places and positive classes."""
    c, names = self.config, self.dataset.class_names
    parallel.say(data_card.TEXT)
    if self.built and (note := self.modality.note):
      parallel.say(note)
    if self.banked:
      self._anchors()  # Refused before anything is trained.
    if not c.init_from:
      state = distil.pretrained(
        state, self.network, c.backbone, c.image_teacher
      )
    counts = np.bincount(data.labels, minlength=len(names))
    buffers = {
      **state.buffers,
      "class_weights": distil.weights_of_classes(c.ce.class_weights, counts),
      "positive": distil.positive(
        c.d_geo.positive_classes if self.weights["geo"] else (), names
      ),
    }
    return state.replace(buffers=buffers), {}

  def build_bank(
    self, state: State, data: Stream
  ) -> tuple[State, Metrics, Mapping[str, PyTree]]:
    """The bank from measurements of subjects that no stage has seen."""
    c = self.config.bank
    made, metrics = modality.bank(
      self.teacher, state, data, self.grid, c.center
    )
    modality.require_width(made, c.channels)
    found = grid_bank.CONTROLS[c.control](made, self.config.seed)
    tree = self._tree(found)
    floor = losses.kl_floor(found, tree["targets"], self.config.proto_kd.tau)
    facts = {"kl_floor": float(floor.mean()), **grid_bank.facts(found)}
    return state, {**metrics, **facts}, {BANK: tree}

  def find_images(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """The training images that are most similar to each prototype."""
    rows, cosines = nearest_images(
      self.network, state, data, self.config.bank.nearest
    )
    buffers = {**state.buffers, "faces": rows, "face_cosines": cosines}
    return state.replace(buffers=buffers), {}

  def _anchors(self) -> np.ndarray:
    return anchors.of_classes(
      self.dataset.class_names,
      self.config.anchors,
      self.dataset.source("train"),
    )

  def _read(self) -> dict[str, Any]:
    c = self.config
    bank = grid_bank.read(c.teacher_prototypes, self.grid, c.bank.channels)
    return self._tree(grid_bank.CONTROLS[c.bank.control](bank, c.seed))

  def _tree(self, bank: grid_bank.GridBank) -> dict[str, Any]:
    return bank_asset.tree(bank, self._anchors(), self.config.proto_kd)

  def _bank_shapes(self) -> dict[str, Any]:
    return bank_asset.shapes(
      len(self.grid), self.config.bank.channels, len(self.dataset.class_names)
    )

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits and probabilities; reads no prototype."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Accuracy, macro F1 and balanced accuracy, of all and present classes."""
    found = outside.figures(
      outside.scored(self.network, state, self.stream(split))
    )
    patience = self.config.teacher.patience
    if split == "validation" and patience and self.built and self.teacher:
      data = self.modality.stopping()
      found["teacher_error"] = modality.error(self.teacher, state, data)
    return found

  def external(self) -> dict[str, Stream]:
    """The other data sets that the student is scored on, by name."""
    c, found = (
      self.config,
      outside.sources(self.config, self.dataset.class_names),
    )
    return {
      name: ordered(
        source, c.data.image_size, c.batch_size, resizing=self.dataset.resizing
      )
      for name, source in found.items()
    }

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Scores of the test images and of other data sets; facts of the bank."""
    del stages
    found = outside.summary(self, state)
    if (bank := bank_asset.of_run(state)) is not None:
      facts = grid_bank.facts(bank)
      found["bank"] = {**facts, "prototypes_sha256": bank.digest()}
    return found

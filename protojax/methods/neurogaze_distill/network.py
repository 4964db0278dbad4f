"""The student and its image teacher: image -> features -> logits.

A student answers by its head alone. A projection brings its features to the
space of the bank, for two of the losses and for explanations; an answer needs
neither it nor the bank (section 6).
"""

from collections.abc import Mapping
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num

from protojax.backbones.backbone import Backbone
from protojax.methods.neurogaze_distill.bank_asset import BANK
from protojax.methods.neurogaze_distill.grid_bank import GridBank
from protojax.prototypes import distance, forward
from protojax.prototypes import similarity as similarity_lib
from protojax.prototypes.bank import Bank
from protojax.prototypes.groups import Groups
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# The group of the image teacher in parameters and statistics.
TEACHER = "image_teacher"
CELL = "cell"


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Backbone -> mean over the map -> linear head.

  Attributes:
    backbone: image -> features.
    classes: k.
    image_size: pixels on a side.
  """

  backbone: Backbone
  classes: int
  image_size: int

  def init(self, key: Array, blank: bool) -> tuple[PyTree, PyTree]:
    """Parameters "backbone" and "head", and statistics of the backbone."""
    keys = jax.random.split(key)
    found = self.backbone.init(keys[0], self.image_size, blank)
    width = self.backbone.channels
    kernel = jax.random.normal(keys[1], (width, self.classes)) / width**0.5
    head = {"kernel": kernel, "bias": jnp.zeros(self.classes)}
    return {"backbone": found.pop("params"), "head": head}, found

  def pooled(
    self, params: PyTree, statistics: PyTree, images: ArrayLike, train: bool
  ) -> tuple[Float[Array, "b e"], PyTree]:
    """Features of images, and the statistics after them."""
    maps, moved = self.backbone.features(
      params["backbone"], statistics, images, train
    )
    return jnp.mean(maps, axis=(1, 2)), moved

  def logits(
    self, params: PyTree, pooled: Float[ArrayLike, "b e"]
  ) -> Float[Array, "b k"]:
    """Logits of the classes."""
    head = params["head"]
    points = jnp.matmul(pooled, head["kernel"], precision=distance.PRECISION)
    return points + head["bias"][None]


@dataclasses.dataclass(frozen=True)
class Network:
  """The student, and the image teacher if there is one.

  Attributes:
    student: the classifier that answers.
    teacher: the one that it is distilled from; None without.
    channels: of the bank, Dt.
    class_names: in the order of the logits.
    cell_names: of the cells of the grid.
  """

  student: Classifier
  teacher: Classifier | None
  channels: int
  class_names: tuple[str, ...]
  cell_names: tuple[str, ...]

  def init(
    self, key: Array, blank: bool = False, blank_teacher: bool = False
  ) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Parameters and statistics by group.

    Args:
      key: of the randomness.
      blank, blank_teacher: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 3)
    params, statistics = self.student.init(keys[0], blank)
    width = self.student.backbone.channels
    drawn = jax.random.normal(keys[1], (width, self.channels))
    params = {**params, "projection": {"kernel": drawn / width**0.5}}
    found = {"backbone": statistics}
    if self.teacher is not None:
      params[TEACHER], found[TEACHER] = self.teacher.init(
        keys[2], blank_teacher
      )
    return params, found

  def pooled(
    self, params: PyTree, statistics: PyTree, images: ArrayLike, train: bool
  ) -> tuple[Float[Array, "b e"], PyTree]:
    """Features of the student, and all statistics after them."""
    found, moved = self.student.pooled(
      params, statistics["backbone"], images, train
    )
    return found, {**statistics, "backbone": moved}

  def teacher_logits(
    self, state: State, images: ArrayLike
  ) -> Float[Array, "b k"]:
    """Logits of the image teacher; no gradient goes through them."""
    assert self.teacher is not None
    params, statistics = jax.lax.stop_gradient(
      (state.params[TEACHER], state.statistics[TEACHER])
    )
    pooled, _ = self.teacher.pooled(params, statistics, images, train=False)
    return jax.lax.stop_gradient(self.teacher.logits(params, pooled))

  def raw(
    self, params: PyTree, pooled: Float[ArrayLike, "b e"]
  ) -> Float[Array, "b d"]:
    """Features in the space of the bank, of any length."""
    return jnp.matmul(
      pooled, params["projection"]["kernel"], precision=distance.PRECISION
    )

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits and probabilities; no prototype is read."""
    pooled, _ = self.pooled(
      state.params, state.statistics, batch["image"], train=False
    )
    logits = self.student.logits(state.params, pooled)
    return {"logits": logits, "probabilities": jax.nn.softmax(logits)}

  # For explanations: an image is one place, its projected feature.

  @property
  def groups(self) -> Groups:
    """Each prototype is a cell of the grid."""
    return Groups(CELL, self.cell_names)

  @property
  def similarity(self) -> Similarity:
    """The cosine."""
    return similarity_lib.load("cosine")

  def bank(self, state: State) -> Bank:
    """The frozen prototypes, an asset of the run."""
    names = GridBank._fields
    return GridBank(*(state.assets[BANK][n] for n in names)).as_bank()

  def embed(
    self, state: State, images: Num[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b 1 1 d"]:
    """Images -> features that the prototypes are compared with."""
    pooled, _ = self.pooled(state.params, state.statistics, images, train=False)
    unit = distance.direction(self.raw(state.params, pooled))
    return unit[:, None, None]

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b 1 1 d"]
  ) -> tuple[Float[Array, "b p"], Int[Array, "b p"]]:
    """Cosine to each prototype; the place is the whole image, cell 0."""
    return forward.nearest(self.bank(state), embedded, self.similarity)

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b 1 1 d"],
    place: Int[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Cosine to each prototype."""
    return forward.at(self.bank(state), embedded, place, self.similarity)

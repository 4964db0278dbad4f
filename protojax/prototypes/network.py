"""The network of a prototype classifier: image -> scores -> logits.

Backbone, add-on, prototypes and head in one place, so that loss, push, pruning
and explanations use the same forward pass.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num

from protojax.backbones.backbone import Backbone
from protojax.prototypes import forward, head, pooling
from protojax.prototypes.bank import Bank, bank_buffers, bank_of
from protojax.prototypes.groups import CLASS, Groups, Note
from protojax.prototypes.layer import Layer
from protojax.prototypes.placement import LOCAL, Local, Sharded
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError


@struct.dataclass
class Activations:
  """The results of a forward pass; jit drops those that a caller ignores.

  Attributes:
    distances: to the nearest patch of each image, [b p].
    cells: row-major index of that patch, [b p].
    scores: its similarity, [b p].
    logits: weighted sums of the scores, [b k].
  """

  # Any: tree transformations store shapes and stacked arrays here.
  distances: Any
  cells: Any
  scores: Any
  logits: Any


@dataclasses.dataclass(frozen=True)
class Network:
  """Backbone -> add-on -> prototypes -> head (ProtoPNet, figure 2).

  Attributes:
    backbone: image -> features.
    add_on: features -> the features that prototypes are compared with.
    layer: the prototypes, with their similarity.
    image_size: pixels on a side.
    class_names: in the order of the logits.
    describe: (network, state) -> notes on each prototype; hashable.
    head_kind: form of the head's weights, one of `head.KINDS`.
    placement: whether a device holds all prototypes or a shard of them; see
      `over`.
    branches: n; the prototypes are n equal blocks, each with logits of its own,
      which are added.
  """

  backbone: Backbone
  add_on: nn.Module
  layer: Layer
  image_size: int
  class_names: tuple[str, ...]
  describe: Callable[..., Sequence[Mapping[str, Note]]] | None = None
  head_kind: str = "dense"
  placement: Local | Sharded = LOCAL
  branches: int = 1

  def init(
    self,
    key: Array,
    class_of: Int[ArrayLike, " p"],
    blank_backbone: bool = False,
  ) -> State:
    """Random weights, prototypes uniform in (0, 1), the head at +1 / -0.5.

    Args:
      key: of the randomness.
      class_of: the class of each prototype.
      blank_backbone: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 3)
    size, channels = self.image_size, self.backbone.channels
    backbone = self.backbone.init(keys[0], size, blank_backbone)
    patch = (1, self.layer.height, self.layer.width)
    add_on = self.add_on.init(keys[1], jnp.zeros((*patch, channels)))
    layer = self.layer.init(keys[2], jnp.zeros((*patch, self.layer.channels)))
    return State(
      params={
        "backbone": backbone.pop("params"),
        "add_on": add_on["params"],
        "prototypes": layer["params"],
        "head": head.initial(self.head_kind, class_of, len(self.class_names)),
      },
      statistics={
        "backbone": backbone,
        "shift": jnp.zeros(channels),
        "scale": jnp.ones(channels),
      },
      buffers=bank_buffers(class_of),
    )

  def over(self, devices: int) -> "Network":
    """The network of one device, with the prototypes sharded over all devices.

    Its `forward` takes the images of the device and gives their logits.
    Distances, cells and scores are of the images of all devices and of the
    device's own prototypes.

    Raises:
      UserError: the prototypes do not divide over the devices.
    """
    count = self.layer.count
    if count % devices:
      raise UserError(
        f"prototypes.sharded: {count} prototypes do not divide over"
        f" {devices} devices; choose another --config.prototypes.per_class, or"
        " leave --config.prototypes.sharded out."
      )
    layer = self.layer.clone(count=count // devices)
    return dataclasses.replace(self, layer=layer, placement=Sharded())

  @property
  def similarity(self) -> Similarity:
    """The metric, and its map from distances to similarities."""
    return self.layer.similarity

  @property
  def groups(self) -> Groups:
    """Prototypes are sorted by class."""
    return Groups(CLASS, self.class_names)

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells a prototype is compared with."""
    rows, columns = self.backbone.grid(self.image_size)
    return rows - self.layer.height + 1, columns - self.layer.width + 1

  def bank(self, state: State) -> Bank:
    """The prototypes of a state; with a sharded bank, of the device."""
    return bank_of(state)

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Array, PyTree]:
    """Features of the backbone, and the statistics: `forward.features`."""
    return forward.features(self.backbone, params, statistics, images, train)

  def embedded(
    self, params: PyTree, statistics: PyTree, features: Array
  ) -> Float[Array, "b h w d"]:
    """Output of the add-on, which the prototypes are compared with."""
    shift, scale = statistics["shift"], statistics["scale"]
    return forward.applied(
      self.add_on, params["add_on"], features, shift, scale
    )

  def forward(
    self, params: PyTree, state: State, batch: Batch, train: bool = False
  ) -> tuple[Activations, PyTree]:
    """One forward pass, from images or from their cached rows.

    Args:
      params: `state.params`, or parameters that a gradient is taken of.
      state: its statistics and buffers are read.
      batch: "image", or in its place "features", "embedded", or "distances"
        and "cells".
      train: BatchNorm uses the batch, and its running averages move.

    Returns:
      The activations and the statistics.
    """
    statistics = state.statistics
    if "distances" in batch:
      near = pooling.Nearest(batch["distances"], batch["cells"])
    else:
      z = batch.get("embedded")
      if z is None:
        features = batch.get("features")
        if features is None:
          features, statistics = self.features(
            params, statistics, batch["image"], train
          )
        z = self.embedded(params, statistics, features)
      z = self.placement.meet(z)
      near = forward.applied(self.layer, params["prototypes"], z)
    scores = self.similarity.activation(near.distances)
    bank = self.bank(state)
    logits = self.placement.logits(
      self._head(params).logits(scores, bank.class_of, bank.alive)
    )
    return Activations(near.distances, near.cells, scores, logits), statistics

  def answers(self, state: State, batch: Batch) -> dict[str, Array]:
    """Logits, probabilities; each prototype's similarity, cell, and points.

    Points are those of the predicted class.
    """
    found, _ = self.forward(state.params, state, batch)
    answer = jnp.argmax(found.logits, axis=1)
    bank = self.bank(state)
    weights = self._head(state.params).toward(answer, bank.class_of, bank.alive)
    return forward.answers(
      found.logits, found.scores * weights, found.scores, found.cells
    )

  # Cached rows of stages, and functions that sweeps and explanations call.

  def backbone_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains add-on, prototypes or head."""
    return {"features": self.backbone_map(state, batch)}

  def backbone_part(self, state: State) -> PyTree:
    """Parameters and statistics that `backbone_rows` depend on."""
    return state.params["backbone"], state.statistics["backbone"]

  def embedded_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains prototypes or head."""
    return {"embedded": self.embedded_map(state, batch)}

  def distance_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains the head alone."""
    found, _ = self.forward(state.params, state, batch)
    return {"distances": found.distances, "cells": found.cells}

  def score_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Scores [b p] that the head multiplies by its weights."""
    found, _ = self.forward(state.params, state, batch)
    return {"scores": found.scores}

  def backbone_map(self, state: State, batch: Batch) -> Float[Array, "b h w c"]:
    """Features of the backbone, in the batch or computed from its images."""
    if "features" in batch:
      return batch["features"]
    features, _ = self.features(state.params, state.statistics, batch["image"])
    return features

  def embedded_map(self, state: State, batch: Batch) -> Float[Array, "b h w d"]:
    """Features of a batch that the prototypes are compared with."""
    features = self.backbone_map(state, batch)
    return self.embedded(state.params, state.statistics, features)

  def embed(
    self, state: State, images: Num[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w d"]:
    """Image -> the features that prototypes are compared with."""
    return self.embedded_map(state, {"image": images})

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[Array, "b p"], Int[Array, "b p"]]:
    """Similarity of each prototype's nearest patch, and its cell."""
    near = forward.applied(self.layer, state.params["prototypes"], embedded)
    return self.similarity.activation(near.distances), near.cells

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    place: Int[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Similarity of each prototype to the patch at a given cell."""
    return forward.at(self.bank(state), embedded, place, self.similarity)

  def maps(
    self,
    state: State,
    images: Num[ArrayLike, "b H W 3"],
    prototypes: Int[ArrayLike, " q"],
  ) -> Float[Array, "b h w q"]:
    """Whole similarity maps of a few prototypes, for pictures."""
    chosen = self.bank(state).vectors[prototypes]
    return self.similarity.activation(
      self.similarity.distance(self.embed(state, images), chosen)
    )

  def scores(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    similarity: Float[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Scores that the head multiplies by its weights: the similarities."""
    del state, embedded
    return jnp.asarray(similarity)

  def weights(self, state: State) -> Float[Array, "k p"]:
    """The head's weights, K x P of them; those of dead prototypes are 0."""
    bank = self.bank(state)
    return self._head(state.params).weights(bank.class_of, bank.alive)

  def off_class(self, params: PyTree, state: State) -> head.OffClass:
    """The weights of the head whose L1 norm is a term of the loss."""
    bank = self.bank(state)
    return self._head(params).off_class(bank.class_of, bank.alive)

  def bias(self, state: State) -> Float[Array, " k"]:
    """Zeros: the head has no bias."""
    del state
    return jnp.zeros(len(self.class_names))

  def notes(self, state: State) -> Sequence[Mapping[str, Note]]:
    """Further facts about each prototype; none without `describe`."""
    if self.describe is not None:
      return self.describe(self, state)
    return ({},) * len(self.bank(state).alive)

  def _head(self, params: PyTree) -> head.Dense | head.ClassBlock:
    return head.load(params["head"], len(self.class_names))

"""The network of a concept model: image -> concept prototypes -> logits.

Backbone, concept head, projector, prototypes and task head in one place, so
that every stage, the atlas, interventions and explanations use the same
forward pass (CSR, section 3).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num
import numpy as np

from protojax.backbones.backbone import Backbone
from protojax.methods.csr import concept_layers, interventions
from protojax.methods.csr.concept_layers import ConceptHead, Projector
from protojax.prototypes import distance, forward
from protojax.prototypes import similarity as similarity_lib
from protojax.prototypes.bank import (
  Bank,
  bank_buffers,
  bank_of,
  bank_params,
  vectors,
)
from protojax.prototypes.groups import Groups, Note
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Batch, PyTree, State

CONCEPT = "concept"
# Kinds of scores for a rejected concept.
REJECTIONS = ("zero", "absent_mean")


@dataclasses.dataclass(frozen=True)
class ConceptNetwork:
  """Backbone -> concept head, projector -> prototypes -> task head.

  Prototype j belongs to concept j // per_concept.

  Attributes:
    backbone: image -> features.
    projector: features -> directions that prototypes are compared with.
    per_concept: prototypes of each concept, M.
    image_size: pixels on a side.
    class_names: in the order of the logits.
    concept_names: in the order of the concepts' scores.
    reject: scores of a rejected concept: "zero", or "absent_mean", their means
      over training images without the concept.
  """

  backbone: Backbone
  projector: Projector
  per_concept: int
  image_size: int
  class_names: tuple[str, ...]
  concept_names: tuple[str, ...]
  reject: str = "zero"

  def init(self, key: Array, blank_backbone: bool = False) -> State:
    """Random weights, prototypes normal (section 3), the task head at 0.

    Args:
      key: of the randomness.
      blank_backbone: zeros for a backbone whose weights will be loaded.
    """
    keys = jax.random.split(key, 4)
    channels, width = self.backbone.channels, self.projector.channels
    backbone = self.backbone.init(keys[0], self.image_size, blank_backbone)
    cell = jnp.zeros((1, 1, 1, channels))
    head = self._concept_head.init(keys[1], cell)
    projector = self.projector.init(keys[2], cell)
    count = self.per_concept * len(self.concept_names)
    prototypes = jax.random.normal(keys[3], (count, 1, 1, width))
    classes = len(self.class_names)
    return State(
      params={
        "backbone": backbone.pop("params"),
        "concepts": head["params"],
        "projector": projector["params"],
        "prototypes": bank_params(prototypes),
        "head": {
          "weight": jnp.zeros((classes, count)),
          "bias": jnp.zeros(classes),
        },
      },
      statistics={
        "backbone": backbone,
        "shift": jnp.zeros(channels),
        "scale": jnp.ones(channels),
      },
      buffers={
        **bank_buffers(jnp.arange(count) // self.per_concept),
        "vectors": jnp.zeros(count, jnp.int32),
        "absent": jnp.zeros(count),
      },
    )

  @property
  def _concept_head(self) -> ConceptHead:
    return ConceptHead(len(self.concept_names))

  @property
  def similarity(self) -> Similarity:
    """The cosine."""
    return similarity_lib.load("cosine")

  @property
  def groups(self) -> Groups:
    """Prototypes are sorted by concept."""
    return Groups(CONCEPT, self.concept_names)

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    return self.backbone.grid(self.image_size)

  def bank(self, state: State) -> Bank:
    """The prototypes of a state, concept by concept."""
    return bank_of(state)

  # The forward path, in the order of its steps.

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Float[Array, "b h w e"], PyTree]:
    """Standardised features, and the statistics after them."""
    features, moved = forward.features(
      self.backbone, params, statistics, images, train
    )
    features = jnp.asarray(features, jnp.float32)
    shift = statistics["shift"][None, None, None]
    scale = statistics["scale"][None, None, None]
    return (features - shift) * scale, moved

  def concept_maps(
    self, params: PyTree, features: Float[ArrayLike, "b h w e"]
  ) -> Float[Array, "b h w c"]:
    """Maps of the concept head: where it finds each concept."""
    return forward.applied(self._concept_head, params["concepts"], features)

  def concept_logits(
    self, params: PyTree, features: Float[ArrayLike, "b h w e"]
  ) -> Float[Array, "b c"]:
    """Logit of each concept: the mean of its map."""
    return jnp.mean(self.concept_maps(params, features), axis=(1, 2))

  def project(
    self, params: PyTree, vectors: Float[ArrayLike, "*n e"]
  ) -> Float[Array, "*n d"]:
    """Vectors or cells as directions in the space of the prototypes."""
    return forward.applied(self.projector, params["projector"], vectors)

  def cosines(
    self, params: PyTree, projected: Float[ArrayLike, "b c d"]
  ) -> Float[Array, "b c c m"]:
    """Cosines of every vector to the prototypes of every concept."""
    flat = vectors(params)[:, 0, 0]
    found = jnp.einsum(
      "bcd,pd->bcp",
      projected,
      distance.direction(flat),
      precision=distance.PRECISION,
    )
    return found.reshape(*found.shape[:2], -1, self.per_concept)

  def logits(
    self, params: PyTree, state: State, scores: Float[ArrayLike, "b p"]
  ) -> Float[Array, "b k"]:
    """Logits from scores; dead prototypes are left out."""
    head, alive = params["head"], jnp.asarray(self.bank(state).alive)[None]
    scores = jnp.where(alive, scores, 0.0)
    weight = jnp.where(alive, head["weight"], 0.0)
    points = jnp.matmul(scores, weight.T, precision=distance.PRECISION)
    return points + head["bias"][None]

  def rejected(
    self,
    state: State,
    scores: Float[ArrayLike, "b p"],
    rejected: Bool[ArrayLike, "b c"],
  ) -> Float[Array, "b p"]:
    """Scores after the rejection of some concepts."""
    reject = jax.vmap(interventions.rejected_scores, (0, 0, None, None))
    class_of = self.bank(state).class_of
    return reject(scores, rejected, class_of, self._absent(state))

  def _absent(self, state: State) -> Float[Array, " p"]:
    absent = jnp.asarray(state.buffers["absent"])
    return absent if self.reject == "absent_mean" else jnp.zeros_like(absent)

  # Cached rows. Batches may have features in place of images.

  def feature_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains the concept head alone."""
    if "features" in batch:
      return {"features": batch["features"]}
    features, _ = self.features(state.params, state.statistics, batch["image"])
    return {"features": features}

  def feature_part(self, state: State) -> PyTree:
    """Parameters and statistics that features depend on."""
    return state.params["backbone"], state.statistics

  def vector_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains projector and prototypes."""
    features = self.feature_rows(state, batch)["features"]
    maps = self.concept_maps(state.params, features)
    return {"vectors": concept_layers.local_vectors(features, maps)}

  def projected_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Vectors in the space of the prototypes, for sweeps."""
    vectors = self.vector_rows(state, batch)["vectors"]
    return {"projected": self.project(state.params, vectors)}

  def score_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of a stage that trains the task head."""
    features = self.feature_rows(state, batch)["features"]
    embedded = self.project(state.params, features)
    similarity, _ = self.nearest(state, embedded)
    return {"scores": self.scores(state, embedded, similarity)}

  def rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """All rows for the atlas and the metrics, from one forward pass."""
    params = state.params
    features = self.feature_rows(state, batch)["features"]
    maps = self.concept_maps(params, features)
    embedded = self.project(params, features)
    similarity, cells = self.nearest(state, embedded)
    scores = self.scores(state, embedded, similarity)
    vectors = concept_layers.local_vectors(features, maps)
    return {
      "concept_logits": jnp.mean(maps, axis=(1, 2)),
      "map_cells": jnp.argmax(maps.reshape(len(maps), -1, maps.shape[-1]), 1),
      "projected": self.project(params, vectors),
      "similarities": similarity,
      "scores": scores,
      "cells": cells,
      "logits": self.logits(params, state, scores),
    }

  def answers(self, state: State, batch: Batch) -> dict[str, Array]:
    """Logits, probabilities; each prototype's similarity, cell, and points.

    Points are those of the predicted class.
    """
    found = self.rows(state, batch)
    answer = jnp.argmax(found["logits"], axis=1)
    points = found["scores"] * self.weights(state)[answer]
    return forward.answers(
      found["logits"], points, found["similarities"], found["cells"]
    )

  # For sweeps, explanations and interventions.

  def backbone_map(self, state: State, batch: Batch) -> Float[Array, "b h w e"]:
    """Features of a batch, to measure their scale."""
    return self.feature_rows(state, batch)["features"]

  def embed(
    self, state: State, images: Num[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w d"]:
    """Image -> the directions that prototypes are compared with."""
    features, _ = self.features(state.params, state.statistics, images)
    return self.project(state.params, features)

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[Array, "b p"], Int[Array, "b p"]]:
    """Cosine of each prototype's most similar cell, and that cell (eq. 10)."""
    return forward.nearest(self.bank(state), embedded, self.similarity)

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    place: Int[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Cosine of each prototype to a given cell."""
    return forward.at(self.bank(state), embedded, place, self.similarity)

  def scores(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    similarity: Float[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Scores that the head multiplies by its weights: cosines, at least 0.

    An intervention with importance 1 everywhere gives the same scores.
    """
    del state, embedded
    return jnp.maximum(similarity, 0.0)

  def weights(self, state: State) -> Float[Array, "k p"]:
    """The head's weights; those of dead prototypes are 0."""
    alive = self.bank(state).alive
    return forward.living(state.params["head"]["weight"], alive)

  def bias(self, state: State) -> Float[Array, " k"]:
    """The head's bias."""
    return jnp.asarray(state.params["head"]["bias"])

  def notes(self, state: State) -> Sequence[Mapping[str, Note]]:
    """Kind of each prototype, and number of training vectors nearest to it."""
    counts = np.asarray(state.buffers["vectors"]).tolist()
    return [{"kind": "free vector", "vectors": str(n)} for n in counts]

  def best(
    self, state: State, scores: Float[ArrayLike, "b p"]
  ) -> Int[Array, "b c"]:
    """The living prototype of each concept with the best score."""
    concepts = jnp.arange(len(self.concept_names))[:, None]
    bank = self.bank(state)
    own = jnp.asarray(bank.class_of)[None] == concepts
    own &= jnp.asarray(bank.alive)[None]
    ranked = jnp.where(own[None], jnp.asarray(scores)[:, None], -1.0)
    return jnp.argmax(ranked, axis=2).astype(jnp.int32)

  def readout(self, state: State) -> interventions.Readout:
    """The arrays that interventions need beside the features of an image."""
    bank = self.bank(state)
    return interventions.Readout(
      prototypes=bank.vectors[:, 0, 0],
      concept_of=bank.class_of,
      alive=bank.alive,
      weight=state.params["head"]["weight"],
      bias=state.params["head"]["bias"],
      absent=self._absent(state),
    )

  def intervene(
    self,
    state: State,
    images: Num[ArrayLike, "b H W 3"],
    importance: Float[ArrayLike, "b h w"],
    rejected: Bool[ArrayLike, "b c"],
  ) -> dict[str, Array]:
    """The answers that `methods.base.Intervenes` describes (eqs. 12-13)."""
    ask = jax.vmap(interventions.predict_with, (0, None, 0, 0))
    embedded = self.embed(state, images)
    found = ask(embedded, self.readout(state), importance, rejected)
    return {
      "logits": found.logits,
      "probabilities": nn.softmax(found.logits),
      "concept_scores": found.concept_scores,
      "contributions": found.contributions,
      "best": found.best,
      "maps": found.maps,
    }

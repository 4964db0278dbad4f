"""A trained classifier whose rotated channels are its prototypes (EPIC).

Image -> frozen backbone -> map Z -> U Z -> mean over cells v -> logits
(A U^-1) v + b. Row c of U is prototype c: its similarity to a patch z is
<U_c, z>, its score in an image v_c.
"""

from collections.abc import Mapping, Sequence
import dataclasses

import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np
import optax

from protojax.backbones import classifier
from protojax.backbones.backbone import Backbone
from protojax.methods.epic import rotation
from protojax.methods.epic.folding import basis
from protojax.prototypes import forward, head, similarity
from protojax.prototypes.bank import Bank, bank_buffers, bank_of, bank_params
from protojax.prototypes.groups import FAVOURITE, Groups, Note
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Keeps quotients finite if all logits are 0.
_TINY = 1e-30


@dataclasses.dataclass(frozen=True)
class RotatedNetwork:
  """A classifier with U between its backbone and its head.

  In a state params["prototypes"] is U, params["head"] is A U^-1, and
  params["classifier"] is A, the classifier's own head.

  Attributes:
    backbone: images -> features.
    image_size: pixels on a side.
    class_names: in the order of the logits.
    normed: there is a LayerNorm before the head; see `classifier.normed`.
    kind: of U, "orthogonal" or "invertible".
  """

  backbone: Backbone
  image_size: int
  class_names: tuple[str, ...]
  normed: bool = False
  kind: str = "orthogonal"

  def init(
    self,
    key: Array,
    most: int,
    generator: bool = False,
    blank_backbone: bool = False,
    remember: bool = False,
  ) -> State:
    """The backbone at random, U = I, a head of zeros.

    Args:
      key: of the randomness.
      most: most images that a channel is trained on.
      generator: whether U is trained as the exponential of a generator.
      blank_backbone: zeros for a backbone whose weights will be loaded.
      remember: whether the buffers hold the purest U so far.
    """
    channels, classes = self.backbone.channels, len(self.class_names)
    backbone = self.backbone.init(key, self.image_size, blank_backbone)

    def blank() -> PyTree:
      return {
        "weight": jnp.zeros((classes, channels)),
        "bias": jnp.zeros(classes),
      }

    params = {
      "backbone": backbone.pop("params"),
      "prototypes": bank_params(jnp.eye(channels)[:, None, None]),
      "classifier": blank(),
      "head": blank(),
    }
    if self.normed:
      norm = {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}
      params["norm"] = norm
    if generator:
      params["rotation"] = {"generator": jnp.zeros((channels, channels))}
    more: dict[str, PyTree] = {}
    if self.kind == "invertible" and not generator:
      unit = jnp.eye(channels)
      more["whitening"] = {"matrix": unit, "inverse": unit}
    if remember:
      more["best"] = {
        "purity": jnp.float32(-1),
        "prototypes": jnp.zeros((channels, 1, 1, channels)),
        "weight": jnp.zeros((classes, channels)),
      }
    return State(
      params=params,
      statistics={"backbone": backbone},
      buffers={
        **more,
        **bank_buffers(jnp.zeros(channels, jnp.int32)),
        "chosen": jnp.full((channels, most), -1, jnp.int32),
        "purity": {"before": jnp.zeros(channels), "after": jnp.zeros(channels)},
      },
    )

  @property
  def similarity(self) -> Similarity:
    """The projection <U_c, z>."""
    return similarity.load("projection")

  @property
  def groups(self) -> Groups:
    """Channels are sorted by the class that they speak for most."""
    return Groups(FAVOURITE, self.class_names)

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the map."""
    return self.backbone.grid(self.image_size)

  def bank(self, state: State) -> Bank:
    """The channels of a state; their vectors are the rows of U."""
    return bank_of(state)

  # The forward path.

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[Array, PyTree]:
    """Features of the backbone, and the statistics: `forward.features`."""
    return forward.features(self.backbone, params, statistics, images, train)

  def embed(
    self, state: State, images: Num[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w d"]:
    """The map Z whose mean the classifier's linear layer takes."""
    features, _ = self.features(state.params, state.statistics, images)
    if self.normed:
      norm = state.params["norm"]
      features = classifier.normed(features, norm["scale"], norm["bias"])
    return features

  def embedded(self, state: State, batch: Batch) -> Float[Array, "b h w d"]:
    """Maps Z of a batch, in the batch or computed from its images."""
    if "features" in batch:
      return batch["features"]
    return self.embed(state, batch["image"])

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> tuple[Float[Array, "b p"], Int[Array, "b p"]]:
    """Each channel's largest value, and its cell (row-major)."""
    maps = self._maps(state, embedded)
    cells = jnp.argmax(maps, axis=1).astype(jnp.int32)
    return jnp.max(maps, axis=1), cells

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    place: Int[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Each channel's value at a given cell."""
    maps = self._maps(state, embedded)
    return jnp.take_along_axis(maps, place[:, None], axis=1)[:, 0]

  def _maps(self, state: State, embedded: ArrayLike) -> Array:
    """U z at every cell, b cells p; no larger than the map itself."""
    cells = embedded.reshape(len(embedded), -1, embedded.shape[-1])
    return rotation.rotated(cells, basis(state))

  def pooled(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> Float[Array, "b p"]:
    """v, the mean of each channel over the cells."""
    return rotation.rotated(jnp.mean(embedded, axis=(1, 2)), basis(state))

  def scores(
    self,
    state: State,
    embedded: Float[ArrayLike, "b h w d"],
    similarity: Float[ArrayLike, "b p"],
  ) -> Float[Array, "b p"]:
    """Scores that the head multiplies by its weights: v, of either sign."""
    del similarity
    return self.pooled(state, embedded)

  def logits(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> Float[Array, "b k"]:
    """Logits of the rotated classifier."""
    scores, alive = self.pooled(state, embedded), self.bank(state).alive
    points = head.logits(scores, self.weights(state), alive)
    return points + self.bias(state)[None]

  def own_logits(
    self, state: State, embedded: Float[ArrayLike, "b h w d"]
  ) -> Float[Array, "b k"]:
    """Logits of the classifier without U."""
    own = state.params["classifier"]
    return classifier.logits(
      classifier.Head(own["weight"], own["bias"]), embedded
    )

  def weights(self, state: State) -> Float[Array, "k p"]:
    """A U^-1; columns of dead prototypes are 0."""
    alive = self.bank(state).alive
    return forward.living(state.params["head"]["weight"], alive)

  def bias(self, state: State) -> Float[Array, " k"]:
    """b, the classifier's own."""
    return jnp.asarray(state.params["head"]["bias"])

  def notes(self, state: State) -> Sequence[Mapping[str, Note]]:
    """Purity of each channel on its prototypes, with U and without."""
    purity = state.buffers["purity"]
    pairs = zip(
      np.asarray(purity["after"]).tolist(),
      np.asarray(purity["before"]).tolist(),
      strict=True,
    )
    return [{"purity": now, "purity before": then} for now, then in pairs]

  # For sweeps; a batch has cached rows or images.

  def map_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows: Z."""
    return {"features": self.embedded(state, batch)}

  def pooled_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows to choose images by: the mean of Z over the cells."""
    return {"pooled": jnp.mean(self.embedded(state, batch), axis=(1, 2))}

  def score_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Scores [b p] that the head multiplies by its weights."""
    return {"scores": self.pooled(state, self.embedded(state, batch))}

  def frozen(self, state: State) -> PyTree:
    """Parameters and statistics that rows depend on."""
    params = {
      k: x for k, x in state.params.items() if k in ("backbone", "norm")
    }
    return params, state.statistics

  def answers(self, state: State, batch: Batch) -> dict[str, Array]:
    """Logits, probabilities; each channel's similarity, cell, and points.

    Points are those of the predicted class: what the channel's mean adds to
    its logit. The paper's score is their positive part.
    """
    features = self.embedded(state, batch)
    similarity, cells = self.nearest(state, features)
    logits = self.logits(state, features)
    answer = jnp.argmax(logits, axis=1)
    points = self.pooled(state, features) * self.weights(state)[answer]
    return forward.answers(logits, points, similarity, cells)

  def compared(self, state: State, batch: Batch) -> dict[str, Array]:
    """Compares the answer to each image with its label and the classifier's.

    "difference" is the largest difference of the logits, relative to the
    classifier's largest; "changed" tells whether the answer differs; "dropped"
    is the sum of the points of channels with a negative score.
    """
    features = self.embedded(state, batch)
    logits = self.logits(state, features)
    own = self.own_logits(state, features)
    answer = jnp.argmax(logits, axis=1)
    scores = self.pooled(state, features)
    points = scores * self.weights(state)[answer]
    # Clipped: an unknown label is -1, which is no class.
    labels = jnp.maximum(batch["label"], 0)
    size = jnp.maximum(jnp.max(jnp.abs(own), axis=1), _TINY)
    return {
      "correct": answer == batch["label"],
      "entropy": optax.softmax_cross_entropy_with_integer_labels(
        logits, labels
      ),
      "difference": jnp.max(jnp.abs(logits - own), axis=1) / size,
      "changed": answer != jnp.argmax(own, axis=1),
      "dropped": jnp.sum(jnp.where(scores < 0, points, 0.0), axis=1),
    }

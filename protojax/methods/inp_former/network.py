"""The network of INP-Former: image -> tokens -> rebuilt tokens -> anomaly map.

Encoder, extractor, bottleneck and decoder in one place (2503.02424, figure 2),
so that loss, scores and explanations use the same forward pass.
"""

import dataclasses
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8

from protojax.methods.inp_former import anomaly_map, intrinsic
from protojax.methods.inp_former.encoder import Encoder
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

_MAPS = ("reconstruction", "distance")


@struct.dataclass
class Rebuilt:
  """The results of a forward pass; jit drops those that a caller ignores.

  Attributes:
    encoded: groups of the encoder's tokens, [g b n d].
    decoded: groups of the decoder's tokens, [g b n d].
    distance: of each token to the nearest intrinsic prototype, [b n].
    assignment: the number of that prototype, [b n].
  """

  # Any: tree transformations store shapes and stacked arrays here.
  encoded: Any
  decoded: Any
  distance: Any
  assignment: Any


@dataclasses.dataclass(frozen=True)
class AnomalyNetwork:
  """Scores how anomalous each cell of an image is.

  Attributes:
    encoder: image -> tokens, frozen.
    extractor: tokens -> the image's intrinsic prototypes.
    decoder: prototypes -> tokens again.
    image_size: pixels on a side.
    kind: "reconstruction" error, or "distance" to the nearest prototype, which
      needs no training on the data (section 6).
    map_size: pixels on a side of an anomaly map.
    share: share of a map's pixels, the highest, whose mean is the score.
    length: exponent of a token's `anomaly_map.relative_length`, by which its
      reconstruction error is multiplied; 0 in the paper.
  """

  encoder: Encoder
  extractor: intrinsic.Extractor
  decoder: intrinsic.Decoder
  image_size: int
  kind: str
  map_size: int
  share: float
  length: float = 0.0

  def __post_init__(self) -> None:
    if self.kind not in _MAPS:
      raise UserError(
        f"--config.map.kind is {self.kind!r}; choose {' or '.join(_MAPS)}."
      )

  def init(self, key: Array) -> State:
    """Random weights, as in the paper's code; features are not scaled."""
    encoder, keys = self.encoder, jax.random.split(key, 4)
    tokens = jnp.zeros((1, encoder.grid**2, encoder.channels))
    found = jnp.zeros((1, self.extractor.count, encoder.channels))
    bottleneck = intrinsic.Bottleneck()
    width = sum(encoder.widths)
    return State(
      params={
        "prototypes": self.extractor.init(keys[1], tokens)["params"],
        "bottleneck": bottleneck.init(keys[2], tokens)["params"],
        "decoder": self.decoder.init(keys[3], tokens, found)["params"],
      },
      statistics={"shift": jnp.zeros(width), "scale": jnp.ones(width)},
      buffers={
        "threshold": jnp.float32(jnp.inf),
        "false_positive_rate": jnp.float32(0),
        "normal_images": jnp.int32(0),
      },
    )

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of cells."""
    return self.encoder.grid, self.encoder.grid

  @property
  def count(self) -> int:
    """Number of intrinsic prototypes of an image."""
    return self.extractor.count

  def forward(self, params: PyTree, state: State, batch: Batch) -> Rebuilt:
    """One forward pass, from images or from their cached rows.

    Args:
      params: `state.params`, or parameters that a gradient is taken of.
      state: the encoder's arrays are read.
      batch: "image", or in its place "encoded" [b g n d].
    """
    if "encoded" in batch:
      encoded = jnp.moveaxis(batch["encoded"], 1, 0)
    else:
      encoded = self.encoder.groups(state, batch["image"])
    tokens = jnp.mean(encoded, axis=0)
    # `apply` is typed as if it could return a pair.
    extract: Any = self.extractor.apply
    decode: Any = self.decoder.apply
    prototypes = extract({"params": params["prototypes"]}, tokens)
    start = intrinsic.Bottleneck().apply(
      {"params": params["bottleneck"]}, tokens
    )
    decoded = decode({"params": params["decoder"]}, start, prototypes)
    distance, assignment = intrinsic.distance(tokens, prototypes)
    return Rebuilt(
      encoded, intrinsic.group_decoded(decoded), distance, assignment
    )

  def encoder_rows(self, state: State, batch: Batch) -> dict[str, Array]:
    """Cached rows of the training: the encoder's groups of tokens."""
    groups = self.encoder.groups(state, batch["image"])
    return {"encoded": jnp.moveaxis(groups, 0, 1)}

  def inspect(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> dict[str, Array]:
    """Anomaly maps, scores and prototypes of images.

    Returns:
      "map" [b S S] of `map_size` pixels and "score" [b]; "values" [b n], how
      anomalous each cell is; "distance" [b n] to the nearest intrinsic
      prototype and "assignment" [b n], its number.
    """
    found = self.forward(state.params, state, {"image": images})
    groups = self._groups(found)
    maps = anomaly_map.at_pixels(
      groups.reshape(*groups.shape[:2], *self.grid),
      self.image_size,
      self.map_size,
    )
    return {
      "map": maps,
      "score": anomaly_map.image_score(maps, self.share),
      "values": jnp.mean(groups, axis=0),
      "distance": found.distance,
      "assignment": found.assignment,
    }

  def values(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b n"]:
    """How anomalous each cell of an image is, row-major; see `length`."""
    found = self.forward(state.params, state, {"image": images})
    return jnp.mean(self._groups(found), axis=0)

  def _groups(self, found: Rebuilt) -> Float[Array, "g b n"]:
    if self.kind == "distance":
      return found.distance[None]
    errors = anomaly_map.distance(found.encoded, found.decoded)
    if not self.length:
      return errors
    return errors * anomaly_map.relative_length(found.encoded) ** self.length

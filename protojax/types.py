"""The types that all of protojax shares: arrays, batches, state, errors.

Axes are named alike everywhere: `b` batch, `h w` grid of cells, `H W` pixels,
`d` channels, `p` prototypes, `k` classes, `m` modifications.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flax import struct
import jax
from jaxtyping import UInt8
import numpy as np

from protojax.errors import UserError  # noqa: F401

Array = jax.Array
ArrayLike = jax.Array | np.ndarray
PyTree = Any
# Name -> value, as logs and summaries hold them.
Metrics = Mapping[str, float | int]

# A batch of a stream: each field of its source by name (of labelled images
# "image" uint8 [b, H, W, 3] and "label" int32 [b], -1: unknown; see
# `data.fields`), "index" int32 [b] (position in the source), "valid" bool [b]
# (False: padding), and cached rows of a stage. Several views of a stream, and
# several streams of a stage, are batches by name.
Batch = Mapping[str, Any]


Picture = UInt8[np.ndarray, "H W 3"]


class Box(NamedTuple):
  """A rectangle in pixels of the network's input; bottom and right excluded."""

  top: int
  left: int
  bottom: int
  right: int


class State(struct.PyTreeNode):
  """A model in arrays: all that is needed to predict and explain.

  Attributes:
    params: groups of parameters by name, moved by gradient descent.
    statistics: running averages of BatchNorm.
    buffers: arrays that gradient descent does not change: of each prototype
      its class, whether it is alive, and its provenance.
    memory: what training remembers from step to step, by name: queues, class
      means, averaged parameters; see `engine.memory`.
    assets: frozen trees by name, which no stage changes; see `engine.assets`.
      The functions of a model find them here. The state that is trained and
      saved has none: programs take them as another argument.
  """

  params: Mapping[str, PyTree]
  statistics: PyTree
  buffers: Mapping[str, PyTree]
  memory: Mapping[str, PyTree] = struct.field(default_factory=dict)
  assets: Mapping[str, PyTree] = struct.field(default_factory=dict)

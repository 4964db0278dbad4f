"""One vector of an image: the mean over the cells of its map.

`prepare slides` makes bags of such vectors, and CoMEL explains them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8

from protojax.backbones.backbone import Backbone
from protojax.types import ArrayLike, PyTree


def pooled(
  backbone: Backbone, variables: PyTree, images: UInt8[ArrayLike, "b H W 3"]
) -> Float[jax.Array, "b c"]:
  """Vectors of images.

  Args:
    backbone: the network.
    variables: "params" and the statistics.
    images: pixels 0..255.
  """
  statistics = {k: v for k, v in variables.items() if k != "params"}
  maps, _ = backbone.features(
    variables["params"], statistics, jnp.asarray(images)
  )
  return jnp.mean(maps, axis=(1, 2))

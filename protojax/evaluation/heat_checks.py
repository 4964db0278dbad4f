"""Whether the heat of a class can be trusted, for `evaluate --sanity`.

Computed on the device for each image, of the map that deletion judges: how far
it moves under noise, whether the class goes with its hottest pixels, and how
much of it is left when the model has forgotten everything.
"""

import jax.numpy as jnp
from jaxtyping import Float, Num

from protojax import parallel
from protojax.evaluation import heats
from protojax.evaluation.decisions import decide
from protojax.metrics import interpretability as metrics
from protojax.prototypes.explainable import Explainable
from protojax.types import Array, Batch, PyTree, State

# What is made random, together: all that a model has learned.
_LEARNED = ("params", "assets")
# Of the noise, and of the order of what is made random.
_NOISE, _ORDER = 1, 2


def checked(
  model: Explainable, state: State, batch: Batch
) -> dict[str, Float[Array, " b"]]:
  """Rows of a batch, by name: "max_sensitivity", "road" and "mprt" [b].

  Changed images are rounded to grey levels. ROAD is the share of its nine steps
  that keep the class; of MPRT it is the end of the cascade, all arrays random.

  Args:
    model: see `Explainable`.
    state: its state.
    batch: images; the class is the predicted one.
  """
  images = jnp.asarray(batch["image"])
  keys = parallel.example_keys(parallel.key(_NOISE), batch["index"])

  def predict(copies: Num[Array, "n H W c"]) -> Float[Array, "n k"]:
    return decide(model, state, _grey_levels(copies)).logits

  classes = jnp.argmax(predict(images), axis=1)

  def explain(some: Num[Array, "b H W c"]) -> Float[Array, "b H W"]:
    return heats.of_class(model, state, _grey_levels(some), classes)

  def with_others(
    learned: PyTree, some: Num[Array, "b H W c"]
  ) -> Float[Array, "b H W"]:
    other = state.replace(**learned)
    return heats.of_class(model, other, _grey_levels(some), classes)

  learned = {name: getattr(state, name) for name in _LEARNED}
  learned = {name: tree for name, tree in learned.items() if tree}
  maps = explain(images)
  kept = metrics.road(predict, images, maps, classes, keys)
  alike = metrics.mprt(
    with_others, learned, images, parallel.key(_ORDER), tuple(learned)
  )
  return {
    "max_sensitivity": metrics.max_sensitivity(explain, images, keys),
    "road": jnp.mean(kept, axis=1),
    "mprt": alike[-1],
  }


def _grey_levels(images: Num[Array, "n H W c"]) -> Array:
  """Images as uint8; noise may have left 0 to 255."""
  return jnp.round(jnp.clip(images, 0, 255)).astype(jnp.uint8)

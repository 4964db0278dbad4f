"""Heat maps of any JAX function: `protojax.heatmap`.

The function may be a network of Flax (Linen or NNX), of another library or
written by hand. `docs/heatmaps.md` shows each kind on one.
"""

from collections.abc import Callable, Mapping, Sequence
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Num
import numpy as np

from protojax.heat import (
  epsilon_rule,
  grad_cam,
  gradients,
  occlusion,
  relevance,
)
from protojax.modify.modification import require_known
from protojax.shown import shown
from protojax.types import Array, ArrayLike, UserError

Bounds = tuple[float | int, float | int]


def heatmap(
  fn: Callable[[Array], Array],
  image: ArrayLike,
  kind: str = "saliency",
  target: int | Sequence[int] | ArrayLike | None = None,
  bounds: Bounds | None = None,
  **settings: Any,
) -> Float[Array, "*b H W"]:
  """Which pixels of an image a function's score comes from.

  Each call compiles a program. Give many images as one batch, or compile a
  function that calls this one by `jax.jit` and call that.

  Args:
    fn: float32 images [b, H, W, c] -> scores [b, k], or [b] for a single one.
      Scores before a softmax say most; `lrp` needs them.
    image: an image [H, W, c], or a batch of them, as `fn` takes it. Pixels in
      uint8 are handed to it as float32 of 0 to 255.
    kind: one of these, with its settings:
      saliency: size of the gradient.
      smoothgrad: the same of the mean gradient over `copies` with `noise` (a
        share of the range of pixels), drawn by `seed`.
      integrated_gradients: share in the score's rise from a `baseline`, by
        `steps` gradients.
      grad_cam: features of the last map times their gradients.
      occlusion: what the score loses behind a square of `window` pixels with
        the colour `baseline`, moved by `stride`.
      lrp: layer-wise relevance, by the `rule` "z+" or "epsilon".
    target: the score to explain, for all images or for each; the largest score
      of each image if None.
    bounds: the smallest and the largest value that a pixel can have. Known of
      uint8; smoothgrad, and lrp by z+, need it of floats.
    **settings: of the kind.

  Returns:
    A map of each image. Saliency, SmoothGrad and Grad-CAM are at least 0; the
    others are negative where a pixel speaks against the score.

  Raises:
    UserError: no function, no such kind, setting or target, an image that is no
      array, images of another shape, scores of another shape, bounds that are
      missing, or a function with a step that the kind cannot take.
  """
  require_known("kind of heat map", kind, _KINDS)
  if not callable(fn):
    raise UserError(
      f"found {type(fn).__name__}; expected a function of images. A run that"
      " was loaded says where it looks by model.explain(image)"
    )
  known = list(inspect.signature(_KINDS[kind]).parameters)[3:]
  for name in settings:
    require_known(f"setting of {kind}", name, known or ("none",))
  images = _images(image)
  bounds = _bounds(image, kind, bounds, settings)

  @jax.jit
  def run(images: Array) -> Float[Array, "b H W"]:
    one = _one_score(fn, images, target)
    return _KINDS[kind](one, images, bounds, **settings)[:, 0]

  maps = run(images)
  return maps[0] if image.ndim == 3 else maps


def _saliency(scores, images, bounds):
  del bounds
  return gradients.saliency(scores, images)


def _smoothgrad(scores, images, bounds, *, copies=16, noise=0.15, seed=0):
  low, high = bounds
  key = jax.random.key(seed, impl="threefry2x32")
  index = jnp.arange(len(images))
  deviation = noise * (high - low)
  return gradients.smoothgrad(scores, images, key, index, deviation, copies)


def _integrated(scores, images, bounds, *, baseline=0.0, steps=50):
  del bounds
  return gradients.integrated_gradients(scores, images, baseline, steps)


def _grad_cam(scores, images, bounds):
  del bounds
  features, head = grad_cam.split(scores, images)
  maps = grad_cam.grad_cam(head, features)
  return grad_cam.upsampled(maps, *images.shape[1:3])


def _occlusion(
  scores, images, bounds, *, baseline=0.0, window=None, stride=None
):
  del bounds
  return occlusion.occlusion(scores, images, window, stride, baseline)


def _lrp(scores, images, bounds, *, rule="z+"):
  require_known("rule of lrp", rule, ("z+", "epsilon"))
  if rule == "z+":
    values, pull = relevance.vjp(scores, images, *bounds)
  else:
    values, pull = epsilon_rule.vjp(scores, images)
  return jnp.sum(pull(values), axis=-1)[:, None]


_KINDS: Mapping[str, Callable[..., Float[Array, "b 1 H W"]]] = {
  "saliency": _saliency,
  "smoothgrad": _smoothgrad,
  "integrated_gradients": _integrated,
  "grad_cam": _grad_cam,
  "occlusion": _occlusion,
  "lrp": _lrp,
}

# What `heatmap` can show.
KINDS = tuple(_KINDS)


def _images(image: ArrayLike) -> Num[Array, "b H W c"]:
  if not hasattr(image, "ndim"):
    raise UserError(
      f"found {type(image).__name__}; expected an image as an array of numbers,"
      " such as np.asarray(PIL.Image.open(file))"
    )
  if image.ndim not in (3, 4) or not image.size:
    raise UserError(
      f"an image of the shape {list(image.shape)}; give one as [rows, columns,"
      " channels], or a batch of them with one axis more in front"
    )
  images = jnp.asarray(image, jnp.float32)
  return images[None] if image.ndim == 3 else images


def _bounds(
  image: ArrayLike, kind: str, bounds: Bounds | None, settings: Mapping
) -> Bounds | None:
  """The bounds that are given, or known."""
  needs = kind == "smoothgrad" or (
    kind == "lrp" and settings.get("rule", "z+") == "z+"
  )
  if bounds is None and image.dtype == np.uint8:
    return 0.0, 255.0
  if bounds is None and needs:
    raise UserError(
      f"{kind} needs the range of the pixels, which {image.dtype} does not"
      " tell; say it, such as bounds=(0.0, 1.0)"
    )
  if bounds is not None and not bounds[0] < bounds[1]:
    raise UserError(f"bounds={shown(bounds)}: the first must be the smaller")
  return bounds


def _one_score(
  fn: Callable[[Array], Array], images: Array, target: Any
) -> gradients.Scores:
  """Images, or copies of them -> the score that is explained [n b 1]."""
  shape = jax.eval_shape(fn, images)
  given = getattr(shape, "shape", None)
  if given is None or len(given) not in (1, 2) or given[0] != len(images):
    what = "something else" if given is None else f"{list(given)}"
    raise UserError(
      f"the function gives {what} for {len(images)} images; it must give"
      " scores [images, classes], or one score for each image"
    )
  if len(given) == 1:
    if target is not None:
      raise UserError("the function gives one score for each image: no target")
    return lambda images: fn(images)[:, None]
  chosen = _targets(fn, images, target, given[1])

  def scores(images: Array) -> Float[Array, "nb 1"]:
    copies = len(images) // len(chosen)
    # A product: relevance has a rule for it, and none for a look-up.
    asked = jax.nn.one_hot(jnp.tile(chosen, copies), given[1])
    return jnp.sum(fn(images) * asked, axis=1, keepdims=True)

  return scores


def _targets(fn, images: Array, target: Any, classes: int) -> Array:
  """The score to explain of each image."""
  if target is None:
    return jnp.argmax(fn(images), axis=1)
  if not isinstance(target, jax.core.Tracer):
    target = np.asarray(target)
    whole = np.issubdtype(target.dtype, np.integer)
    fits = target.shape in ((), (len(images),))
    if not (whole and fits and np.all((target >= 0) & (target < classes))):
      raise UserError(
        f"target={shown(target.tolist())}: give a whole number from 0 to"
        f" {classes - 1}, or one for each of the {len(images)} images"
      )
  return jnp.broadcast_to(jnp.asarray(target), len(images))

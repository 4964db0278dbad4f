"""The matrix U on the channels: its forms, whitening, and rounds (EPIC).

U is an invertible matrix on the channels of a trained classifier's feature map
(Borycki et al., AAAI 2026, 2505.12897). Pooling is linear, so with U^-1 in the
head no logit changes. `losses` says what U is trained for.
"""

from collections.abc import Callable, Mapping
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np
from scipy import linalg

from protojax.prototypes.distance import PRECISION
from protojax.types import ArrayLike, UserError

KINDS = ("orthogonal", "invertible")
SOLVERS = ("procrustes", "adam")


def matrix(
  generator: Float[ArrayLike, "d d"], kind: str
) -> Float[jax.Array, "d d"]:
  """U of a generator W; the identity for W = 0 (section 3).

  Args:
    generator: any matrix.
    kind: "orthogonal", expm(W - W^T), or "invertible", expm(W).
  """
  # With bfloat16 or TF32 products U U^T is not the identity, and logits change.
  with jax.default_matmul_precision("highest"):
    return jax.scipy.linalg.expm(_tangent(jnp.asarray(generator), kind))


def exact(
  generator: Float[np.ndarray, "d d"], kind: str
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d d"]]:
  """U and U^-1 in float64, for the head: rounding of U would change logits."""
  tangent = _tangent(np.asarray(generator, np.float64), kind)
  return linalg.expm(tangent), linalg.expm(-tangent)


def _tangent(generator, kind):
  return generator - generator.T if kind == "orthogonal" else generator


def require_known(kind: str, solver: str, schedule: str) -> None:
  """Refuses unknown settings.

  Raises:
    UserError: names the setting and its values.
  """
  for key, value, known in (
    ("kind", kind, KINDS),
    ("solver", solver, SOLVERS),
    ("schedule", schedule, SCHEDULES),
  ):
    if value not in known:
      raise UserError(
        f"--config.rotation.{key}={value!r}: choose from {', '.join(known)}."
      )


def rotated(
  features: Float[ArrayLike, "*n d"], basis: Float[ArrayLike, "p d"]
) -> Float[jax.Array, "*n p"]:
  """U z at every patch z."""
  return jnp.einsum("...d,pd->...p", features, basis, precision=PRECISION)


def whitening(
  moment: Float[ArrayLike, "d d"], shrinkage: float
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d d"]]:
  """The symmetric S that whitens channels with moment C, and S^-1.

  S C S is nearly the identity, up to a factor, so that channels share nothing
  that makes them fire together. S has the trace of the identity.

  Args:
    moment: C, the mean of z z^T.
    shrinkage: this share of the mean eigenvalue of C is added to each, so that
      rare directions are not amplified.
  """
  values, axes = np.linalg.eigh(np.asarray(moment, np.float64))
  roots = np.sqrt(values + shrinkage * values.mean())
  roots *= np.mean(1 / roots)
  return (axes / roots[None]) @ axes.T, (axes * roots[None]) @ axes.T


def schedule(
  name: str, rounds: int, most: int = 100, least: int = 5
) -> tuple[int, ...]:
  """Number of images that each channel is trained on, by round (section 5).

  Args:
    name: "linear", "exp" or "log".
    rounds: number of rounds, s = 0..rounds - 1; s = rounds would have `least`.
    most: number of images in the first round.
    least: smallest number of images.
  """
  rule = SCHEDULES[name]
  return tuple(
    max(least, int(rule(s, rounds, most, least))) for s in range(rounds)
  )


def _linear(s: int, rounds: int, most: int, least: int) -> float:
  return most - (most - least) / rounds * s


def _exp(s: int, rounds: int, most: int, least: int) -> float:
  return most * ((least / most) ** (1 / rounds)) ** s


def _log(s: int, rounds: int, most: int, least: int) -> float:
  # 0.1 is a constant of the authors' code, whatever the number of rounds.
  left = math.log(1 + 0.1 * (rounds - s)) / math.log(1 + 0.1 * rounds)
  return least + (most - least) * left


# (round, number of rounds, most, least) -> number of images. The order of the
# operations is that of the authors' code: rounding may take an image away.
SCHEDULES: Mapping[str, Callable[[int, int, int, int], float]] = {
  "linear": _linear,
  "exp": _exp,
  "log": _log,
}

"""How images are held to others while they are drawn: settings and results.

`regeneration` draws; the numbers are those of DriveGEN's code (2503.11122), for
Stable Diffusion.
"""

import dataclasses
from typing import NamedTuple

from jaxtyping import Array, Bool, Float

from protojax.diffusion import regions
from protojax.diffusion.transformer import Text
from protojax.types import ArrayLike, UserError


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the sampler; what is given is the code's.

  Attributes:
    steps: of inversion and drawing.
    guidance: weight of the text, see `guidance.guided`.
    semantic: weight of the loss of keys; 0 leaves it out.
    shallow: weight of the loss of the noisy image; 0 leaves it out.
    guided: share of the steps, from the first, that have the loss of keys.
    warm_up: share of the steps in which its weight grows.
    components: axes of self-prototypes.
    region: which tokens the loss of keys counts, one of `regions.KINDS`.
    threshold: see `regions.region`.
    spread: see `regions.layout`.
    enlarged: see `regions.in_cells`.
    most: see `regions.pull`.
    limited: a step goes to the example at most, where the code goes beyond it:
      see `_pulled`.
    exact: whether axes are found anew at each step, or followed.
    blocks: to capture; empty: those that the model names.
  """

  steps: int = 200
  guidance: float = 7.5
  semantic: float = 600.0
  shallow: float = 1.0
  guided: float = 0.6
  warm_up: float = 0.05
  components: int = 16
  region: str = "both"
  threshold: float = 0.3
  spread: float = 0.1
  enlarged: float = 0.1
  most: float = 20.0
  limited: bool = True
  exact: bool = False
  blocks: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.region not in regions.KINDS:
      raise UserError(
        f"region {self.region!r}: choose from {', '.join(regions.KINDS)}"
      )

  @property
  def first(self) -> int:
    """Steps that have the loss of keys."""
    return int(self.guided * self.steps) if self.semantic else 0


class Texts(NamedTuple):
  """What images show, as their models read it.

  Attributes:
    example: the image that is given.
    wanted: the image that is drawn.
    negative: what it shall not look like.
  """

  example: Text
  wanted: Text
  negative: Text


class Trace(NamedTuple):
  """What happened in the s steps that have the loss of keys.

  Attributes:
    region: the tokens that were steered.
    example, drawn: tokens along the first 3 axes of the last block, 0..1.
    loss: of keys, without its weight.
  """

  region: Bool[Array, "s b l"]
  example: Float[Array, "s b l c"]
  drawn: Float[Array, "s b l c"]
  loss: Float[Array, "s b"]


class Regenerated(NamedTuple):
  """What was drawn.

  Attributes:
    x: images without noise, as the network sees them.
    trace: of the steps.
  """

  x: Float[Array, "b h w c"]
  trace: Trace | None


class Strength(NamedTuple):
  """Weights of the two losses; see `Settings`."""

  semantic: Float[ArrayLike, ""] | float
  shallow: Float[ArrayLike, ""] | float

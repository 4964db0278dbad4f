"""A text-to-image model that can be steered, whatever its network is.

One forward pass gives the prediction and, on request, what chosen blocks held:
the keys of self-attention and the attention to each word. Methods that steer a
model, such as VSC and DriveGEN, are written against `GuidableDiffusion` alone;
the embedded model has it (`Capabilities.guidable`), and so has whatever else is
to be steered.

The prediction is of the kind that the process of the model says: noise, v or
velocity. `estimate` makes clean image and noise of each kind. A noisy image is
alpha clean + sigma noise. In Stable Diffusion alpha is the square root of
abar, and sigma that of 1 - abar; in rectified flow both are straight lines. A
step that is written with alpha and sigma is right for both, so that none is
turned into the other.

Everything that depends on weights takes them as `weights`, a tree, so that a
program has them as an argument. Functions of weights are for use inside of
`jit`, on images of any size that the strides divide; those of texts run on the
host.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Key
import numpy as np

from protojax.diffusion import processes
from protojax.diffusion.processes import Estimate, Process
from protojax.diffusion.transformer import Text
from protojax.types import ArrayLike, PyTree, State

# Texts as numbers: {"tokens": int [b w], "valid": bool [b w]}. A model that
# looks at padding, too, such as Stable Diffusion, has it all valid.
Caption = Mapping[str, ArrayLike]


class Captured(NamedTuple):
  """What n chosen blocks held; their tokens lie on one grid, row by row.

  Attributes:
    keys: of self-attention, the heads side by side, float32.
    words: how much each token looked at each word: the mean over heads of what
      the softmax gave, float32; it sums to 1 over the words.
  """

  keys: Float[Array, "n b l d"]
  words: Float[Array, "n b l w"]


@runtime_checkable
class GuidableDiffusion(Protocol):
  """See the module."""

  @property
  def process(self) -> Process:
    """What is noise, and what is predicted."""
    ...

  @property
  def stride(self) -> int:
    """Pixels on a side of a cell of a noisy image; 1 without autoencoder."""
    ...

  @property
  def blocks(self) -> tuple[str, ...]:
    """Names of the blocks that can be captured, from the input to the output.

    Those of Stable Diffusion are as in diffusers, such as
    "up_blocks.1.attentions.0".
    """
    ...

  @property
  def steered(self) -> tuple[str, ...]:
    """Those of `blocks` to steer by where nothing else is asked for."""
    ...

  def grid(
    self, height: int, width: int, blocks: Sequence[str]
  ) -> tuple[int, int]:
    """Rows and columns of the tokens of some blocks.

    Args:
      height, width: of a noisy image, in cells.
      blocks: of one grid.

    Raises:
      UserError: their grids differ, there is no such block, or the sizes do not
        divide.
    """
    ...

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """The times of a sampler, from noise down to the image: steps + 1."""
    ...

  def weights(self, state: State) -> PyTree:
    """What the other functions take: weights of all parts, to sample with."""
    ...

  # Texts.

  def caption(self, texts: Sequence[str]) -> Caption:
    """Texts as NumPy; "" is what stands for no text in guidance.

    Raises:
      UserError: a text is too long, or has a word that is not known.
    """
    ...

  def places(self, text: str, words: str) -> tuple[int, ...]:
    """The places among the tokens of a text where some words stand.

    Args:
      text: as for `caption`.
      words: one word or several that stand side by side, in any case. All
        their occurrences count, and all tokens that they split into.

    Raises:
      UserError: they do not stand there.
    """
    ...

  def read(self, weights: PyTree, caption: Caption) -> Text:
    """States of the tokens; what may be changed before the image is drawn."""
    ...

  # Images.

  def encoded(
    self,
    weights: PyTree,
    images: Float[Array, "b H W 3"],
    keys: Key[Array, " b"] | None = None,
  ) -> Float[Array, "b h w c"]:
    """Images in [-1, 1] without noise, as the network sees them.

    Args:
      weights: see `weights`.
      images: sides must be multiples of `stride`.
      keys: of each image, to draw from the latents' distribution; None: their
        mean.
    """
    ...

  def decoded(
    self, weights: PyTree, x: Float[Array, "b h w c"]
  ) -> Float[Array, "b H W 3"]:
    """Images about in [-1, 1]."""
    ...

  def predict(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
  ) -> Float[Array, "b h w c"]:
    """The prediction, float32, of the kind `process.prediction`."""
    ...

  def seen(
    self,
    weights: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Text,
    blocks: Sequence[str],
  ) -> tuple[Float[Array, "b h w c"], Captured]:
    """The prediction and the captures of some blocks, in one forward pass.

    Both can be differentiated by `x` and by the tokens of `text`. The
    prediction is that of `predict` up to rounding.

    Args:
      weights, x, t, text: see `predict`.
      blocks: of one grid, in the order of the captures.
    """
    ...


def estimate(
  model: GuidableDiffusion,
  x: Float[Array, "b h w c"],
  prediction: Float[Array, "b h w c"],
  t: Float[Array, " b"],
) -> Estimate:
  """Clean image and noise of a prediction of whatever kind.

  The noise is what papers call eps. Guidance without a classifier may mix
  predictions or estimates: one is linear in the other.

  Args:
    model: that predicted.
    x: noisy images.
    prediction: of them.
    t: times.
  """
  process = model.process
  return processes.estimate(process, process.prediction, x, prediction, t)

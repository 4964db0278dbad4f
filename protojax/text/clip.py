"""CLIP's text towers (Radford et al., 2021).

The weights and the vocabulary are files of the user: of OpenAI, of open_clip,
or of Hugging Face's transformers. A prompt's vector is the state of its end,
behind a norm and a projection into the space of the images.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple, NoReturn

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.layers.norm import layer_norm
from protojax.layers.transformer import Block
from protojax.text import bpe
from protojax.text.encoder import States, TextEncoder, last
from protojax.types import PyTree, UserError
from protojax.weights.clip import openai_names
from protojax.weights.naming import Layout, Tensors, naming


class _Size(NamedTuple):
  width: int
  blocks: int
  heads: int
  channels: int


# Beside the visual towers ViT-B/32, ViT-B/16 and ViT-L/14.
_SIZES = {
  "clip_base": _Size(512, 12, 8, 512),
  "clip_large": _Size(768, 12, 12, 768),
}
NAMES = tuple(_SIZES)
_WORDS, _LENGTH = 49_408, 77
_EPSILON = 1e-5


def load(name: str, vocabulary: str = "") -> TextEncoder:
  """The encoder, without weights.

  Args:
    name: "clip_base" or "clip_large".
    vocabulary: file of the tokeniser; see `bpe.read`. Without one, the encoder
      has sizes, to plan a run, and refuses to tokenise.

  Raises:
    UserError: the vocabulary cannot be read.
  """

  def refuse(texts: Sequence[str]) -> NoReturn:
    del texts
    raise UserError(
      f"the text tower {name!r} needs its vocabulary: give CLIP's"
      " bpe_simple_vocab_16e6.txt.gz, merges.txt or tokenizer.json with"
      " --config.text.vocabulary=FILE"
    )

  size = _SIZES[name]
  return TextEncoder(
    name=name,
    module=ClipText(*size),
    tokenize=bpe.read(vocabulary, _LENGTH) if vocabulary else refuse,
    blocks=size.blocks,
    width=size.width,
    channels=size.channels,
    layouts=(layout(size.blocks),),
  )


class ClipText(nn.Module):
  """Tokens -> states of each block.

  Attributes:
    width: of a state.
    blocks: number of blocks.
    heads: of attention.
    channels: of the space that is shared with images; 0: the tower has no
      projection into one, and `States.final` is the state of the end.
    words: rows of the vocabulary.
    length: most tokens of a prompt.
    quick_gelu: see `Block`; open_clip's larger towers have the exact GELU.
  """

  width: int
  blocks: int
  heads: int
  channels: int
  words: int = _WORDS
  length: int = _LENGTH
  quick_gelu: bool = True

  @nn.compact
  def __call__(self, ids: Int[Array, "n l"], valid: Bool[Array, "n l"]):
    """`States`; a token sees none behind it, so padding has no effect."""
    normal = nn.initializers.normal
    table = self.param("words", normal(0.02), (self.words, self.width))
    positions = self.param("positions", normal(0.01), (self.length, self.width))
    x = table[ids] + positions[None, : ids.shape[1]]
    norm = functools.partial(layer_norm, epsilon=_EPSILON)
    found = []
    for i in range(1, self.blocks + 1):
      block = Block(
        self.heads, False, self.quick_gelu, norm, causal=True, name=f"layer_{i}"
      )
      x = block(x)
      found.append(x)
    pooled = jnp.stack([last(y, valid) for y in found])
    end = norm(pooled[-1], "norm")
    if not self.channels:
      return States(jnp.stack(found), pooled, end)
    shape = (self.width, self.channels)
    projection = self.param("projection", normal(self.width**-0.5), shape)
    return States(jnp.stack(found), pooled, end @ projection)


def normed(
  params: PyTree, states: Float[Array, "n l w"]
) -> Float[Array, "n l w"]:
  """States of tokens behind the norm that stands at the tower's end."""
  norm: Any = nn.LayerNorm(
    _EPSILON, dtype=states.dtype, use_fast_variance=False
  ).apply
  return norm({"params": params["norm"]}, states)


def _text_alone(tensors: Tensors) -> Tensors:
  """The text tower of a file, which may hold the visual one, too."""
  return {
    name: x
    for name, x in openai_names(tensors).items()
    if not name.startswith("visual.")
  }


def layout(blocks: int) -> Layout:
  """Names of OpenAI, open_clip and Hugging Face for a tower."""
  return Layout(
    "CLIP",
    naming(
      ("words", "token_embedding.weight"),
      ("positions", "positional_embedding"),
      ("norm", "ln_final"),
      ("projection", "text_projection"),
      *(
        (f"layer_{i}", f"transformer.resblocks.{i - 1}")
        for i in range(1, blocks + 1)
      ),
      (r"norm_(\d)", r"ln_\1"),
      ("qkv/kernel", "attn.in_proj_weight"),
      ("qkv/bias", "attn.in_proj_bias"),
      ("out", "attn.out_proj"),
      ("expand", "mlp.c_fc"),
      ("project", "mlp.c_proj"),
    ),
    # Of the whole model, and its sizes in OpenAI's files.
    (
      "logit_scale",
      "logit_bias",
      "attn_mask",
      "input_resolution",
      "context_length",
      "vocab_size",
    ),
    _text_alone,
  )

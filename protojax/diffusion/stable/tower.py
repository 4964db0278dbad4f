"""The text tower of Stable Diffusion: CLIP's, read from a user's folder.

Images are drawn by the states of all 77 tokens, those of the padding among
them, behind the norm at the tower's end. The tower of Stable Diffusion 2 is
that of OpenCLIP's ViT-H without its last block: its folder has 23 of 24.
"""

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax import json_files
from protojax.diffusion.transformer import Text
from protojax.shown import shown
from protojax.text import bpe, clip
from protojax.text.bpe import BytePairs
from protojax.text.clip import ClipText
from protojax.types import Array, ArrayLike, PyTree, UserError
from protojax.weights import components
from protojax.weights.naming import Tensors, convert

NAME = "model"
_ACTIVATIONS = ("quick_gelu", "gelu")
_EPSILON = 1e-5
# Of names, before transformers 5.
_PREFIX = "text_model."


class _Config(TypedDict):
  """What is read of a config.json."""

  hidden_size: int
  num_hidden_layers: int
  num_attention_heads: int
  intermediate_size: int
  vocab_size: int
  max_position_embeddings: int
  hidden_act: NotRequired[str]
  layer_norm_eps: NotRequired[float]


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
  """Texts -> tokens, as the model was trained to read them.

  Attributes:
    tokenizer: texts -> numbers.
    pad: what stands behind a text, up to as many tokens as the tower reads.
  """

  tokenizer: BytePairs
  pad: int

  def __call__(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
    """Tokens of texts.

    Raises:
      UserError: a text has too many.
    """
    found = self.tokenizer(texts)
    ids, valid = np.asarray(found.ids), np.asarray(found.valid)
    rows = np.full((len(texts), self.tokenizer.most), self.pad, np.int32)
    rows[:, : ids.shape[1]] = np.where(valid, ids, self.pad)
    return rows

  def places(self, text: str, words: str) -> tuple[int, ...]:
    """Where the pieces of some words stand among the tokens of a text.

    All occurrences count.

    Raises:
      UserError: they do not stand there.
    """
    # Place 0 is that of the beginning.
    there, wanted = map(self.tokenizer.pieces, (text, words))
    found = [
      start + i + 1
      for start in range(len(there) - len(wanted) + 1)
      if there[start : start + len(wanted)] == wanted
      for i in range(len(wanted))
    ]
    if not found:
      raise UserError(f"{shown(words)} does not stand in {shown(text)}")
    return tuple(found)


def states(
  tower: ClipText, params: PyTree, ids: Int[ArrayLike, "n l"]
) -> Float[Array, "n l w"]:
  """What an image is drawn by: the states of all tokens; inside of a step."""
  ids = jnp.asarray(ids)
  call: Any = tower.apply
  found = call({"params": params}, ids, jnp.ones(ids.shape, bool))
  return clip.normed(params, found.tokens[-1])


def said(tower: ClipText, params: PyTree, ids: Int[ArrayLike, "n l"]) -> Text:
  """`states` as a text all of whose tokens are looked at."""
  found = states(tower, params, ids)
  return Text(found, jnp.ones(found.shape[:2], bool))


def read_words(folder: str | Path, most: int) -> Words:
  """The tokeniser of a folder.

  Args:
    folder: with vocab.json and merges.txt, or with tokenizer.json; and with
      special_tokens_map.json or tokenizer_config.json.
    most: tokens that the tower reads.

  Raises:
    UserError: a file cannot be read or is of another tokeniser.
  """
  folder = Path(folder)
  tokenizer = bpe.read_folder(folder, most)
  for name in ("special_tokens_map.json", "tokenizer_config.json"):
    path = folder / name
    content = (
      json_files.read_json(path, dict[str, Any]) if path.exists() else {}
    )
    pad = content.get("pad_token")
    if isinstance(pad, dict):
      pad = pad.get("content")
    if pad is None:
      continue
    if pad not in tokenizer.rows:
      raise UserError(
        f"{path}: pad_token={shown(pad)} is not in the vocabulary"
      )
    return Words(tokenizer, tokenizer.rows[pad])
  raise UserError(
    f"{folder} has no pad_token in special_tokens_map.json or"
    " tokenizer_config.json; expected the tokeniser of Stable Diffusion"
  )


def read(
  folder: str | Path, dtype: type = jnp.float32
) -> tuple[ClipText, PyTree]:
  """The text tower of a folder, and its parameters as NumPy.

  Args:
    folder: with config.json and the weights; see `components`.
    dtype: type of the parameters and of computation.

  Raises:
    UserError: a file cannot be read or is of another tower; lists what differs.
  """
  folder = Path(folder)
  config = json_files.read_json(folder / "config.json", _Config)
  tower = made(config, folder / "config.json")
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes(tower)
  )
  path = components.find(folder, NAME)
  layouts = (clip.layout(tower.blocks),)
  try:
    found = convert(named(components.read(path)), template, layouts)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  return tower, found["params"]


def shapes(tower: ClipText) -> PyTree:
  """Shapes of the variables; computes nothing."""
  return jax.eval_shape(
    tower.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, 2), jnp.int32),
    jax.ShapeDtypeStruct((1, 2), jnp.bool_),
  )


def made(config: _Config, path: str | Path) -> ClipText:
  """The tower of a config.

  Raises:
    UserError: it is of another tower; `path` begins it.
  """
  width, heads = config["hidden_size"], config["num_attention_heads"]
  activation = config.get("hidden_act", _ACTIVATIONS[0])
  hidden, epsilon = config["intermediate_size"], config.get("layer_norm_eps")
  counts = {
    key: config[key]
    for key in (
      "hidden_size",
      "num_hidden_layers",
      "num_attention_heads",
      "vocab_size",
      "max_position_embeddings",
    )
  }
  wrong = [f"{key}={count}" for key, count in counts.items() if count < 1]
  if activation not in _ACTIVATIONS:
    wrong.append(f"hidden_act={activation:.60}")
  if hidden != 4 * width:
    wrong.append(f"intermediate_size={hidden}, expected {4 * width}")
  if epsilon not in (None, _EPSILON):
    wrong.append(f"layer_norm_eps={epsilon}")
  if not wrong and width % heads:
    wrong.append(f"{heads} heads of {width} channels")
  if wrong:
    raise UserError(
      f"{path} is not of a text tower of CLIP: it has {'; '.join(wrong)}"
    )
  return ClipText(
    width,
    config["num_hidden_layers"],
    heads,
    0,
    config["vocab_size"],
    config["max_position_embeddings"],
    activation == "quick_gelu",
  )


def named(tensors: Tensors) -> Tensors:
  """The tensors under the names of before transformers 5."""
  if any(name.startswith(_PREFIX) for name in tensors):
    return tensors
  return {f"{_PREFIX}{name}": x for name, x in tensors.items()}

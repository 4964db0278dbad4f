"""Files of CLIP under one set of names: OpenAI's.

OpenAI, open_clip and Hugging Face's transformers name the same tensors
differently. Backbones and text towers read the names of OpenAI; this module
renames those of the others, and finds what joins the two towers.
"""

from collections.abc import Mapping
import re
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from protojax.types import UserError

Tensors = Mapping[str, np.ndarray]

# Hugging Face's names of the text tower and of the visual tower.
_TEXT, _VISUAL = "text_model.", "vision_model."
# open_clip's prefix of a text tower that is a module of its own.
_OWN_TEXT = "text."
_BLOCK = (
  (r"encoder\.layers\.(\d+)\.", r"transformer.resblocks.\1."),
  (r"layer_norm([12])", r"ln_\1"),
  (r"self_attn\.out_proj", "attn.out_proj"),
  (r"mlp\.fc1", "mlp.c_fc"),
  (r"mlp\.fc2", "mlp.c_proj"),
)
_RULES = {
  _TEXT: (
    *_BLOCK,
    (r"embeddings\.token_embedding", "token_embedding"),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
    ("final_layer_norm", "ln_final"),
  ),
  _VISUAL: (
    *_BLOCK,
    (r"embeddings\.class_embedding", "class_embedding"),
    (r"embeddings\.patch_embedding", "conv1"),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
    ("pre_layrnorm", "ln_pre"),
    ("post_layernorm", "ln_post"),
  ),
}
# Counters that older files hold.
_IGNORED = "embeddings.position_ids"
_PARTS = ("q_proj", "k_proj", "v_proj")


class Joint(NamedTuple):
  """What brings the states of both towers into one space.

  Attributes:
    visual: projection of the image's tokens, [w d].
    text: projection of the prompt's last state, [t d].
    scale: logarithm of the factor of the cosines.
  """

  visual: Float[np.ndarray, "w d"]
  text: Float[np.ndarray, "t d"]
  scale: float


def openai_names(tensors: Tensors) -> dict[str, np.ndarray]:
  """The tensors of any CLIP under OpenAI's names; others stay as they are."""
  if not any(name.startswith((_TEXT, _VISUAL)) for name in tensors):
    return {name.removeprefix(_OWN_TEXT): x for name, x in tensors.items()}
  found: dict[str, np.ndarray] = {}
  for name, x in tensors.items():
    if name.endswith(_IGNORED):
      continue
    for prefix, rules in _RULES.items():
      if name.startswith(prefix):
        renamed = name.removeprefix(prefix)
        for pattern, new in rules:
          renamed = re.sub(pattern, new, renamed)
        found["visual." * (prefix == _VISUAL) + renamed] = x
        break
    else:
      found[name] = x
  for name, new in (
    ("visual_projection.weight", "visual.proj"),
    ("text_projection.weight", "text_projection"),
  ):
    if name in found:
      found[new] = found.pop(name).T
  return _joined(found)


def _joined(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Query, key and value of each block as one tensor."""
  found = dict(tensors)
  for name in tensors:
    start, middle, kind = name.rpartition("self_attn.q_proj.")
    if not middle:
      continue
    parts = [f"{start}self_attn.{part}.{kind}" for part in _PARTS]
    if all(part in found for part in parts):
      joined = np.concatenate([found.pop(part) for part in parts])
      found[f"{start}attn.in_proj_{kind}"] = joined
  return found


def joint(tensors: Tensors) -> Joint:
  """The two projections and the scale of a file with both towers.

  Raises:
    UserError: the file lacks one of them.
  """
  found = openai_names(tensors)
  names = "visual.proj", "text_projection", "logit_scale"
  if missing := [name for name in names if name not in found]:
    raise UserError(
      f"the file has no {', '.join(missing)}; give a file of CLIP with both"
      " towers"
    )
  visual, text, scale = (np.asarray(found[n], np.float32) for n in names)
  return Joint(visual, text, float(scale))

"""Parts of prototype classifiers that others saved: add-on, head, classes.

Arrays come in PyTorch's order of axes. What is none of ours is refused.
"""

from collections.abc import Mapping, Sequence
import re
from typing import Any

import numpy as np

from protojax.prototypes.layer import KINDS, AddOn
from protojax.shown import shown
from protojax.types import PyTree, UserError

# Side of an image in pixels if it is unknown: the usual one for ImageNet.
IMAGE_SIZE = 224
_MOST_PIXELS = 4096

# Weight [out, in, 1, 1] and bias [out] of a 1x1 convolution.
Convolution = tuple[np.ndarray, np.ndarray]


def below(
  tensors: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
  """The tensors whose names begin with a prefix, by the rest of the name."""
  return {
    name.removeprefix(prefix): x
    for name, x in tensors.items()
    if name.startswith(prefix)
  }


def convolutions(
  tensors: Mapping[str, np.ndarray], prefix: str
) -> list[Convolution]:
  """Weight and bias of the convolutions below a prefix, in order.

  Tensors come in the order of their modules; a missing bias is 0.
  """
  found = []
  for name, weight in tensors.items():
    if re.fullmatch(rf"{re.escape(prefix)}[^.]+\.weight", name):
      bias = tensors.get(f"{name.removesuffix('weight')}bias")
      found.append((weight, np.zeros(len(weight)) if bias is None else bias))
  return found


def add_on_kind(shapes: Sequence[tuple[int, ...]], channels: int) -> str:
  """Our name of an add-on by its kernels [out, in, 1, 1].

  Raises:
    UserError: it is none of ours.
  """
  if shapes and all(shape[2:] == (1, 1) for shape in shapes):
    widths = [shape[0] for shape in shapes]
    for kind in KINDS:
      if AddOn(channels, kind).widths(shapes[0][1]) == widths:
        return kind
  raise UserError(
    f"its add-on has convolutions of shapes {list(shapes)}; only those of a"
    f" {' or '.join(KINDS)} add-on to {channels} channels can be read"
  )


def add_on_params(found: Sequence[Convolution]) -> PyTree:
  """Parameters of `layer.AddOn` with these convolutions."""
  return {
    f"Dense_{i}": {"kernel": weight[:, :, 0, 0].T, "bias": bias}
    for i, (weight, bias) in enumerate(found)
  }


def check(
  prototypes: np.ndarray, head: np.ndarray, class_map: np.ndarray | None
) -> None:
  """Checks that prototypes [p d h w], head [k p] and classes [p k] fit.

  Raises:
    UserError: they do not fit together; gives their shapes.
  """
  count = len(prototypes) if prototypes.ndim == 4 else 0
  classes = len(head) if head.ndim else 0
  if not (
    prototypes.size
    and head.size
    and head.shape == (classes, count)
    and (class_map is None or class_map.shape == (count, classes))
  ):
    of_map = "" if class_map is None else f", classes {class_map.shape}"
    raise UserError(
      f"prototypes {prototypes.shape}, head {head.shape}{of_map} do not fit"
      " together; [p d h w], [k p] and [p k] are expected"
    )


def classes_by_head(
  prototypes: np.ndarray, head: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, str]:
  """The class of each prototype, told by the head, and a note on it.

  At first each class has equally many prototypes, in turn. After pruning their
  number may still divide by the classes, so the head has to agree.

  Args:
    prototypes: [p ...].
    head: [k p].
    names: of the head's tensor, and of what tells the classes in a module that
      was saved whole, for messages.

  Raises:
    UserError: the head does not decide between the two readings.
  """
  each, rest = divmod(len(prototypes), len(head))
  by_head = np.argmax(head, axis=0)
  by_pruning = (
    by_head,
    "A state dict does not hold the classes of prototypes, and some were"
    " pruned: each is assigned to the class that it speaks for the most.",
  )
  if rest:
    return by_pruning
  in_turn = np.arange(len(prototypes)) // each
  clear = _clear(head)
  differ = by_head != in_turn
  if not np.any(clear & differ) and 2 * np.sum(clear) >= len(clear):
    return (
      in_turn,
      f"A state dict does not hold the classes of prototypes: {each} of each"
      " class in turn are assumed, as at the start of ProtoPNet's code; the"
      " head agrees.",
    )
  # Pruning keeps the order.
  if np.all(clear) or (
    np.any(clear & differ) and np.all(np.diff(by_head) >= 0)
  ):
    return by_pruning
  first = int(np.argmax(differ if np.any(differ) else ~clear))
  raise UserError(
    f"its state dict does not tell the classes of its {len(prototypes)}"
    f" prototypes: in turn, {each} of each class, if none was pruned; by the"
    f" largest weight in {names[0]}, they differ for {np.sum(differ)}"
    f" (prototype {first}: class {in_turn[first]} or {by_head[first]}), and the"
    f" weights of {np.sum(~clear)} are not clear. Import the module saved"
    f" whole, torch.save(model, FILE): it holds {names[1]}"
  )


def _clear(head: np.ndarray) -> np.ndarray:
  """Whether each prototype speaks for one class at least twice as much."""
  *_, second, most = np.sort(
    np.concatenate([np.zeros((2, head.shape[1])), head]), axis=0
  )
  return (most > 0) & (second <= most / 2)


def image_size(attributes: Mapping[str, Any], name: str = "img_size") -> int:
  """Side of an image in pixels; `IMAGE_SIZE` if the file does not tell it.

  Args:
    attributes: of the file.
    name: of the one that tells it.

  Raises:
    UserError: what it tells is no number of pixels.
  """
  size = attributes.get(name, IMAGE_SIZE)
  if not isinstance(size, int) or not 1 <= size <= _MOST_PIXELS:
    raise UserError(f"its {name} is {shown(size)}, not a number of pixels")
  return size


def layer_kinds(kinds: Mapping[str, str], prefix: str) -> list[str]:
  """Classes of the modules below a prefix, in order, without packages."""
  return [
    kind.rpartition(".")[2]
    for name, kind in kinds.items()
    if name.startswith(prefix)
  ]

"""Names of tensors in foreign checkpoints: tensors by name -> variables.

A backbone lists the layouts of the checkpoints that fit it. `convert` takes the
layout that knows most names of a file, so that nobody has to name its origin.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
import re
from typing import Any

from flax import traverse_util
import numpy as np

from protojax.types import PyTree, UserError
from protojax.weights import prefixes, reading

# Tensors of a checkpoint, by name.
Tensors = Mapping[str, np.ndarray]
# Path of a variable, such as ("params", "stem", "kernel") -> a tensor's name.
ForeignName = Callable[[tuple[str, ...]], str]
# (regular expression for whole names in a path, its replacement).
Rule = tuple[str, str]

# PyTorch's names of the arrays of convolutions, linear layers and norms.
_LEAVES: tuple[Rule, ...] = (
  ("kernel|scale", "weight"),
  ("mean", "running_mean"),
  ("var", "running_var"),
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """Names and shapes of the tensors of one family of checkpoints.

  Attributes:
    name: of the family, such as "torchvision".
    foreign_name: path of a variable -> name of its tensor.
    ignore: beginnings of the names of tensors that are not needed, such as the
      classifier's.
    arrange: tensors of a file -> tensors under their `foreign_name`, in the
      shapes of the variables; kernels alone keep PyTorch's order of axes.
  """

  name: str
  foreign_name: ForeignName
  ignore: tuple[str, ...] = ()
  arrange: Callable[[Tensors], Tensors] = dict


def naming(*rules: Rule) -> ForeignName:
  """Returns a function that makes a tensor's name from a path, by rules.

  The path is taken without its collection, as "stem/kernel". Each rule in turn
  replaces the names that it matches. At last, slashes become dots.
  """
  patterns = [
    (re.compile(f"(?<![^/])(?:{matched})(?![^/])"), name)
    for matched, name in (*rules, *_LEAVES)
  ]

  def foreign_name(path: tuple[str, ...]) -> str:
    text = "/".join(path[1:])
    for pattern, name in patterns:
      text = pattern.sub(name, text)
    return text.replace("/", ".")

  return foreign_name


def convert(
  tensors: Tensors, template: PyTree, layouts: Sequence[Layout]
) -> PyTree:
  """Variables in the structure of `template`, from a foreign checkpoint.

  Args:
    tensors: by their foreign names, with or without the prefixes that wrappers
      put before each: see `prefixes`.
    template: arrays or shapes, {"params": ..., "batch_stats": ...}.
    layouts: possible layouts; the one that knows most names is taken.

  Raises:
    UserError: no layout is known; or lists all tensors that are missing,
      superfluous or misshapen in the layout that was taken.
  """
  if not layouts:
    raise UserError("no foreign weights are known for this backbone")
  flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(template)

  def familiar(choice: tuple[Tensors, Layout]) -> int:
    named, layout = choice
    arranged = layout.arrange(named)
    return sum(layout.foreign_name(path) in arranged for path in flat)

  # A layout may have such a prefix itself.
  namings = [prefixes.bare(tensors), dict(tensors)]
  named, layout = max(itertools.product(namings, layouts), key=familiar)
  arranged = dict(layout.arrange(named))
  for path, leaf in flat.items():
    name = layout.foreign_name(path)
    # The kernel of a linear layer: PyTorch has it as [out, in].
    if path[-1] == "kernel" and len(leaf.shape) == 2 and name in arranged:
      arranged[name] = arranged[name].T
  return reading.convert(arranged, template, layout.foreign_name, layout.ignore)

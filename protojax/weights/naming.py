"""How others name a network's tensors: foreign checkpoint -> variables.

A backbone lists the layouts that its weights come in. The one whose names fit
best is taken, so nobody has to say where a file is from.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import re
from typing import Any

from flax import traverse_util
import numpy as np

from protojax.types import PyTree, UserError
from protojax.weights import reading

# By name, as a checkpoint holds them.
Tensors = Mapping[str, np.ndarray]
# Path of a variable, such as ("params", "stem", "kernel") -> a tensor's name.
ForeignName = Callable[[tuple[str, ...]], str]
# Regular expression for whole parts of a path, and what stands for them.
Rule = tuple[str, str]

# What PyTorch calls the arrays of convolutions, linear layers and norms.
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
    foreign_name: what the tensor is called that belongs at a path.
    ignore: beginnings of the names of tensors that are not needed, such as the
      classifier's.
    arrange: tensors as the files have them -> tensors under `foreign_name`
      in the shapes of the variables, but for kernels, which keep PyTorch's
      order of axes.
  """

  name: str
  foreign_name: ForeignName
  ignore: tuple[str, ...] = ()
  arrange: Callable[[Tensors], Tensors] = dict


def naming(*rules: Rule) -> ForeignName:
  """Names made of paths by rules.

  A path begins as "stem/kernel", without its collection; every rule in turn
  replaces the parts that it matches; then dots come between the parts.
  """
  patterns = [
    (re.compile(f"(?<![^/])(?:{parts})(?![^/])"), name)
    for parts, name in (*rules, *_LEAVES)
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
  """The variables of `template`, filled from a foreign checkpoint.

  Args:
    tensors: by their foreign names, with or without the "module." that
      PyTorch's DataParallel puts before each.
    template: arrays or shapes, {"params": ..., "batch_stats": ...}.
    layouts: those it may be in; the one of most familiar names is taken.

  Raises:
    UserError: no layout is known; or lists all tensors that are missing,
      superfluous or misshapen in the nearest one.
  """
  if not layouts:
    raise UserError("no foreign weights are known for this backbone")
  tensors = {k.removeprefix("module."): x for k, x in tensors.items()}
  flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(template)

  def familiar(layout: Layout) -> int:
    arranged = layout.arrange(tensors)
    return sum(layout.foreign_name(path) in arranged for path in flat)

  layout = max(layouts, key=familiar)
  arranged = dict(layout.arrange(tensors))
  for path, leaf in flat.items():
    name = layout.foreign_name(path)
    # A linear layer's, which PyTorch holds as [out, in].
    if path[-1] == "kernel" and len(leaf.shape) == 2 and name in arranged:
      arranged[name] = arranged[name].T
  return reading.convert(arranged, template, layout.foreign_name, layout.ignore)

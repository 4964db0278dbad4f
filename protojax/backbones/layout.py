"""How others name a network's tensors: foreign checkpoint -> variables.

A backbone lists the layouts that its weights come in. The one whose names fit
best is taken, so nobody has to say where a file is from.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import re

from flax import traverse_util
import numpy as np

from protojax.backbones import weights
from protojax.types import PyTree, UserError

# By name, as a checkpoint holds them.
Tensors = Mapping[str, np.ndarray]
# Path of a variable, such as ("params", "stem", "kernel") -> a tensor's name.
ForeignName = Callable[[tuple[str, ...]], str]
# Regular expression for a whole part of a path, and what stands for it.
Rule = tuple[str, str | Callable[[re.Match], str]]

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
  """Names by rules for the parts of a path, joined by dots.

  The first rule that matches a part is taken; a part without one stays.
  """

  def foreign_name(path: tuple[str, ...]) -> str:
    return ".".join(_renamed(part, rules) for part in path[1:])

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
  flat = traverse_util.flatten_dict(template)

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
  return weights.convert(arranged, template, layout.foreign_name, layout.ignore)


def _renamed(part: str, rules: Sequence[Rule]) -> str:
  for pattern, name in (*rules, *_LEAVES):
    match = re.fullmatch(pattern, part)
    if match:
      return match.expand(name) if isinstance(name, str) else name(match)
  return part

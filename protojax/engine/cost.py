"""The cost of a function on one device, read from its trace; nothing is run.

XLA's own analysis counts the body of a loop once, and what is dead as well: the
gradients of a frozen backbone, which no optimiser reads. Here the dead is left
out, and the body of a scan counts as often as it runs.
"""

from collections.abc import Callable, Iterator
import dataclasses
import math
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval
import numpy as np

from protojax.types import PyTree

# Parameters of an equation that hold programs within it.
_INNER = ("jaxpr", "call_jaxpr", "branches", "body_jaxpr")
# Their result is their operand, or is written nowhere: XLA fuses it with what
# reads it.
_VIEWS = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy")

# XLA fuses no elementwise operation into these.
_APART = (
  "dot_general",
  "ragged_dot_general",
  "conv_general_dilated",
  "scan",
  "while",
  "all_gather",
)


@dataclasses.dataclass(frozen=True)
class Cost:
  """Figures of one call on one device.

  Attributes:
    flops: of matrix products and convolutions, 2 for a multiplication and an
      addition; padding does not count.
    touched: bytes read and written, an estimate: elementwise operations are
      taken as one with what reads them.
    held: most bytes in memory at one time, inputs and results included, an
      estimate: in the order of the trace, each array until it is last read.
    open_loops: loops that end by a condition; their bodies count once.
  """

  flops: float = 0.0
  touched: int = 0
  held: int = 0
  open_loops: int = 0


def of(function: Callable[..., Any], *inputs: PyTree) -> Cost:
  """The cost of `function(*inputs)` on one device.

  Args:
    function: to be traced; a step from `parallel.pmap` counts as one device's.
    *inputs: trees of `jax.ShapeDtypeStruct` or of arrays.
  """
  jaxpr = jax.make_jaxpr(function)(*inputs).jaxpr
  jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  while [x.primitive.name for x in jaxpr.eqns] in (["jit"], ["shard_map"]):
    (jaxpr,) = _programs(jaxpr.eqns[0])
  return _cost(jaxpr)


def size(tree: PyTree) -> int:
  """Bytes of all arrays of a tree of arrays or shapes."""
  return sum(map(_bytes, jax.tree.leaves(tree)))


def _bytes(x: Any) -> int:
  """Bytes of an array, a shape or a variable; 0 of a key or a token."""
  aval = getattr(x, "aval", x)
  itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 0)
  return math.prod(getattr(aval, "shape", ())) * itemsize


def _programs(equation: Any) -> Iterator[core.Jaxpr]:
  """The programs within an equation: of a call, a loop, or branches."""
  if equation.primitive.name == "pallas_call":
    return  # A kernel works on references.
  for name in _INNER:
    found = equation.params.get(name)
    for inner in found if isinstance(found, tuple) else (found,):
      if isinstance(inner, core.ClosedJaxpr):
        yield inner.jaxpr
      elif isinstance(inner, core.Jaxpr):
        yield inner


def _cost(jaxpr: core.Jaxpr) -> Cost:
  owner = _owners(jaxpr)

  def own(variables: Any) -> set:
    """The arrays behind variables; literals have none."""
    return {
      owner.get(x, x) for x in variables if not isinstance(x, core.Literal)
    }

  last = {}
  for number, equation in enumerate(jaxpr.eqns):
    last.update(dict.fromkeys(own(equation.invars), number))
  last.update(dict.fromkeys(own(jaxpr.outvars), len(jaxpr.eqns)))

  live = sum(map(_bytes, (*jaxpr.invars, *jaxpr.constvars)))
  flops, touched, held, loops, fused = 0.0, 0, live, 0, set()
  for number, equation in enumerate(jaxpr.eqns):
    if equation.primitive.name in _VIEWS:
      continue
    operands, made = own(equation.invars), own(equation.outvars)
    work = sum(map(_bytes, made))
    inner = [(_cost(program), program) for program in _programs(equation)]
    if inner:
      times = equation.params.get("length", 1)
      loops += equation.primitive.name == "while"
      loops += sum(cost.open_loops for cost, _ in inner)
      # Of branches the dearest.
      flops += times * max(cost.flops for cost, _ in inner)
      touched += times * max(cost.touched for cost, _ in inner)
      given = [sum(map(_bytes, program.invars)) for _, program in inner]
      more = [c.held - g for (c, _), g in zip(inner, given, strict=True)]
      work = max(work, *more)
    elif _elementwise(equation):
      fused |= made
    else:
      flops += _flops(equation)
      touched += _touched(equation)
    if equation.primitive.name in _APART:
      # Made by elementwise operations: read once, and written for this.
      touched += 2 * sum(map(_bytes, operands & fused))
      fused -= operands
    held = max(held, live + work)
    live += sum(_bytes(x) for x in made if x in last)
    live -= sum(_bytes(x) for x in operands if last[x] == number)
  touched += 2 * sum(map(_bytes, own(jaxpr.outvars) & fused))
  return Cost(flops, touched, held, loops)


def _owners(jaxpr: core.Jaxpr) -> dict:
  """Variable that is a view -> the variable whose array it shows."""
  owner = {}
  for equation in jaxpr.eqns:
    if equation.primitive.name in _VIEWS:
      (shown, *_), (view,) = equation.invars, equation.outvars
      if not isinstance(shown, core.Literal):
        owner[view] = owner.get(shown, shown)
  return owner


def _elementwise(equation: Any) -> bool:
  """Whether every number of the result is of one number of each operand."""
  # Square matrices have the shapes of an elementwise operation where they are
  # transposed or multiplied.
  if equation.primitive.name == "transpose":
    return False
  if any(True for _ in _programs(equation)) or _flops(equation):
    return False
  shapes = [x.aval.shape for x in equation.invars if hasattr(x.aval, "shape")]
  made = [x.aval.shape for x in equation.outvars if hasattr(x.aval, "shape")]
  return all(shape in ((), made[0]) for shape in shapes) if made else True


def _touched(equation: Any) -> int:
  """Bytes that an operation by itself reads and writes."""
  name, operands = equation.primitive.name, equation.invars
  made = sum(map(_bytes, equation.outvars))
  if name in ("slice", "dynamic_slice", "gather"):
    return 2 * made
  if name == "dynamic_update_slice":  # In place, as scatters are.
    return 2 * _bytes(operands[1])
  if name.startswith("scatter"):
    return 2 * _bytes(operands[2])
  return made + sum(map(_bytes, operands))


def _flops(equation: Any) -> float:
  name, shapes = (
    equation.primitive.name,
    [x.aval.shape for x in equation.invars],
  )
  if name == "dot_general":
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(shapes[0][axis] for axis in contracted)
    return 2.0 * depth * math.prod(equation.outvars[0].aval.shape)
  if name == "ragged_dot_general":
    return _grouped_products(equation, *shapes[:2])
  if name == "conv_general_dilated":
    return _convolution(equation, *shapes)
  if name == "lu":
    *many, rows, columns = shapes[0]
    return 2 / 3 * math.prod(many) * rows * columns * min(rows, columns)
  if name == "triangular_solve":
    return float(shapes[0][-1] * math.prod(shapes[1]))
  return 0.0


def _grouped_products(equation: Any, lhs: Any, rhs: Any) -> float:
  """Products of groups of rows, each with a matrix of its group.

  A row is in one group, so that the number of groups does not count.
  """
  numbers = equation.params["ragged_dot_dimension_numbers"]
  (_, contracted), (_, batched) = numbers.dot_dimension_numbers
  known = (*contracted, *batched, *numbers.rhs_group_dimensions)
  free = [n for axis, n in enumerate(rhs) if axis not in known]
  return 2.0 * math.prod(lhs) * math.prod(free)


def _convolution(equation: Any, map_shape: Any, kernel_shape: Any) -> float:
  """Products of a convolution whose factors are both numbers of the arrays.

  Those with padding, and with zeros between the cells of a dilated map, are
  none: a gradient has many of them.
  """
  p = equation.params
  lhs, rhs, out = p["dimension_numbers"]
  made = equation.outvars[0].aval.shape
  pairs = 1.0
  for number, (low, _) in enumerate(p["padding"]):
    n = map_shape[lhs[2 + number]]
    k = kernel_shape[rhs[2 + number]]
    spread = p["lhs_dilation"][number]
    cell = np.arange(made[out[2 + number]]) * p["window_strides"][number] - low
    cell = cell[:, None] + np.arange(k) * p["rhs_dilation"][number]
    inside = (cell >= 0) & (cell <= (n - 1) * spread) & (cell % spread == 0)
    pairs *= np.count_nonzero(inside)
  # The kernel holds the channels of one group.
  depth = kernel_shape[rhs[1]]
  return 2.0 * made[out[0]] * made[out[1]] * depth * float(pairs)

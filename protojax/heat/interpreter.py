"""An interpreter of jaxprs: runs a function step by step, with other rules.

`relevance` runs a network with it. Steps on plain arrays are run as they are;
a step on another type is run by a rule of the caller.
"""

from collections.abc import Callable, Sequence
import itertools
from typing import Any

from jax.extend import core
from jax.extend.core import Jaxpr, JaxprEqn, Literal

# (step, *inputs) -> output, or a list of several outputs. None: run the steps
# of the function that this step calls.
Rule = Callable[..., Any] | None

# Steps that move values and do not change them.
MOVES = (
  "broadcast_in_dim",
  "concatenate",
  "convert_element_type",
  "copy",
  "pad",
  "reshape",
  "rev",
  "slice",
  "split",
  "squeeze",
  "transpose",
  "unstack",
)
# Steps that call a function.
CALLS = (
  "checkpoint",
  "closed_call",
  "core_call",
  "custom_jvp_call",
  "custom_vjp_call",
  "jit",
  "pjit",
  "remat2",
)


def run(
  jaxpr: Jaxpr,
  consts: Sequence[Any],
  inputs: Sequence[Any],
  flows: tuple[type, ...],
  rule: Callable[[JaxprEqn], Rule],
) -> list:
  """Runs a program; gives its outputs.

  Args:
    jaxpr: the program.
    consts: its constant arrays.
    inputs: arrays, or values of the types `flows`.
    flows: types that are no plain arrays. Steps without such inputs are run as
      they are.
    rule: step -> the rule that is called with the step and its inputs.
  """
  values = dict(zip(jaxpr.constvars, consts, strict=True))
  values.update(zip(jaxpr.invars, inputs, strict=True))

  def read(atom):
    return atom.val if isinstance(atom, Literal) else values[atom]

  def step(eqn, inputs):
    if not any(isinstance(x, flows) for x in inputs):
      return bind(eqn, inputs)
    own = rule(eqn)
    if own is None:
      return run(*_inside(eqn), inputs, flows, rule)
    outputs = own(eqn, *inputs)
    return outputs if isinstance(outputs, list) else [outputs]

  for eqn in jaxpr.eqns:
    outputs = step(eqn, [read(atom) for atom in eqn.invars])
    values.update(zip(eqn.outvars, outputs, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def bind(eqn: JaxprEqn, inputs: Sequence[Any]) -> list:
  """Runs one step on plain arrays; it keeps its own derivative."""
  given = {
    atom: x
    for atom, x in zip(eqn.invars, inputs, strict=True)
    if not isinstance(atom, Literal)
  }
  names = ("",) * len(given), ("",) * len(eqn.outvars)
  info = core.DebugInfo("step", eqn.primitive.name, *names)
  alone = Jaxpr((), [*given], eqn.outvars, [eqn], eqn.effects, info)
  return core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*given.values())


def is_product(eqn: JaxprEqn) -> bool:
  """Whether a call sums products of its two inputs, as a convolution does.

  Then `conv.depthwise` counts as one step, not as the sums inside it.
  """
  jaxpr, _ = _inside(eqn)
  two = len(jaxpr.invars) == 2
  return two and _monomials(jaxpr, [{"x"}, {"w"}]) == [{"wx"}]


def is_maximum(eqn: JaxprEqn) -> bool:
  """Whether a call takes maxima over values of its input, as max pooling does.

  Then `pool.max_pool` counts as one step and keeps its own derivative.
  """
  jaxpr, _ = _inside(eqn)
  names = {inner.primitive.name for inner in jaxpr.eqns}
  known = names <= {"max", "optimization_barrier", *MOVES}
  # A maximum with a constant is a ReLU.
  literals = any(
    isinstance(atom, Literal)
    for inner in jaxpr.eqns
    for atom in inner.invars
    if inner.primitive.name == "max"
  )
  return len(jaxpr.invars) == 1 and "max" in names and known and not literals


def _inside(eqn: JaxprEqn) -> tuple[Jaxpr, Sequence[Any]]:
  """The program of a call, and its constants."""
  inner = eqn.params.get("call_jaxpr", eqn.params.get("jaxpr"))
  return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _monomials(jaxpr: Jaxpr, inputs: Sequence[set[str]]) -> list[set[str]]:
  """The products of inputs that each output is a sum of."""
  found = dict(zip(jaxpr.invars, inputs, strict=True))

  def read(atom):
    if isinstance(atom, Literal):
      return {""} if atom.val else set()
    return found.get(atom, {""})

  for eqn in jaxpr.eqns:
    name, known = eqn.primitive.name, [read(atom) for atom in eqn.invars]
    if name in CALLS:
      outputs = _monomials(_inside(eqn)[0], known)
    elif name == "mul":
      pairs = itertools.product(*known)
      outputs = [{"".join(sorted(a + b)) for a, b in pairs}]
    elif name in (*MOVES, "add"):
      outputs = [set().union(*known)] * len(eqn.outvars)
    else:
      outputs = [{"?"}] * len(eqn.outvars)
    found.update(zip(eqn.outvars, outputs, strict=True))
  return [read(atom) for atom in jaxpr.outvars]

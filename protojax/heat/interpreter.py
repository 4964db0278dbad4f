"""A function as the steps it is made of, to be taken by other rules.

`relevance` runs a network so: step by step through its jaxpr, with rules of
its own wherever something flows that is not a plain array.
"""

from collections.abc import Callable, Sequence
import itertools
from typing import Any

from jax.extend import core
from jax.extend.core import Jaxpr, JaxprEqn, Literal

# A step and what flows into it -> what flows out of it, a list where there is
# more than one. None: take the steps that it stands for.
Rule = Callable[..., Any] | None

# Steps that leave values as they are and put them elsewhere.
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
# Steps that stand for the steps of a function.
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
  """The outputs of a program.

  Args:
    jaxpr: the program.
    consts: arrays that it holds.
    inputs: arrays, or what flows.
    flows: the types of all that is no plain array. Steps without it are taken
      as they are.
    rule: gives the rule of a step, called with the step and its inputs.
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
  """What one step makes of plain arrays; its own derivative goes with it."""
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

  So `conv.depthwise` is one step, not the sums that it is written as.
  """
  jaxpr, _ = _inside(eqn)
  two = len(jaxpr.invars) == 2
  return two and _monomials(jaxpr, [{"x"}, {"w"}]) == [{"wx"}]


def is_maximum(eqn: JaxprEqn) -> bool:
  """Whether a call finds the largest of values of its input, as a pooling does.

  So `pool.max_pool` is one step, with the derivative that it was given.
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
  """The outputs as polynomials in the inputs: which products they sum up."""
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

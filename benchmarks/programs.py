"""What compiled programs say of themselves: operations, and what they send."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import re
from typing import Any

from protojax import parallel

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
_CALL = re.compile(rf" = (.*?) ({'|'.join(KINDS)}|collective-permute)\(")
_ARRAY = re.compile(r"(pred|bf16|[suf]\d+)\[([\d,]*)\]")
_BYTES = {"pred": 1, "bf16": 2}


@dataclasses.dataclass(frozen=True)
class Program:
  """What one device does in one call.

  Attributes:
    flops: as XLA counts them before it optimises; what stands in a loop is
      counted once.
    touched: bytes that its operations read and write, after optimisation.
    sent: kind of collective -> (how many, bytes that a device sends).
  """

  flops: float
  touched: float
  sent: dict[str, tuple[int, float]]


def total(programs: Sequence[Program]) -> Program:
  """All that one call of each does."""
  sent = {}
  for kind in KINDS:
    each = (program.sent[kind] for program in programs)
    counts, sizes = zip(*each, strict=True)
    sent[kind] = sum(counts), sum(sizes)
  return Program(
    sum(program.flops for program in programs),
    sum(program.touched for program in programs),
    sent,
  )


def read(lowered: Any) -> Program:
  """Compiles a mapped step, `step.lower(...)`, and reads it."""
  compiled = lowered.compile()
  return Program(
    lowered.cost_analysis()["flops"],
    compiled.cost_analysis()["bytes accessed"],
    sent(compiled.as_text(), parallel.device_count()),
  )


def sent(text: str, devices: int) -> dict[str, tuple[int, float]]:
  """Collectives of a program of XLA, by kind, and what each device sends.

  In a ring, where a device passes on all parts but one: of a sum twice, once
  to add it up and once to tell it.

  Raises:
    ValueError: one of a kind that no step of this library has.
  """
  found = dict.fromkeys(KINDS, (0, 0.0))
  for result, kind in _CALL.findall(text):
    if kind not in found:
      raise ValueError(f"{kind}: say what a device sends in one")
    size = sum(_size(*array) for array in _ARRAY.findall(result))
    whole = size * devices if kind == "reduce-scatter" else size
    times = 2 if kind == "all-reduce" else 1
    count, total = found[kind]
    found[kind] = count + 1, total + times * whole * (devices - 1) / devices
  return found


def _size(dtype: str, shape: str) -> int:
  size = _BYTES.get(dtype) or int(dtype[1:]) // 8
  for length in filter(None, shape.split(",")):
    size *= int(length)
  return size


@contextlib.contextmanager
def recorded() -> Iterator[list[Program]]:
  """The programs of all steps that are mapped within, as they are called."""
  pmap, programs = parallel.pmap, []

  def watched(*arguments: Any, **named: Any) -> Callable[..., Any]:
    step, known = pmap(*arguments, **named), []

    def call(*inputs: Any) -> Any:
      if not known:
        known.append(read(step.lower(*inputs)))
        programs.extend(known)
      return step(*inputs)

    return call

  parallel.pmap = watched
  try:
    yield programs
  finally:
    parallel.pmap = pmap

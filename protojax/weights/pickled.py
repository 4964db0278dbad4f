"""Reads a pickle without running it: numbers, text, containers and names.

`pickle.load` calls every function that a file names. Here the opcodes are read
one by one and work on a stack of plain values. The caller says what each name
of a class or function means, or refuses it: `pytorch` does for PyTorch's files.
"""

from collections.abc import Callable
import dataclasses
import io
import mmap
import pickletools
import sys
from typing import Any

from protojax.shown import shown
from protojax.types import UserError

# What one pickle may make in memory, however small its file is: `_OF_STEP`
# bytes for each step, `_OF_ITEM` for each item that a function is given, and
# the length of texts. A state dict of a thousand tensors costs 6 MB.
_MOST_BYTES = 256 << 20
_OF_STEP = _OF_ITEM = 128


@dataclasses.dataclass(frozen=True)
class Maker:
  """A function that a pickle may call.

  Attributes:
    make: our function, called instead of the class or function of that name.
    name: that name.
  """

  make: Callable[..., Any]
  name: str


@dataclasses.dataclass
class Object:
  """An object as a pickle describes it; its class is never imported.

  Attributes:
    kind: name of its class, such as "torch.nn.modules.conv.Conv2d".
    state: its attributes, if it has any.
  """

  kind: str
  state: Any = None


def load(
  file: io.BytesIO | mmap.mmap,
  find: Callable[[str], Any],
  persistent: Callable[[Any], Any],
) -> Any:
  """Reads one pickle from the position of the file, which then is behind it.

  Args:
    file: holds the pickle.
    find: "module.name" -> its meaning, a `Maker` if it may be called.
    persistent: identity of an object outside of the pickle -> its stand-in.

  Raises:
    UserError: an opcode, call or attribute that plain data do not need, or
      more than `_MOST_BYTES` in memory.
    Exception: of any kind, for damaged bytes.
  """
  machine = _Machine(find, persistent)
  opcodes = pickletools.genops(file)  # pyrefly: ignore
  for step, (opcode, argument, _) in enumerate(opcodes):
    if opcode.name == "STOP":
      break
    if opcode.name not in _STEPS:
      raise UserError(f"refused {opcode.name} as step {step} of the pickle")
    machine.spend(_OF_STEP)
    _STEPS[opcode.name](machine, argument)
  return machine.stack.pop()


class _Machine:
  """The stack and the memo of one pickle, with the actions of its opcodes."""

  def __init__(self, find, persistent):
    self.find = find
    self.persistent = persistent
    self.stack: list[Any] = []
    self.marks: list[int] = []
    self.memo: dict[int, Any] = {}
    self.spent = 0

  def spend(self, count):
    """Counts bytes in memory, before they are made."""
    self.spent += count
    if self.spent > _MOST_BYTES:
      raise UserError(
        f"its pickle would take more than {_MOST_BYTES >> 20} MB of memory"
        " without the tensors; save the tensors alone, as"
        " torch.save(model.state_dict(), FILE)"
      )

  def push(self, value):
    self.stack.append(value)

  def text(self, value):
    self.spend(sys.getsizeof(value))
    self.push(value)

  def top(self, count):
    """Takes the last `count` values off the stack."""
    start = len(self.stack) - count
    if start < 0:
      raise ValueError("the stack is empty")
    taken = self.stack[start:]
    del self.stack[start:]
    return taken

  def mark(self, _):
    self.marks.append(len(self.stack))

  def marked(self):
    """Takes the values since the last mark off the stack."""
    return self.top(len(self.stack) - self.marks.pop())

  def remember(self, place):
    self.memo[len(self.memo) if place is None else place] = self.stack[-1]

  def recall(self, place):
    self.push(self.memo[place])

  def extend(self, values):
    """Adds to a list; items of an object of another class are dropped."""
    target = self.stack[-1]
    if not isinstance(target, Object):
      _plain(target, list).extend(values)

  def update(self, flat):
    """Adds to a dict; items of an object of another class are dropped."""
    target = self.stack[-1]
    if not isinstance(target, Object):
      _plain(target, dict)
      target.update(keyed(zip(flat[::2], flat[1::2], strict=True)))

  def name(self, _):
    module, name = self.top(2)
    if not isinstance(module, str) or not isinstance(name, str):
      raise UserError(f"refused {shown(name)} as a name")
    self.spend(len(module) + len(name))
    self.push(self.find(f"{module}.{name}"))

  def call(self, _):
    maker, arguments = self.top(2)
    maker, arguments = _plain(maker, Maker), _plain(arguments, tuple)
    sized = [a for a in arguments if isinstance(a, str | bytes | list | tuple)]
    self.spend(_OF_ITEM * (len(arguments) + sum(map(len, sized))))
    self.push(maker.make(*arguments))

  def build(self, _):
    """Sets attributes; those of a dict, such as `_metadata`, are dropped."""
    (state,) = self.top(1)
    target = self.stack[-1]
    if isinstance(target, Object):
      target.state = state
    else:
      _plain(target, dict)


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
  "PROTO": lambda machine, _: None,
  "FRAME": lambda machine, _: None,
  # The argument of these is the value itself.
  "BININT": _Machine.push,
  "BININT1": _Machine.push,
  "BININT2": _Machine.push,
  "LONG1": _Machine.push,
  "BINFLOAT": _Machine.push,
  "BINSTRING": _Machine.text,
  "SHORT_BINSTRING": _Machine.text,
  "BINUNICODE": _Machine.text,
  "SHORT_BINUNICODE": _Machine.text,
  "BINUNICODE8": _Machine.text,
  "BINBYTES": _Machine.text,
  "SHORT_BINBYTES": _Machine.text,
  "NONE": lambda machine, _: machine.push(None),
  "NEWTRUE": lambda machine, _: machine.push(True),
  "NEWFALSE": lambda machine, _: machine.push(False),
  "EMPTY_LIST": lambda machine, _: machine.push([]),
  "EMPTY_DICT": lambda machine, _: machine.push({}),
  "EMPTY_TUPLE": lambda machine, _: machine.push(()),
  "TUPLE1": lambda machine, _: machine.push(tuple(machine.top(1))),
  "TUPLE2": lambda machine, _: machine.push(tuple(machine.top(2))),
  "TUPLE3": lambda machine, _: machine.push(tuple(machine.top(3))),
  "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
  "MARK": _Machine.mark,
  "APPEND": lambda machine, _: machine.extend(machine.top(1)),
  "APPENDS": lambda machine, _: machine.extend(machine.marked()),
  "SETITEM": lambda machine, _: machine.update(machine.top(2)),
  "SETITEMS": lambda machine, _: machine.update(machine.marked()),
  "BINPUT": _Machine.remember,
  "LONG_BINPUT": _Machine.remember,
  "MEMOIZE": _Machine.remember,
  "BINGET": _Machine.recall,
  "LONG_BINGET": _Machine.recall,
  # pickletools puts a space between module and name.
  "GLOBAL": lambda machine, name: machine.push(
    machine.find(name.replace(" ", "."))
  ),
  "STACK_GLOBAL": _Machine.name,
  "REDUCE": _Machine.call,
  "NEWOBJ": _Machine.call,
  "BUILD": _Machine.build,
  "BINPERSID": lambda machine, _: machine.push(
    machine.persistent(machine.stack.pop())
  ),
}


def keyed(pairs: Any) -> dict[str | int, Any]:
  """A dict of pairs; refuses keys that are neither text nor integers."""
  found = {}
  for key, value in pairs:
    if not isinstance(key, str | int):
      raise UserError(f"refused a {type(key).__name__} as a key")
    found[key] = value
  return found


def _plain(value: Any, kind: type) -> Any:
  if type(value) is not kind:
    expected = "function" if kind is Maker else kind.__name__
    raise UserError(
      f"refused a {type(value).__name__} where plain data have a {expected}"
    )
  return value

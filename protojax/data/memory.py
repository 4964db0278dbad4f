"""Keeps decoded examples in memory, so that only the first epoch reads files.

`stream` reads every example through it.
"""

from collections.abc import Mapping
import weakref

import jax
from jaxtyping import Int32
import numpy as np

from protojax.data import columns
from protojax.data import fields as fields_lib
from protojax.data.resizing import SQUASH, Frame, Resizing
from protojax.data.source import Source
from protojax.types import PyTree, UserError


class Memory:
  """Fields of a source at network size; as many examples are kept as fit.

  What is known without reading (`columns.known`) is not here. A source of bags
  keeps nothing, because each bag has another size.

  Attributes:
    size: side of an image, in pixels.
    resizing: how images come to that size.

  Threads may share it: a row is marked as known after it is written, and two
  threads that read the same example write the same numbers.
  """

  def __init__(
    self,
    source: Source,
    image_size: int,
    limit: int,
    resizing: Resizing = SQUASH,
  ):
    self._source = source
    self.size, self.resizing = image_size, resizing
    known = columns.known(source)
    self._fields = {
      name: field
      for name, field in fields_lib.of(source).items()
      if name not in known
    }
    self._sizes = {
      name: columns.sizes(source, name)
      for name, field in self._fields.items()
      if isinstance(field, fields_lib.Bag)
    }
    layout = {
      name: field.layout(image_size) for name, field in self._fields.items()
    }
    one = sum(x.dtype.itemsize * x.size for x in jax.tree.leaves(layout))
    count = 0 if self._sizes else min(len(source), limit // max(one, 1))
    # An empty array takes memory only where something is written.
    self._kept = jax.tree.map(
      lambda x: np.empty((count, *x.shape), x.dtype), layout
    )
    self._known = np.zeros(count, bool)

  def layout(self) -> dict[str, PyTree]:
    """Shapes and dtypes of one example, in a batch with the largest bag."""
    found = {n: field.layout(self.size) for n, field in self._fields.items()}
    for name, sizes in self._sizes.items():
      length = _bucket(int(sizes.max()))
      found[name] = jax.tree.map(
        lambda x, n=length: jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype),
        found[name],
      )
    return found

  def frame(self, i: int) -> Frame:
    """What the network sees of an example; read only if its shape counts."""
    if self.resizing.kind == "squash":
      return self.resizing.frame((1, 1), self.size)
    return self._frame_of(self._source[i])

  def read(
    self, indices: Int32[np.ndarray, "b"], step: Int32[np.ndarray, "B"]
  ) -> dict[str, PyTree]:
    """Fields of some examples; those that are not kept are read.

    Args:
      indices: of the examples.
      step: of all examples of the step, those of other processes, too: bags are
        padded to one length in all.
    """
    if not self._fields:
      return {}
    lengths = {
      name: _bucket(int(sizes[step].max()))
      for name, sizes in self._sizes.items()
    }
    # Each example once: padding repeats the last one.
    found = {i: self._example(i, lengths) for i in set(indices.tolist())}
    return jax.tree.map(
      lambda *rows: np.stack(rows), *(found[i] for i in indices.tolist())
    )

  def _example(self, i: int, lengths: Mapping[str, int]) -> dict[str, PyTree]:
    fits = i < len(self._known)
    if fits and self._known[i]:
      return jax.tree.map(lambda rows: rows[i], self._kept)
    given, example = self._source[i], {}
    frame = self._frame_of(given)
    for name in self._fields:
      try:
        example[name] = self._field(i, name, given, frame, lengths)
      except ValueError as error:
        place = f"example {self._source.name(i)!r}, field {name!r}"
        raise UserError(f"{place}: {error}") from error
    if fits:
      jax.tree.map(lambda rows, x: rows.__setitem__(i, x), self._kept, example)
      self._known[i] = True
    return example

  def _frame_of(self, given: Mapping) -> Frame:
    # Where it shows nothing, there are no pixels that could be cut off.
    sides = fields_lib.shape(self._fields, given) or (1, 1)
    return self.resizing.frame(sides, self.size)

  def _field(
    self,
    i: int,
    name: str,
    given: Mapping,
    frame: Frame,
    lengths: Mapping[str, int],
  ) -> PyTree:
    if name not in given:
      raise ValueError(f"found only {sorted(given)}, expected this field, too")
    field = self._fields[name]
    value = field.read(given[name], frame)
    if not isinstance(field, fields_lib.Bag):
      return value
    if len(value) != self._sizes[name][i]:
      raise ValueError(
        f"found {len(value)} vectors, expected {self._sizes[name][i]} as"
        " `sizes` of the source says"
      )
    return field.padded(value, lengths[name])


def shared(
  source: Source, image_size: int, limit: int, resizing: Resizing = SQUASH
) -> Memory:
  """The memory that all streams of a source at one size share.

  Args:
    source: the examples.
    image_size: side, in pixels.
    limit: bytes.
    resizing: how images come to that size.
  """
  # The memory keeps its source alive.
  key = (id(source), image_size, limit, resizing)
  found = _MEMORIES.get(key)
  if found is None:
    found = _MEMORIES[key] = Memory(source, image_size, limit, resizing)
  return found


def _bucket(size: int) -> int:
  """The smallest power of two that is not below a size."""
  return 1 << max(size - 1, 0).bit_length()


_MEMORIES: weakref.WeakValueDictionary = weakref.WeakValueDictionary()

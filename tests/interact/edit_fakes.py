"""A classifier by two colours that can be edited, and small images of them."""

import numpy as np

from protojax.data import stream as stream_lib
from protojax.interact.edit_session import EditSession
from protojax.interact.editing import Editor
from protojax.methods.base import Capabilities
from protojax.operations.correcting import Atlas
from protojax.prototypes.bank import bank_of
from protojax.prototypes.groups import CLASS, Groups
from tests.interact import interact_fakes as fakes

CLASSES = fakes.CLASSES
CLASS_OF = np.array([0, 0, 1, 1], np.int32)
# Prototypes 0 and 1 see red, 2 and 3 blue.
WEIGHT = np.array([[4, 1, -1, 0], [-1, 0, 3, 2]], np.float32)
_DOUBLED = 2.0


class Edits:
  """Scores are means of red and blue; what is left is solved by doubling it."""

  class_names, merges = CLASSES, True
  grid, groups = fakes.GRID, Groups(CLASS, CLASSES)

  def __init__(self, solves=True):
    self.solves, self.asked = solves, 0

  @property
  def network(self):
    return self

  def bank(self, state):
    return bank_of(state)

  def weights(self, state):
    return state.params["head"]["weight"] * np.asarray(bank_of(state).alive)

  def bias(self, state):
    return np.zeros(2, np.float32)

  def reference(self, state):
    return None if self.solves else (WEIGHT, np.zeros(2, np.float32))

  def scores(self, state, stream):
    seen = [stream.source[i]["image"] for i in range(len(stream.source))]
    colours = np.stack(seen)[..., ::2].mean((1, 2)) / 255
    return np.float32(colours[:, [0, 0, 1, 1]])

  def kept(self, scores, stream):
    return scores, stream

  def solved(self, state, kept, forbidden):
    self.asked += 1
    weight = np.where(forbidden, 0, _DOUBLED * state.params["head"]["weight"])
    return state.replace(params={**state.params, "head": {"weight": weight}})

  def nearly(self, state, kept, forbidden):
    # As many again are left to double.
    weight = np.where(forbidden, 0, state.params["head"]["weight"])
    params = {**state.params, "head": {"weight": weight}}
    return state.replace(params=params), 0.5


class Method(fakes.Method):
  """The same images as of `interact_fakes`, with a head of four prototypes."""

  capabilities = Capabilities(edits=lambda method: method.edits)

  def __init__(self, train=True, solves=True):
    super().__init__(train)
    self.edits = Edits(solves)


def state(method):
  """Prototypes 0 and 1 are of the first image, 2 and 3 of the last one."""
  first = fakes.state(method)
  bank = bank_of(first)
  twice = np.repeat(np.arange(2), 2)
  provenance = bank.provenance.replace(
    **{
      name: np.asarray(getattr(bank.provenance, name))[twice]
      for name in ("image", "cell", "distance", "content")
    }
  )
  buffers = {
    **first.buffers,
    "class_of": CLASS_OF,
    "alive": np.ones(4, bool),
    "provenance": provenance,
  }
  vectors = {"prototypes": np.eye(4, dtype=np.float32)[:, None, None]}
  params = {"head": {"weight": WEIGHT}, "prototypes": vectors}
  return first.replace(params=params, buffers=buffers)


def session(folder, config=None, save_as="", **options):
  """Of a person who edits the model."""
  method = Method(**options)
  made = state(method)
  judged = stream_lib.ordered(method.source, fakes.SIZE, 4)
  editor = Editor(method.edits, made, judged, lambda: method.stream("train"))
  atlas = Atlas(method, made, method.grid)
  config = config or method.config
  return EditSession(editor, folder, config, atlas, save_as)

"""A model without its dead prototypes, as it is exported."""

import dataclasses

from protojax import parallel
from protojax.prototypes import head, push
from protojax.prototypes.bank import vectors
from protojax.types import State


def compact(state: State) -> State:
  """The same model without its dead prototypes, for export; host arrays.

  Rows of prototypes and of every buffer that has one per prototype, and the
  head's columns. Logits stay as they were; so does whether the prototypes are
  stale.
  """
  state = parallel.to_host(state)
  alive = state.buffers["alive"]
  source = state.buffers["provenance"]
  params = {
    **state.params,
    "prototypes": {"prototypes": vectors(state)[alive]},
    "head": head.some(state.params["head"], alive),
  }
  buffers = {
    **state.buffers,
    "class_of": state.buffers["class_of"][alive],
    "alive": alive[alive],
    "provenance": push.Provenance(
      image=source.image[alive],
      cell=source.cell[alive],
      distance=source.distance[alive],
      content=source.content[alive],
      embedder=(
        source.embedder
        if push.stale(state)
        else push.embedder_digest(params, state.statistics)
      ),
    ),
  }
  return dataclasses.replace(state, params=params, buffers=buffers)

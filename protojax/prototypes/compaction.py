"""Removes dead prototypes from a model, for its export."""

import dataclasses

from protojax import parallel
from protojax.prototypes import head, push
from protojax.prototypes.bank import vectors
from protojax.types import State


def compact(state: State) -> State:
  """The same model without its dead prototypes, as arrays on the host.

  Removes their rows of the prototypes and of the buffers, and their columns of
  the head. Logits do not change, nor whether the prototypes are stale.
  """
  state = parallel.to_host(state)
  alive = state.buffers["alive"]
  provenance = state.buffers["provenance"]
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
      image=provenance.image[alive],
      cell=provenance.cell[alive],
      distance=provenance.distance[alive],
      content=provenance.content[alive],
      embedder=(
        provenance.embedder
        if push.stale(state)
        else push.embedder_digest(params, state.statistics)
      ),
    ),
  }
  return dataclasses.replace(state, params=params, buffers=buffers)

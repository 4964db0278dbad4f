"""Removes dead prototypes from a model, for its export."""

from protojax import parallel
from protojax.prototypes import head, push
from protojax.prototypes.bank import Bank, bank_of, with_bank
from protojax.types import State


def compact(state: State) -> State:
  """The same model without its dead prototypes, as arrays on the host.

  Removes their rows of the prototypes and of the buffers, and their columns of
  the head. Logits do not change, nor whether the prototypes are stale.
  """
  state = parallel.to_host(state)
  bank = bank_of(state)
  alive, provenance = bank.alive, bank.provenance
  small = Bank(
    vectors=bank.vectors[alive],
    class_of=bank.class_of[alive],
    alive=alive[alive],
    provenance=provenance.replace(
      image=provenance.image[alive],
      cell=provenance.cell[alive],
      distance=provenance.distance[alive],
      content=provenance.content[alive],
    ),
  )
  params = {**state.params, "head": head.some(state.params["head"], alive)}
  found = with_bank(state.replace(params=params), small)
  if push.stale(state):
    return found
  digest = push.embedder_digest(found.params, found.statistics, found.assets)
  current = small.provenance.replace(embedder=digest)
  return with_bank(found, small.replace(provenance=current))

"""Where prototypes of ST-ProtoPNet lie on composites (docs/st_protopnet.md)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.experiment import Found, columns
from protojax import loading

QUESTION = "Which prototypes of ST-ProtoPNet keep to the objects?"

ARMS = {"ST-ProtoPNet": ("configs/st_protopnet_composites.py", {})}

_KINDS = ("support", "trivial")
_ROWS = {
  "prototypes from images with a piece that lie on the piece": "patches on it",
  "heat on the pieces (CH)": "CH",
  "heat off the pieces over heat on them (OIRR)": "OIRR",
  "overlap of the warm half with the pieces (IoU)": "IoU",
}

FIGURES = {
  f"{kind}: {row}": f"{kind}.{key}"
  for kind in _KINDS
  for row, key in _ROWS.items()
} | {"the pieces' share": "support.the object's share"}

SEEDS = (0, 1, 2)


def _of_each_kind(workdir: Path, data: Path) -> Mapping[str, Any]:
  """How much of the prototypes of each kind lies on the pieces."""
  # Imported here: who only reads lines does not wait for it.
  from benchmarks import st_protopnet

  del data  # They are embedded.
  method, state, _ = loading.load(workdir)
  alive = method.branch_losses.alive
  return {
    kind: st_protopnet.on_objects(method, state, alive(state, branch))
    for branch, kind in enumerate(method.kinds)
  }


def _by_kind(found: Found) -> Iterator[harness.Row]:
  """A column for each kind."""
  (of_seeds,) = found.values()
  values = columns(of_seeds)
  for row in _ROWS:
    spreads = {x: harness.spread(values[f"{x}: {row}"]) for x in _KINDS}
    yield {"": row, **spreads}


MEASURE = _of_each_kind

TABLE = _by_kind

"""ProtoPNet with a confounded class, and what is left without its mark.

In training nearly all discs have a mark; on the test images there is none. The
prototypes that see a part of the mark (their cell sees 15 of 48 pixels) are
thrown out, as a person does who looks at their pictures, and the last layer is
solved anew from the training images, of which the marks are still there. As
many other prototypes of the same classes, drawn at random, are the comparison.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiment import by_seed
from protojax import loading
from protojax.data import stream
from protojax.datasets import confounded
from protojax.heat import receptive_field
from protojax.interact.editing import Editor
from protojax.interact.edits import Edit
from protojax.operations import editing

QUESTION = "Does throwing out the prototypes of a mark mend what it spoils?"

ARMS = {"ProtoPNet": ("configs/protopnet_confounded.py", {})}

# When -> its name in the table.
_WHEN = {
  "before": "before",
  "without": "without the mark's prototypes",
  "other": "without as many others",
}
FIGURES = {
  **{f"{x}: no mark": f"{when}.test" for when, x in _WHEN.items()},
  **{f"{x}: discs, no mark": f"{when}.discs" for when, x in _WHEN.items()},
  **{f"{x}: all marked": f"{when}.marked" for when, x in _WHEN.items()},
  "prototypes that see the mark": "thrown_out",
  "prototypes of discs": "of_discs",
}

# What counts as a prototype of the mark was put right after a look at the first
# three.
SEEDS = (0, 1, 2, 3, 4)

# Draws of other prototypes, over which the comparison is a mean.
_DRAWS = 10
SETTINGS = {"draws": _DRAWS}


def measure(workdir: Path, data: Path, draws: int) -> Mapping[str, Any]:
  """Accuracy on images without and with the mark, before and after edits."""
  del data  # It is drawn.
  method, state, config = loading.load(workdir)
  marked = confounded.Confounded("marked", config.seed)
  plain = editing.editor(workdir, method, state, config)
  shown = stream.ordered(marked, config.data.image_size, config.batch_size)
  every = Editor(plain.edits, state, shown, lambda: method.stream("train"))
  source = method.stream("train").source
  gone = _of_mark(plain, source)

  def accuracy(chosen: list[int]) -> dict[str, float]:
    edits = (Edit("remove", tuple(chosen), "confounded"),) if chosen else ()
    found = {}
    for name, editor in (("test", plain), ("marked", every)):
      right = editor(edits).answers.answer == editor.judged.source.labels
      found[name] = float(right.mean())
      if name == "test":
        discs = editor.judged.source.labels == confounded.MARKED
        found["discs"] = float(right[discs].mean())
    return found

  generator = np.random.default_rng(config.seed)
  others = [
    accuracy(_others(plain.model, gone, generator)) for _ in range(draws)
  ]
  return {
    "before": accuracy([]),
    "without": accuracy(gone),
    "other": {
      name: float(np.mean([one[name] for one in others])) for name in others[0]
    },
    "thrown_out": len(gone),
    "of_discs": int(np.sum(plain.model.class_of == confounded.MARKED)),
  }


def _of_mark(editor: Editor, source: confounded.Confounded) -> list[int]:
  """The prototypes whose cell sees the mark, or a part of it."""
  network = editor.edits.network
  field = receptive_field.chain(
    network.backbone.layers, confounded.SIDE, height=1, width=1
  )
  taken = network.bank(editor.state).provenance
  images, cells = np.asarray(taken.image), np.asarray(taken.cell)
  return [
    j
    for j in np.flatnonzero(editor.model.alive).tolist()
    if source.shows_mark(int(images[j]), field.box(int(cells[j])).tolist())
  ]


def _others(
  model: Any, gone: list[int], generator: np.random.Generator
) -> list[int]:
  """As many prototypes of each class that do not show the mark."""
  found: list[int] = []
  for k in np.unique(model.class_of[gone]):
    own = np.flatnonzero(model.class_of == k)
    count = np.isin(own, gone).sum()
    rest = np.setdiff1d(own, gone)
    count = min(count, len(own) - 1, len(rest))
    found += generator.choice(rest, count, replace=False).tolist()
  return found


MEASURE = measure

TABLE = by_seed

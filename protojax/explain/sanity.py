"""Sanity checks: prototypes are patches of their class, and speak for it.

ProtoPNet's local analysis makes the same two checks before it explains, and
stops if one fails. Here the report shows what was found.
"""

import numpy as np

from protojax.explain.context import Context
from protojax.prototypes.groups import CLASS

_SHOWN = 5


def check(context: Context) -> tuple[str, ...]:
  """Sentences on prototypes that fail a check; none if all pass.

  A prototype of a class must be a patch of an image of that class (checked on
  training images only), and its largest weight must be for that class.
  """
  if context.model.groups.kind != CLASS:
    return ()
  bank, names = context.bank, context.model.class_names
  alive, class_of = np.flatnonzero(bank.alive), bank.class_of
  found = []
  # The stream may hold a part of the training images.
  labels, provenance = np.asarray(context.stream.labels), context.provenance
  pushed = alive[(provenance[alive] >= 0) & (provenance[alive] < len(labels))]
  labels = labels[provenance[pushed]]
  wrong = labels != class_of[pushed]
  found += _sentences(
    "are patches of images of another class",
    pushed[wrong],
    [names[k] for k in labels[wrong]],
  )
  favourite = context.weights[:, alive].argmax(axis=0)
  wrong = favourite != class_of[alive]
  found += _sentences(
    "have a larger weight for another class than for their own",
    alive[wrong],
    [names[k] for k in favourite[wrong]],
  )
  return tuple(found)


def _sentences(
  what: str, prototypes: np.ndarray, others: list[str]
) -> list[str]:
  """One sentence on the prototypes that fail, with the names of the first."""
  if not len(prototypes):
    return []
  some = [
    f"{j} ({name})"
    for j, name in zip(prototypes[:_SHOWN], others, strict=False)
  ]
  more = ", ..." if len(prototypes) > _SHOWN else ""
  return [f"{len(prototypes)} prototypes {what}: {', '.join(some)}{more}."]

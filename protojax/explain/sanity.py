"""Sanity of a model: whether its prototypes are what the report says they are.

ProtoPNet's local analysis checks the same two things before it explains
anything, and stops; here the report says what it found.
"""

import numpy as np

from protojax.explain.context import Context
from protojax.prototypes.groups import CLASS

_SHOWN = 5


def check(context: Context) -> tuple[str, ...]:
  """Sentences on what is not as it should be; none where all is well.

  A prototype of a class is a patch of an image of it (told by the training
  images alone), and the head gives it its largest weight for that class.
  """
  if context.model.groups.kind != CLASS:
    return ()
  buffers, names = context.buffers, context.model.class_names
  alive, class_of = np.flatnonzero(buffers["alive"]), buffers["class_of"]
  found = []
  # The stream may hold a part of the training images.
  labels, provenance = np.asarray(context.stream.labels), context.provenance
  pushed = alive[(provenance[alive] >= 0) & (provenance[alive] < len(labels))]
  labels = labels[provenance[pushed]]
  strangers = labels != class_of[pushed]
  found += _told(
    "are patches of images of another class",
    pushed[strangers],
    [names[k] for k in labels[strangers]],
  )
  favourite = context.weights[:, alive].argmax(axis=0)
  turned = favourite != class_of[alive]
  found += _told(
    "speak more for another class than for their own",
    alive[turned],
    [names[k] for k in favourite[turned]],
  )
  return tuple(found)


def _told(what: str, prototypes: np.ndarray, others: list[str]) -> list[str]:
  """One sentence on all prototypes of one failing, the first of them named."""
  if not len(prototypes):
    return []
  some = [
    f"{j} ({name})"
    for j, name in zip(prototypes[:_SHOWN], others, strict=False)
  ]
  more = ", ..." if len(prototypes) > _SHOWN else ""
  return [f"{len(prototypes)} prototypes {what}: {', '.join(some)}{more}."]

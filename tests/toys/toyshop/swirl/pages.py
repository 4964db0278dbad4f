"""Pages of the method's own: on its prototypes, and on all test images."""

import numpy as np

from protojax import parallel
from protojax.explain import blocks
from protojax.report.special_pages import Page


def pages(method, state, workdir):
  """One page of the state, and one for which all images are read."""
  del workdir
  bank = np.asarray(state.params["bank"]["vectors"])
  apart = ((bank[:, None] - bank[None]) ** 2).sum(-1)
  class_of = np.asarray(state.buffers["class_of"])
  names = tuple(
    f"{method.pixel_names[k]} {j}" for j, k in enumerate(class_of.tolist())
  )
  yield Page(
    "swirl",
    "Prototypes among themselves",
    "Squared distances of the toy's prototypes.",
    (blocks.Matrix(names, names, apart),),
  )
  cells = np.zeros(len(method.pixel_names), int)
  batches = method.stream("test").batches()
  for batch, rows in parallel.each(method.predict, state, batches):
    shown = rows["classes"][batch["valid"]]
    cells += np.bincount(shown.ravel(), minlength=len(cells))
  rows = tuple(zip(method.pixel_names, cells.tolist(), strict=True))
  yield Page(
    "cells",
    "Cells of all images",
    "How many cells have a class, over the test images.",
    (blocks.Table(("class", "cells"), rows),),
  )

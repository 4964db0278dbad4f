"""A page of the method's own: how near the prototypes are to each other."""

import numpy as np

from protojax.explain import blocks
from protojax.report.special_pages import Page


def pages(method, state, workdir):
  """One page."""
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

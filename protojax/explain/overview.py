"""What a split says as a whole: histograms, redundancy, samples of changes.

`prototypical` yields one `Overview` for every sweep over a data set.
"""

from collections.abc import Callable

from jaxtyping import UInt8
import numpy as np

from protojax.explain import native, perturb
from protojax.explain import redundancy as redundancy_lib
from protojax.explain.evidence import Histogram, Overview, Redundancy, Sample
from protojax.explain.redundancy import Correlation
from protojax.explain.subject import Subject
from protojax.explain.sweep import Totals
from protojax.types import State

Evaluate = Callable[[State], float]

_SAMPLES = 3
# Prototypes of which every pair is compared; more would not fit in memory.
_MOST = 5000


def overview(
  subject: Subject, totals: Totals, redundant: Redundancy | None
) -> Overview:
  """What all images of a sweep say together."""
  names = subject.preset.names
  return Overview(
    split=subject.split,
    images=totals.all.images,
    modifications=names,
    alive=subject.buffers["alive"],
    scores=totals.all,
    without_source=totals.others if subject.split == "train" else None,
    local={
      name: Histogram(totals.edges, row)
      for name, row in zip(names, totals.counts, strict=True)
    },
    samples=_samples(subject),
    redundancy=redundant,
  )


def correlation(subject: Subject) -> Correlation | None:
  """To be fed the similarities of living prototypes; None for too many."""
  alive = int(subject.buffers["alive"].sum())
  return Correlation(alive) if alive <= _MOST else None


def redundancy(
  subject: Subject, totals: Totals, correlation: Correlation, evaluate: Evaluate
) -> Redundancy:
  """Groups of prototypes of which one is enough, and the model with it alone.

  Args:
    subject: see there.
    totals: of the sweep that the correlation is of.
    correlation: of the similarities of the living prototypes.
    evaluate: state -> accuracy.
  """
  state, buffers, names = subject.state, subject.buffers, subject.preset.names
  alive = np.flatnonzero(buffers["alive"])
  prototypes = np.asarray(state.params["prototypes"]["prototypes"])
  counted = [
    names.index(name) for name in perturb.CHARACTERISTICS if name in names
  ]
  groups = redundancy_lib.groups(
    numbers=alive,
    class_of=buffers["class_of"][alive],
    image=buffers["provenance"].image[alive],
    cell=buffers["provenance"].cell[alive],
    prototypes=prototypes[alive].reshape(len(alive), -1),
    correlation=correlation.matrix(),
    importance=totals.all.importance[counted][:, alive],
  )
  before = evaluate(state)
  if not groups:
    return Redundancy(groups, before, before)
  weight, left = redundancy_lib.merge(subject.weights, buffers["alive"], groups)
  params = {**state.params, "head": {"weight": weight}}
  merged = state.replace(params=params, buffers={**buffers, "alive": left})
  return Redundancy(groups, before, evaluate(merged))


def partners(found: Redundancy) -> dict[int, tuple[int, ...]]:
  """Prototype -> the others of its group."""
  return {
    j: tuple(other for other in group.prototypes if other != j)
    for group in found.groups
    for j in group.prototypes
  }


def _samples(subject: Subject) -> tuple[Sample, ...]:
  """A few images, evenly over the stream, beside what is made of them."""
  stream = subject.stream
  count = min(_SAMPLES, len(stream))
  chosen = np.linspace(0, len(stream) - 1, count).round().astype(int).tolist()
  names = subject.preset.names
  return tuple(
    Sample(
      stream.source.name(index),
      dict(zip(names, _modified(subject, index), strict=True)),
    )
    for index in chosen
  )


def _modified(
  subject: Subject, index: int
) -> UInt8[np.ndarray, "m size size 3"]:
  """What the model sees of an image under each modification."""
  stream, preset = subject.stream, subject.preset
  if preset.mode == "fast":
    image = stream.examples([index])["image"]
    modified = [perturb.modify(image, m) for m in preset.modifications]
    return np.concatenate([np.asarray(x) for x in modified])
  image = stream.source[index]["image"]
  _, rows = perturb.stacked(preset.modifications)
  return native.copies(image, preset, subject.model.image_size)[list(rows)]

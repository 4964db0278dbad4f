"""Fake explanations, of as many classes and prototypes as wanted."""

import numpy as np

from protojax.explain import evidence
from protojax.explain.evidence import GlobalScores, Interval
from protojax.explain.totals import Scores
from protojax.types import Box

NAMES = ("identity", "contrast", "saturation", "hue", "shape", "texture")
SIDE = 48
# Numbers of the prototypes that have each flag.
MISLEADING, DUPLICATE, REDUNDANT, STALE = 1, 2, 3, 4


def picture(rng):
  """Noise that JPEG can keep: 8 x 8 blocks of one colour."""
  blocks = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
  return blocks.repeat(8, axis=0).repeat(8, axis=1)


def because(rng, images=9):
  scores = {n: float(rng.normal(0.2, 0.2)) for n in NAMES[1:]}
  scores = {"identity": 0.0, **scores}
  return GlobalScores(
    scores,
    similarity=float(rng.uniform(0.5, 1)),
    images=images,
    intervals={n: Interval(s - 0.05, s + 0.05) for n, s in scores.items()},
    relative={n: s / 2 for n, s in scores.items()},
    distance={n: 3 * s for n, s in scores.items()},
  )


def prototype(number, class_name, rng, pictures=True):
  """A prototype with scores of two splits, neighbours and perhaps a flag.

  With `pictures` a `PictureFile`, that file stands for every picture of it.
  """
  index = 10 + number
  show = picture(rng) if pictures is True else pictures or None
  near = [
    evidence.Neighbour(
      image=f"near {number} {k}",
      index=index + k,
      label=class_name if k < 2 else "another",
      similarity=0.9 - k / 10,
      cell=k,
      box=Box(8, 8, 24, 24),
      picture=show,
      misleading=number == MISLEADING,
    )
    for k in range(3)
  ]
  return evidence.GlobalExplanation(
    prototype=number,
    group=class_name,
    alive=True,
    weight=1.0,
    duplicate_of=number - 1 if number == DUPLICATE else None,
    patch=evidence.Patch(
      image=f"source {number}",
      index=index,
      cell=number % 36,
      box=Box(8, 16, 24, 40),
      field=Box(0, 0, SIDE, SIDE),
      picture=show,
      heat=show,
      piece=None if pictures is True else show,
    ),
    because={"train": because(rng), "test": because(rng)},
    without_own={"train": because(rng, 8)},
    nearest={"train": tuple(near), "test": tuple(near)},
    redundant_with=(0,) if number == REDUNDANT else (),
    stale=number == STALE,
  )


def image(index, label, predicted, prototypes, rng):
  """An image with a row for each of some prototypes."""
  rows = tuple(
    evidence.Evidence(
      prototype=e.prototype,
      group=e.group,
      similarity=0.8,
      score=0.8,
      weight=1.0,
      points=0.8,
      runner_up_weight=0.1,
      cell=3,
      because=dict(because(rng).scores),
      box=Box(0, 0, 16, 16),
      field=Box(0, 0, SIDE, SIDE),
      heat=picture(rng),
      misleading=False,
    )
    for e in prototypes
  )
  return evidence.LocalExplanation(
    image=f"picture {index}",
    index=index,
    split="test",
    label=label,
    answers=(
      evidence.Answer(predicted, 2.5, 0.9),
      evidence.Answer("another", 0.5, 0.1),
    ),
    evidence=rows,
    others=2,
    picture=picture(rng),
  )


def overview(split, prototypes, rng):
  """Local scores counted in fine bins, and one sample."""
  edges = np.linspace(-2, 2, 401)
  p, m = len(prototypes), len(NAMES)
  return evidence.Overview(
    split=split,
    images=9,
    modifications=NAMES,
    alive=np.ones(p, bool),
    scores=Scores(
      *np.zeros((3, m, p)), np.ones(p), 9, np.zeros((0, m, p), np.float32)
    ),
    without_own=None,
    local={
      name: evidence.Histogram(
        edges, np.histogram(rng.normal(0.1, 0.2, 999), edges)[0]
      )
      for name in NAMES
    },
    samples=(
      evidence.Sample(f"sample {split}", {n: picture(rng) for n in NAMES}),
    ),
  )


def run(classes=3, each=4, shown=2, pictures=True, seed=0):
  """Prototypes, images and overviews, as `class_pages.write` takes them."""
  rng = np.random.default_rng(seed)
  prototypes = [
    prototype(number, f"class {number // each}", rng, pictures)
    for number in range(classes * each)
  ]
  images = [
    image(
      k * shown + n,
      f"class {k}",
      f"class {k}" if n == 0 else "another",
      prototypes[k * each : k * each + 3],
      rng,
    )
    for k in range(classes)
    for n in range(shown)
  ]
  overviews = {s: overview(s, prototypes, rng) for s in ("train", "test")}
  return prototypes, images, overviews

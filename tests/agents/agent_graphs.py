"""Belief graphs of tests."""

import numpy as np

from protojax.agents.graph import (
  Attribute,
  Candidate,
  Entity,
  Graph,
  Relation,
  normalised,
)

KINDS = ("explicit", "implicit", "background", "asked but forgotten")


def rabbit() -> Graph:
  """Written by hand: an explicit, an implicit and a background entity."""
  colour = Attribute(
    "colour", 0.8, (Candidate("white", 0.5), Candidate("brown", 0.5))
  )
  size = Attribute("size", 0.2, (Candidate("small", 1.0),))
  kind = Attribute(
    "kind", 1.0, (Candidate("oak", 0.25), Candidate("fir", 0.75))
  )
  weather = Attribute(
    "weather", 0.5, (Candidate("sun", 0.9), Candidate("rain", 0.1))
  )
  return Graph(
    (
      Entity("rabbit", 1.0, (colour, size)),
      Entity("tree", 0.6, (kind,), "implicit", 0.5),
      Entity("weather", 0.4, (weather,), "background"),
    ),
    (
      Relation(
        "place",
        0.3,
        (Candidate("left of", 0.4), Candidate("right of", 0.6)),
        first="rabbit",
        second="tree",
      ),
    ),
    "a rabbit",
  )


def drawn(seed: int) -> Graph:
  """Of up to four entities, with random numbers; some are pinned."""
  rng = np.random.default_rng(seed)

  def fields(name):
    count = int(rng.integers(1, 5))
    weights = {f"value {i}": float(rng.gamma(1.0)) for i in range(count)}
    pinned = bool(rng.random() < 0.2)
    return name, float(rng.random()), normalised(weights.items()), pinned

  entities = tuple(
    Entity(
      f"entity {i}",
      float(rng.random()),
      tuple(
        Attribute(*fields(f"attribute {k}")) for k in range(rng.integers(0, 4))
      ),
      KINDS[rng.integers(4)],
      float(rng.random()),
      "in words",
      bool(rng.random() < 0.2),
    )
    for i in range(rng.integers(1, 5))
  )
  pairs = [
    (a.name, b.name) for a in entities for b in entities if a.name < b.name
  ]
  relations = tuple(
    Relation(
      *fields("place"), first=a, second=b, mutual=bool(rng.random() < 0.5)
    )
    for a, b in pairs
    if rng.random() < 0.5
  )
  return Graph(entities, relations, "a prompt")

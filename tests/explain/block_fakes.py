"""A made-up explanation with every kind of block."""

import numpy as np

from protojax.explain.blocks import (
  Axis,
  Curve,
  Explanation,
  Frame,
  Gallery,
  Map,
  Matrix,
  Note,
  Picture,
  Regions,
  Sentence,
  Series,
  Table,
)
from protojax.types import Box


def picture(height=24, width=32, seed=0, **options):
  pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
  return Picture(pixels.astype(np.uint8), **options)


def every_block(name="wing"):
  """One block of each kind, with unknown numbers and a name in every text."""
  wave = np.sin(np.linspace(0, 6, 40)) + 1.5
  broken = np.where(np.arange(40) == 20, np.nan, wave[::-1])
  return (
    Sentence(f"Why {name} is what it is."),
    Picture(
      picture().image,
      f"The {name}",
      (Frame(Box(2, 4, 12, 20), f"left {name}"), Frame(Box(10, 18, 24, 32))),
    ),
    Map(
      np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
      low=0.0,
      high=2.0,
      caption=f"Map of {name}",
      unit=f"mm {name}",
      over=picture(),
    ),
    Map(np.array([[np.nan, -1.0], [0.5, 1.0]], np.float32), low=-1.0, high=1.0),
    Table(
      ("part", f"points {name}", "sure"),
      ((name, 0.25, True), ("rest", float("nan"), None), ("sum", 12345, False)),
      f"Parts of {name}",
    ),
    Curve(
      (
        Series(f"{name} a", np.arange(40.0), wave),
        Series("b", np.arange(40.0), broken),
      ),
      Axis("step"),
      Axis(f"loss {name}", "nats"),
      f"Loss of {name}",
    ),
    Matrix(
      (name, "other"),
      ("first", f"second {name}", "third"),
      np.array([[1.0, -0.5, np.nan], [0.0, 0.25, 2.0]]),
      f"Overlap of {name}",
      "%",
    ),
    Gallery(
      (picture(seed=1, caption=f"{name} 1"), picture(30, 20, seed=2)),
      f"More of {name}",
    ),
    Note(f"The {name} is small."),
    Note(f"Do not trust the {name}.", "warning"),
    Regions(
      picture(seed=3),
      np.array([[0.0, 0.0, np.nan], [1.0, 0.0, np.nan]]),
      (f"the sky of {name}", "grass"),
      f"Regions of {name}",
    ),
  )


def explanation(key="image-3", scope="local", name="wing", **options):
  found = {"title": f"Image {name}", "split": "test", "subject": f"{name}.png"}
  blocks = options.pop("blocks", None) or every_block(name)
  return Explanation(key, scope=scope, blocks=blocks, **{**found, **options})

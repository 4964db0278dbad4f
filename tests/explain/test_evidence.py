import numpy as np

from protojax.explain.evidence import GlobalExplanation, GlobalScores, Patch
from protojax.explain.merging import merge
from protojax.types import Box

PICTURE = np.zeros((4, 4, 3), np.uint8)


def _explained(prototype, split, patch):
  because = {split: GlobalScores({"hue": 1.0}, 2.0, 3)}
  return GlobalExplanation(
    prototype=prototype,
    group="a",
    alive=True,
    weight=1.0,
    duplicate_of=None,
    patch=patch,
    because=because,
    without_own={},
  )


def test_splits_are_merged_and_pictures_kept():
  bare = Patch("x", 0, 0, Box(0, 0, 1, 1), Box(0, 0, 4, 4))
  shown = Patch("x", 0, 0, Box(0, 0, 1, 1), Box(0, 0, 4, 4), PICTURE, PICTURE)
  merged = merge(
    [
      _explained(1, "train", shown),
      _explained(0, "train", bare),
      _explained(0, "test", shown),
      _explained(1, "test", None),
    ]
  )
  assert [e.prototype for e in merged] == [0, 1]
  for explained in merged:
    assert list(explained.because) == ["train", "test"]
    assert explained.patch is shown
  assert merge([_explained(0, "test", None)])[0].patch is None
  assert (
    merge([_explained(0, "test", None), _explained(0, "train", bare)])[0].patch
    is bare
  )

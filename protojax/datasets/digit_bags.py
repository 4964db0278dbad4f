"""Embedded bags: scanned digits of scikit-learn, in a stream of three tasks.

A task looks for one digit among others: its positive bags have 5 to 20 % of it,
lying together, its negative bags none. Each task has its own background, as
organs have their own tissue. An instance is a digit of 8 x 8 pixels (the `demo`
extra), its vector the principal components of its pixels. No digit is in two
splits. All is drawn from the seed when the data set is opened.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.datasets.bag_source import Bags, class_names
from protojax.types import UserError

# Digit that a task looks for -> digits of its background.
BACKGROUNDS = {9: (3, 5, 8), 4: (0, 5, 6), 7: (1, 2, 5)}
NAMES = {9: "nine", 4: "four", 7: "seven"}
# Share of the digit in a positive bag, at least and at most.
SHARE = (0.05, 0.2)
# Share of each digit's scans that is for training.
_TRAIN = 0.6
CHANNELS = 32
SIDE = 32  # of a picture, in pixels
_SCAN, _MOST = 8, 16.0  # side of a scan, and its largest value
_INSTALL = "python -m pip install 'protojax[demo]'"


def load(data: Any, split: str, seed: int) -> Bags:
  """The bags of the "train" or the "test" split.

  Args:
    data: `tasks` (some of "nine", "four", "seven", in order; none: all of
      them), `bags` (of a task, in training; half as many are for testing),
      `least` and `most` (instances of a bag).
    split: of the bags.
    seed: of the draw.

  Raises:
    UserError: scikit-learn is not installed, or there is no such task.
  """
  known = {name: digit for digit, name in NAMES.items()}
  tasks = tuple(data.tasks) or tuple(known)
  for task in tasks:
    if task not in known:
      raise UserError(
        f"--config.data.tasks has {task!r}; choose from {', '.join(known)}"
      )
  if not 1 <= data.least <= data.most:
    raise UserError(
      f"--config.data.least={data.least} and --config.data.most={data.most};"
      " expected 1 <= least <= most"
    )
  count = data.bags if split == "train" else max(data.bags // 2, 2)
  train = split == "train"
  # One stream of random numbers for each task, so that others change nothing.
  drawn = [
    _drawn(known[task], count, (data.least, data.most), [seed, train, i], train)
    for i, task in enumerate(tasks)
  ]
  reader = Drawn(tuple(bag for bags in drawn for bag in bags))
  labels = [
    2 * t + bag.positive for t, bags in enumerate(drawn) for bag in bags
  ]
  classes = {t: (f"without {t}", f"with {t}") for t in tasks}
  return Bags(
    reader,
    tasks,
    class_names(tasks, classes),
    np.array(labels, np.int32),
    CHANNELS,
    embedder=embed,
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Bag:
  """One bag.

  Attributes:
    task: the digit that is looked for.
    positive: whether it is there.
    scans: number of each instance's scan.
    labels: whether an instance is that digit.
    places: column and row of each instance.
  """

  task: int
  positive: bool
  scans: Int[np.ndarray, " n"]
  labels: Int[np.ndarray, " n"]
  places: Int[np.ndarray, "n 2"]


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
  """Reads bags that were drawn; see `bag_source.Reader`."""

  bags: tuple[Bag, ...]
  placed: bool = True

  @property
  def sizes(self) -> Int[np.ndarray, " b"]:
    """Instances of each bag."""
    return np.array([len(bag.scans) for bag in self.bags])

  def name(self, i: int) -> str:
    """Digit and number of a bag."""
    bag = self.bags[i]
    kind = "with" if bag.positive else "without"
    return f"{kind} {NAMES[bag.task]} {i:03d}"

  def read(self, i: int) -> Mapping[str, np.ndarray]:
    """Vectors, places and labels of a bag's instances."""
    bag = self.bags[i]
    scans, _ = _digits()
    vectors = (scans[bag.scans] - _mean()[None]) @ _components()
    return {"features": vectors, "coords": bag.places, "labels": bag.labels}

  def pictures(
    self, i: int, rows: Sequence[int]
  ) -> UInt8[np.ndarray, "r H W 3"]:
    """Scans of some instances, dark on light."""
    scans = _digits()[0][self.bags[i].scans[np.asarray(rows, int)]]
    grey = np.uint8(np.round(255 - scans.reshape(-1, _SCAN, _SCAN) * 255))
    large = grey.repeat(SIDE // _SCAN, axis=1).repeat(SIDE // _SCAN, axis=2)
    return np.repeat(large[..., None], 3, axis=-1)


def embed(
  images: UInt8[np.ndarray, "b H W 3"] | jax.Array,
) -> Float[jax.Array, "b c"]:
  """Vectors of pictures, on the device."""
  grey = jnp.mean(jnp.asarray(images, jnp.float32), axis=-1)
  side = grey.shape[1] // _SCAN
  cells = grey.reshape(-1, _SCAN, side, _SCAN, side).mean(axis=(2, 4))
  scans = 1 - cells.reshape(-1, _SCAN**2) / 255
  return (scans - _mean()[None]) @ _components()


def _drawn(
  digit: int, count: int, size: tuple[int, int], seed: list[int], train: bool
) -> list[Bag]:
  """Bags of a task; every second one is positive."""
  rng = np.random.default_rng([*map(int, seed), digit])
  background = np.concatenate([_of(d, train) for d in BACKGROUNDS[digit]])
  own = _of(digit, train)
  bags = []
  for number in range(count):
    n = int(rng.integers(size[0], size[1] + 1))
    scans, positive = rng.choice(background, n), number % 2 == 1
    places, labels = _grid(n), np.zeros(n, int)
    if positive:
      several = max(1, round(n * rng.uniform(*SHARE)))
      # Those nearest to a place at random lie together.
      off = places - places[rng.integers(n)][None]
      near = np.argsort((off**2).sum(axis=1), kind="stable")[:several]
      scans[near], labels[near] = rng.choice(own, several), 1
    bags.append(Bag(digit, positive, scans, labels, places))
  return bags


def _grid(count: int) -> Int[np.ndarray, "n 2"]:
  """Columns and rows of a square that is filled row by row."""
  side = int(np.ceil(np.sqrt(count)))
  number = np.arange(count)
  return np.stack([number % side, number // side], axis=1)


@functools.cache
def _digits() -> tuple[Float[np.ndarray, "N 64"], Int[np.ndarray, " N"]]:
  """All scans, between 0 and 1, and their digits."""
  try:
    from sklearn.datasets import load_digits
  except ImportError as error:
    raise UserError(f"the digits need scikit-learn: {_INSTALL}") from error
  found: Any = load_digits()
  scans = np.asarray(found.data / _MOST, np.float32)
  return scans, np.asarray(found.target)


@functools.cache
def _of(digit: int, train: bool) -> Int[np.ndarray, " n"]:
  """Numbers of the scans of a digit that are for one split."""
  rows = np.flatnonzero(_digits()[1] == digit)
  border = round(len(rows) * _TRAIN)
  return rows[:border] if train else rows[border:]


@functools.cache
def _training() -> Float[np.ndarray, "n 64"]:
  rows = np.concatenate([_of(digit, True) for digit in range(10)])
  return _digits()[0][rows]


@functools.cache
def _mean() -> Float[np.ndarray, " 64"]:
  return _training().mean(axis=0)


@functools.cache
def _components() -> Float[np.ndarray, "64 c"]:
  """Principal components of the training scans, scaled to mean variance 1."""
  centred = _training() - _mean()[None]
  _, values, right = np.linalg.svd(centred, full_matrices=False)
  spread = np.sqrt((values[:CHANNELS] ** 2).mean() / len(centred))
  return np.asarray(right[:CHANNELS].T / spread, np.float32)

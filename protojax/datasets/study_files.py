"""Volumes in files, each with a file of the classes of its voxels.

A module for each layout says which files belong together and what their values
mean; `checked` looks at all of them before anything is trained.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import functools
import os

from jaxtyping import Integer
import numpy as np

from protojax.data.source import printable
from protojax.datasets import image_check, volume_file
from protojax.datasets.slices import VOID, Study
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class Pair:
  """Paths of a volume and of its labels.

  Attributes:
    name: of the volume.
    image: a NIfTI file or the folder of a series.
    labels: a NIfTI file; '' if no class of the volume is wanted.
  """

  name: str
  image: str
  labels: str = ""


def checked(
  root: str, pairs: Sequence[Pair], classes: Mapping[int, int]
) -> list[Study]:
  """The studies of a layout.

  The result of the check is remembered by the files' sizes and times.

  Args:
    root: a folder that all files are in.
    pairs: in the order of the layout.
    classes: value of a voxel -> its class; `VOID` of voxels without one.

  Raises:
    UserError: there is none; labels are missing, have another shape, affine or
      orientation than their volume, or a value that is no class; names the
      first.
  """
  if not pairs:
    raise UserError(f"{root} holds no volume")
  for pair in pairs:
    if pair.labels and not os.path.exists(pair.labels):
      raise UserError(
        f"{printable(pair.image)} has no labels {printable(pair.labels)}: add"
        " them, or take the volume out"
      )
  of_labels = {p.labels: p for p in pairs if p.labels}
  image_check.require_right(
    root,
    [os.path.relpath(path, root) for path in of_labels],
    lambda path: _fault(of_labels[path], classes),
    ("labels", sorted(classes.items())),
    ("the labels ", "files of labels"),
  )
  return [study(pair, classes) for pair in pairs]


def study(pair: Pair, classes: Mapping[int, int]) -> Study:
  """One volume; `classes` as in `checked`."""
  read = functools.partial(read_classes, pair.labels, classes)
  space = volume_file.space(pair.image)
  # The axes of what is read may come in another order.
  order = [next(i for i, c in enumerate(space.codes) if c in p) for p in _RAS]
  return Study(
    pair.name,
    functools.partial(volume_file.read, pair.image),
    read if pair.labels else None,
    tuple(space.shape[i] for i in order),
    pair.image,
  )


_RAS = "RL", "AP", "SI"


def read_classes(
  path: str, classes: Mapping[int, int]
) -> Integer[np.ndarray, "x y z"]:
  """The class of each voxel of a file.

  Raises:
    UserError: a value is of no class, or the file cannot be read.
  """
  return translated(volume_file.read_classes(path), classes, path)


def translated(
  values: Integer[np.ndarray, "x y z"], classes: Mapping[int, int], path: str
) -> Integer[np.ndarray, "x y z"]:
  """Values of a file as classes.

  Raises:
    UserError: a value is of no class; names the file.
  """
  known = np.array(sorted(classes))
  place = np.searchsorted(known, values).clip(0, len(known) - 1)
  if np.any(strange := known[place] != values):
    found = ", ".join(map(str, np.unique(values[strange])[:5]))
    raise UserError(
      f"{printable(path)} has values without a class: {found}; there are"
      f" {', '.join(map(str, known))}"
    )
  return np.array([classes[v] for v in known.tolist()], np.uint8)[place]


def in_order(names: Sequence[str], void: int) -> dict[int, int]:
  """Value -> class where values are the classes in their order.

  Args:
    names: of the classes.
    void: value of voxels that have no class; -1: there is none.
  """
  found = {k: k for k in range(len(names))}
  return found if void < 0 else {void: VOID, **found}


def found(folder: str) -> dict[str, str]:
  """Name -> path of each volume in a folder, sorted; {} without the folder."""
  if not os.path.isdir(folder):
    return {}
  paths = (os.path.join(folder, name) for name in sorted(os.listdir(folder)))
  return {
    volume_file.stem(path): path
    for path in paths
    if not os.path.basename(path).startswith(".")
    and volume_file.is_volume(path)
  }


def paired(images: str, labels: str) -> list[Pair]:
  """Each volume of a folder with the labels of its name in another.

  Args:
    images: a folder.
    labels: a folder; '': no class is wanted.
  """
  if not labels:
    return [Pair(name, path) for name, path in found(images).items()]
  known = found(labels)
  return [
    Pair(name, path, known.get(name, os.path.join(labels, f"{name}.nii.gz")))
    for name, path in found(images).items()
  ]


def require_folder(root: str) -> str:
  """The path of `data.root`.

  Raises:
    UserError: it is no folder.
  """
  path = os.path.expanduser(root)
  if not os.path.isdir(path):
    raise UserError(f"--config.data.root={root} is no folder")
  return path


def one_of(names: Iterable[str], domain: str) -> str:
  """A domain that a layout has.

  Raises:
    UserError: it has no such domain.
  """
  known = tuple(names)
  if domain not in known:
    raise UserError(
      f"--config.data.domain={domain!r}: choose {' or '.join(known)}"
    )
  return domain


def _fault(pair: Pair, classes: Mapping[int, int]) -> str:
  """What is wrong with the labels of a volume, '' if nothing is."""
  try:
    own = volume_file.space(pair.labels)
    if unlike := own.unlike(volume_file.space(pair.image)):
      return (
        f"{unlike} as those of {printable(pair.image)}: save both on one grid"
      )
    read_classes(pair.labels, classes)
  except UserError as error:
    return str(error)
  return ""

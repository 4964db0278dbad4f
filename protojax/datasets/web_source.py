"""Image files of the web beside few-shot images, as FoPro reads them."""

from collections.abc import Sequence
import dataclasses
import os

from jaxtyping import Bool, Float, Int32
import numpy as np

from protojax.data import splits
from protojax.datasets import image_check
from protojax.datasets.files import Files
from protojax.types import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class WebFiles(Files):
  """A source of image files, some of which are few-shot images.

  Attributes:
    trusted: whether each is one.
    class_weights: of each class, for the loss; None where a list has none.
    truth: what each shows, -1 for none of the classes, -2 where nobody knows;
      None: nobody knows any.
  """

  trusted: Bool[np.ndarray, " n"] = dataclasses.field(
    default_factory=lambda: np.zeros(0, bool)
  )
  class_weights: Float[np.ndarray, " k"] | None = None
  truth: Int32[np.ndarray, " n"] | None = None


def together(
  web: Files, few: Files, weights: Float[np.ndarray, " k"] | None = None
) -> WebFiles:
  """The images of both, those of the web first.

  Names are relative to the folder that both lie in.
  """
  root = os.path.commonpath(
    [os.path.abspath(web.root), os.path.abspath(few.root)]
  )
  names = (
    os.path.relpath(os.path.join(os.path.abspath(source.root), name), root)
    for source in (web, few)
    for name in source.names
  )
  return WebFiles(
    root,
    tuple(names),
    np.concatenate([web.labels, few.labels]),
    web.class_names,
    web.skipped + few.skipped,
    np.arange(len(web) + len(few)) >= len(web),
    weights,
  )


def chosen(source: Files, rows: Sequence[int] | np.ndarray) -> Files:
  """Some of the images of a source."""
  rows = np.asarray(rows, int)
  return dataclasses.replace(
    source,
    names=tuple(source.names[i] for i in rows),
    labels=source.labels[rows],
  )


def drawn(source: Files, count: int, seed: int) -> Int32[np.ndarray, " c"]:
  """Positions of so many images of each class, drawn by their names.

  A draw of more images has those of fewer. A class with too few has all.
  """
  found = []
  for label in range(len(source.class_names)):
    own = np.flatnonzero(source.labels == label)
    ranked = sorted(own, key=lambda i: splits.draw(seed, source.names[i]))
    found += ranked[:count]
  return np.array(sorted(found), np.int32)


def read(
  root: str,
  names: Sequence[str],
  labels: Sequence[int],
  class_names: tuple[str, ...],
) -> Files:
  """Files of a list, without those that cannot be read.

  Args:
    root: the folder that the names are relative to.
    names: of the files.
    labels: class of each.
    class_names: index = label.

  Raises:
    UserError: none can be read.
  """
  root = os.path.expanduser(root)
  bad = image_check.unreadable(root, list(names))
  good = [i for i, name in enumerate(names) if name not in bad]
  if names and not good:
    name, why = next(iter(bad.items()))
    raise UserError(
      f"none of the {len(names)} listed images in {root} can be read, such as"
      f" {name} ({why}): is this the folder that the list is relative to?"
    )
  return Files(
    root,
    tuple(names[i] for i in good),
    np.array([labels[i] for i in good], np.int32),
    class_names,
    tuple(bad.items()),
  )

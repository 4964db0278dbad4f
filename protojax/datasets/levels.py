"""Finds the level of a folder or an archive that holds the splits or classes.

All is told from names: the images and folders below the top, with / between
folders. So `folder` and `class_folders` take the same for a class.
"""

from collections.abc import Collection, Iterable, Sequence
import dataclasses
import functools
import logging
import unicodedata

from protojax.data.source import printable
from protojax.types import UserError

_LOG = logging.getLogger(__name__)
_NAMED = 4  # folders in a message


@dataclasses.dataclass(frozen=True)
class Level:
  """Where the classes are.

  Attributes:
    home: the folder that holds the splits or the classes; '' is the top, others
      end in /.
    splits: folders of the training and the test split in `home`; none if it
      holds the classes themselves.
  """

  home: str
  splits: tuple[str, ...]


def find(
  title: str,
  images: Collection[str],
  folders: Collection[str],
  splits: tuple[str, str],
  way_out: str,
) -> Level:
  """Goes down from the top while there is a single folder of folders.

  Args:
    title: of the folder or archive, for messages.
    images: paths of all images.
    folders: paths of all folders.
    splits: names of the training and the test split, in small or capital
      letters.
    way_out: ends the message about a split that is not there: what to do.

  Raises:
    UserError: only one of the splits is there.
  """
  home = ""
  while True:
    inside = children(home, folders)
    found = [named(name, inside) for name in splits]
    if all(found):
      return Level(home, tuple(found))
    for one, other in (found, splits[1]), (found[::-1], splits[0]):
      # A folder "train" with images and no folders may be a class.
      if one[0] and children(f"{home}{one[0]}/", folders):
        raise UserError(
          f"{title} has {printable(home + one[0])}/ but no {other}/: add it, or"
          f" {way_out}"
        )
    held = _held(home, images)
    if len(held) != 1 or "" in held:
      return Level(home, ())
    (only,) = held
    deeper = f"{home}{only}/"
    if not any(name for name in _held(deeper, images)):
      return Level(home, ())
    home = deeper


def beside(level: Level, images: Iterable[str]) -> dict[str, str]:
  """Name -> reason of images and folders beside the splits or classes."""
  counts: dict[str, int] = {}
  for name in images:
    if name.startswith(level.home):
      first, _, rest = name.removeprefix(level.home).partition("/")
      if not rest or (level.splits and first not in level.splits):
        counts[first] = counts.get(first, 0) + bool(rest)
      elif level.splits and "/" not in rest:
        counts[f"{first}/{rest}"] = 0
  what = "splits" if level.splits else "classes"
  return {
    name: f"{count} images beside the splits, not read"
    if count
    else f"beside the folders of the {'classes' if '/' in name else what}"
    for name, count in counts.items()
  }


def classes(
  title: str,
  home: str,
  images: Iterable[str],
  folders: Collection[str],
  way_out: str,
  tables: Sequence[str] = (),
) -> dict[str, list[str]]:
  """Class -> its images, both sorted; warns of names that look alike.

  Args:
    title: of the folder or archive, for messages.
    home: the folder that holds the classes; '' or with / at its end.
    images: paths of all images.
    folders: paths of all folders.
    way_out: ends the message about folders of folders: what to do.
    tables: names of tables beside the images, which are not read.

  Raises:
    UserError: there are fewer than two classes, one has no image, or some are
      folders of folders.
  """
  where = printable(f"{title}/{home}".rstrip("/"))
  held = _held(home, images)
  found = {name: held.get(name, []) for name in children(home, folders)}
  beside = f" and {len(held[''])} images" if "" in held else ""
  unread = f"; {printable(tables[0])} is not read" if tables else ""
  if not found:
    raise UserError(
      f"no class folder in {where}{beside}: expected {where}/<class>/ with"
      f" images in it{unread}"
    )
  grouped = [name for name in found if is_group(f"{home}{name}/", found[name])]
  if grouped:
    below = _held(f"{home}{grouped[0]}/", found[grouped[0]])
    raise UserError(
      f"{_listed(grouped)} in {where} cannot be classes, because they hold"
      f" folders of images ({_listed(below)}): {way_out}"
    )
  if len(found) < 2:
    ((name, inside),) = found.items()
    raise UserError(
      f"{where} has one folder only, {printable(name)} with {len(inside)}"
      f" images{beside}: two classes or more are needed,"
      f" each with a folder of its own there{unread}"
    )
  for name, inside in found.items():
    if not inside:
      raise UserError(
        f"class {printable(name)!r} has no image: add images to"
        f" {where}/{printable(name)} or remove it"
      )
  _say_alike(title, tuple(found))
  return found


def require_same(
  title: str, splits: Sequence[str], folders: Collection[str]
) -> None:
  """Requires the same classes in both splits.

  Raises:
    UserError: a class is in one of them only.
  """
  train, test = (set(children(f"{split}/", folders)) for split in splits)
  differing = train ^ test
  alike = len(set(map(_looks, differing))) < len(differing)
  show = ascii if alike else printable
  only = [
    f"only in {printable(split)}: {', '.join(map(show, sorted(names)))}"
    for split, names in zip(splits, (train - test, test - train), strict=True)
    if names
  ]
  if only:
    raise UserError(
      f"the splits of {title} differ in classes ({'; '.join(only)}); each class"
      " needs a folder with images in both"
    )


def children(home: str, folders: Iterable[str]) -> list[str]:
  """Names of the folders in a folder, sorted."""
  inside = (f.removeprefix(home) for f in folders if f.startswith(home))
  return sorted(name for name in inside if name and "/" not in name)


def named(name: str, found: Collection[str]) -> str:
  """The folder of a name, in small or capital letters; '' if there is none."""
  if name in found:
    return name
  return next((f for f in found if f.casefold() == name.casefold()), "")


def is_group(home: str, images: Sequence[str]) -> bool:
  """True if most of the images lie in several folders of `home`."""
  held = _held(home, images)
  own = len(held.pop("", ()))
  return len(held) > 1 and own < len(images) - own


def _held(home: str, images: Iterable[str]) -> dict[str, list[str]]:
  """Folder in `home`, '' for `home` itself -> the images below, sorted."""
  held: dict[str, list[str]] = {}
  for path in sorted(images):
    if path.startswith(home):
      folder, _, rest = path.removeprefix(home).partition("/")
      held.setdefault(folder if rest else "", []).append(path)
  return held


@functools.cache
def _say_alike(title: str, names: tuple[str, ...]) -> None:
  """Warns once of classes that a reader may take for one."""
  groups: dict[str, list[str]] = {}
  for name in names:
    groups.setdefault(_looks(name), []).append(name)
  alike = [_told_apart(group) for group in groups.values() if len(group) > 1]
  if alike:
    more = f" (and {len(alike) - _NAMED} more)" if len(alike) > _NAMED else ""
    _LOG.warning(
      "%s has classes whose names differ only in capitals, blanks around them"
      " or the coding of accents: %s%s; they stay separate",
      title,
      "; ".join(alike[:_NAMED]),
      more,
    )


def _looks(name: str) -> str:
  return unicodedata.normalize("NFC", name.strip().casefold())


def _told_apart(names: Sequence[str]) -> str:
  """Names in quotation marks, with escapes where these alone differ."""
  quoted = [repr(printable(name)) for name in names]
  if len({unicodedata.normalize("NFC", name) for name in names}) < len(names):
    quoted = [ascii(printable(name)) for name in names]
  return ", ".join(quoted)


def _listed(names: Iterable[str]) -> str:
  names = [printable(name) or "." for name in names]
  more = ", ..." if len(names) > _NAMED else ""
  return ", ".join(names[:_NAMED]) + more

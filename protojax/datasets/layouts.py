"""Finds the images and masks of a data set of defects, in any of four layouts.

- MVTec-AD: CATEGORY/{train/good,test/KIND,ground_truth/KIND}, or one such
  category alone;
- VisA: CATEGORY/Data/{Images,Masks} with the list split_csv/1cls.csv;
- Real-IAD: realiad_1024/CATEGORY (or 512, or 256) with the lists
  realiad_jsons/CATEGORY.json;
- plain: KIND/*, where one folder is called good, normal, ok or free. The mask
  of a defective image lies beside it or in ground_truth/KIND.

Each may lie below further folders, if each of these is alone in its own, and
splits may have capitals. `read` knows the layout by these names and gives a
collection, of which `anomalies` draws splits. A mask has the name of its image,
with or without _mask at the end.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
import functools
import itertools
import logging
import os
from typing import Any, NotRequired, TypedDict

from protojax import csv_files, json_files
from protojax.datasets import files, levels, walk
from protojax.datasets.collection import NORMAL, Entry, FileCollection
from protojax.shown import shown
from protojax.types import UserError

_LOG = logging.getLogger(__name__)
_NORMAL = frozenset(("good", "normal", "ok", "free"))
_TRUTH = "ground_truth"

_REAL_IAD = (
  "a list of Real-IAD has meta, train and test, each image with anomaly_class"
  " and image_path"
)


class _Meta(TypedDict):
  normal_class: str
  prefix: NotRequired[str]


class _Image(TypedDict):
  anomaly_class: str
  image_path: str
  mask_path: NotRequired[str | None]


class _Lists(TypedDict):
  """A list of Real-IAD, of one category."""

  meta: _Meta
  train: list[_Image]
  test: list[_Image]


_Found = Iterator[tuple[Entry, str]]  # image, path of its mask


def read(root: str) -> FileCollection:
  """Lists the images of a folder in any of the layouts; reads none of them.

  Args:
    root: an existing folder.

  Raises:
    UserError: the layout is not known, or a list in it is not as expected.
  """
  layout, root = _layout(root)
  found = sorted(
    layout(root),
    key=lambda pair: (pair[0].category, pair[0].kind != NORMAL, pair[0].name),
  )
  if not found:
    raise UserError(f"no image in {root}")
  names = [entry.name for entry, _ in found]
  if len(set(names)) < len(names):
    twice = next(a for a, b in itertools.pairwise(sorted(names)) if a == b)
    raise UserError(f"{root} lists {twice:.200} twice")
  found, skipped = _once(root, found)
  if layout in (_mvtec_set, _plain):
    skipped |= _unread(root, found, skipped)
  entries, masks = zip(*found, strict=True)
  for entry in entries:
    if entry.split == "train" and entry.kind != NORMAL:
      raise UserError(
        f"{root} has {entry.name:.200} for training, which is"
        f" {shown(entry.kind)}: only"
        " normal images are trained on, such as those in train/good"
      )
  return FileCollection(root, entries, masks, skipped=tuple(skipped.items()))


def _once(
  root: str, found: Sequence[tuple[Entry, str]]
) -> tuple[list[tuple[Entry, str]], dict[str, str]]:
  """Each image once, and name -> reason of what is passed over."""
  paths = {os.path.join(root, entry.name): (entry, m) for entry, m in found}
  kept, links = walk.once(paths, root)
  used = [*kept, *(os.path.join(root, paths[path][1]) for path in kept)]
  _, skipped = files.below(root)
  folders = [
    path
    for path in skipped
    if os.path.isdir(path) and not any(_is_in(path, name) for name in used)
  ]
  # Of a folder that is passed over, the images are not named.
  skipped = {
    path: why
    for path, why in (*skipped.items(), *links)
    if path in folders
    or not (os.path.isdir(path) or any(_is_in(f, path) for f in folders))
  }
  return [paths[path] for path in kept], {
    os.path.relpath(path, root): why for path, why in skipped.items()
  }


def _is_in(folder: str, path: str) -> bool:
  return path.startswith(folder + os.sep)


def _unread(
  root: str, found: Sequence[tuple[Entry, str]], skipped: Container[str]
) -> dict[str, str]:
  """Folder -> how many images in it are neither listed nor masks."""
  known = (name for entry, mask in found for name in (entry.name, mask))
  stems = {os.path.splitext(name)[0] for name in known}
  counts: dict[str, int] = {}
  for path in files.below(root)[0]:
    name = os.path.relpath(path, root)
    stem = os.path.splitext(name)[0]
    is_mask = stem.endswith("_mask") or _TRUTH in name.lower()
    if name not in skipped and stem not in stems and not is_mask:
      folder = os.path.dirname(name) or os.curdir
      counts[folder] = counts.get(folder, 0) + 1
  return {
    folder: f"{count} images of no category, split or kind"
    for folder, count in counts.items()
  }


def _layout(root: str) -> tuple[Callable[[str], _Found], str]:
  """How to list a folder, and the folder: there may be others around it."""
  top = root
  seen: set[str] = set()
  while os.path.realpath(root) not in seen:
    seen.add(os.path.realpath(root))
    known = _known(root)
    if known:
      if root != top:
        _say(top, root)
      return known, root
    held = [f for f in files.folders(root) if files.below(_join(root, f))[0]]
    if len(held) != 1:
      break
    root = os.path.join(root, held[0])
  inside = ", ".join(files.folders(top)[:4]) or "no folder"
  raise UserError(
    f"{top} is not laid out as a data set of defects, it has {inside}: expected"
    " CATEGORY/train/good and CATEGORY/test/KIND (MVTec-AD), split_csv/1cls.csv"
    " (VisA), realiad_jsons (Real-IAD), or folders of images one of which is"
    f" called {', '.join(sorted(_NORMAL))}"
  )


@functools.cache
def _say(top: str, root: str) -> None:
  _LOG.warning("%s has one way down only: %s is read", top, root)


def _known(root: str) -> Callable[[str], _Found] | None:
  inside = files.folders(root)
  if "realiad_jsons" in inside:
    return _real_iad
  if os.path.exists(os.path.join(root, "split_csv", "1cls.csv")):
    return _visa
  if any(os.path.isdir(os.path.join(root, f, "Data/Images")) for f in inside):
    raise UserError(
      f"{root} looks like VisA and has no split_csv/1cls.csv: put that list of"
      " its splits there"
    )
  if any(
    _is_mvtec(place) for place in (root, *(_join(root, f) for f in inside))
  ):
    return _mvtec_set
  return _plain if _normal_folders(inside) else None


def _mvtec_set(root: str) -> _Found:
  """One category, or a folder of categories."""
  if _is_mvtec(root):
    yield from _mvtec(root, "", _basename(root))
    return
  for name in files.folders(root):
    if _is_mvtec(_join(root, name)):
      yield from _mvtec(root, name, name)


def _mvtec(root: str, prefix: str, category: str) -> _Found:
  truth = _named(_join(root, prefix), _TRUTH) or _TRUTH
  for split in ("train", "test"):
    found = _named(_join(root, prefix), split)
    where = os.path.join(root, prefix, found)
    for folder in files.folders(where) if found else ():
      kind = NORMAL if folder.lower() in _NORMAL else folder
      images = os.path.join(prefix, found, folder)
      mask_of = _masks(root, os.path.join(prefix, truth, folder))
      for stem, name in _below(root, images):
        mask = "" if kind == NORMAL else mask_of(stem)
        yield Entry(name, category, kind, split), mask


def _visa(root: str) -> _Found:
  path = os.path.join(root, "split_csv", "1cls.csv")
  columns = ("object", "split", "label", "image", "mask")
  for number, row in csv_files.read(path).rows:
    if any(column not in row for column in columns):
      raise UserError(
        f"{path} line {number} lacks one of the columns {', '.join(columns)}"
      )
    kind, split, mask = row["label"], row["split"], row["mask"]
    if split not in ("train", "test"):
      raise UserError(f"{path} line {number} has the split {split!r}")
    if kind != NORMAL and not mask:
      raise UserError(f"{path} line {number} has no mask for a defective image")
    mask = "" if kind == NORMAL else _native(mask)
    yield Entry(_native(row["image"]), row["object"], kind, split), mask


def _real_iad(root: str) -> _Found:
  lists = os.path.join(root, "realiad_jsons")
  if "realiad_jsons" in files.folders(lists):  # the archive unpacks so
    lists = os.path.join(lists, "realiad_jsons")
  names = [f for f in sorted(os.listdir(lists)) if f.endswith(".json")]
  if not names:
    raise UserError(f"{lists} has no CATEGORY.json, the lists of Real-IAD")
  for name in names:
    path = os.path.join(lists, name)
    content = json_files.read_json(path, _Lists, _REAL_IAD)
    yield from _real_iad_category(root, name[: -len(".json")], content)


def _real_iad_category(root: str, category: str, content: Any) -> _Found:
  meta = content["meta"]
  first = (content["train"] + content["test"])[:1]
  home = _home(root, (meta.get("prefix", ""), category), first)
  for split in ("train", "test"):
    for item in content[split]:
      normal = item["anomaly_class"] == meta["normal_class"]
      kind = NORMAL if normal else item["anomaly_class"]
      name = os.path.join(home, _native(item["image_path"]))
      mask = item.get("mask_path")
      beside = f"{os.path.splitext(name)[0]}.png"
      mask = os.path.join(home, _native(mask)) if mask else beside
      yield Entry(name, category, kind, split), "" if normal else mask


def _home(root: str, prefixes: Sequence[str], first: Sequence[dict]) -> str:
  """Folder of the largest images of a category of Real-IAD."""
  sizes = [f for f in files.folders(root) if f != "realiad_jsons"]
  sizes.sort(key=lambda f: int("0" + "".join(filter(str.isdigit, f))))
  for prefix in prefixes:
    for size in (*sizes[::-1], ""):
      home = os.path.normpath(os.path.join(size, _native(prefix)))
      paths = (_native(item["image_path"]) for item in first)
      if all(os.path.exists(os.path.join(root, home, path)) for path in paths):
        return home
  return _native(prefixes[0])


def _plain(root: str) -> _Found:
  folders = files.folders(root)
  normal = _normal_folders(folders)
  if len(normal) > 1:
    raise UserError(
      f"{root} has {' and '.join(normal)}: one folder holds the normal images"
    )
  truth = levels.named(_TRUTH, folders)
  kinds = [folder for folder in folders if folder != truth]
  if len(kinds) < 2:
    raise UserError(
      f"{root} has {normal[0]}/ only: a folder of images of each kind of defect"
      " must lie beside it, to test on"
    )
  for folder in kinds:
    found = list(_below(root, folder))
    names = [name.replace(os.sep, "/") for _, name in found]
    if levels.is_group(f"{folder}/", names):
      raise UserError(
        f"{os.path.join(root, folder)} cannot be one kind of images, because it"
        " holds folders of images: name the folder whose folders are the kinds"
        " with --config.data.root=DIR, or take the images out of their folders"
      )
    images, beside = _without_masks(found)
    elsewhere = _masks(root, os.path.join(truth or _TRUTH, folder), folder)
    kind = NORMAL if folder in normal else folder
    for stem, name in images:
      if kind == NORMAL:
        yield Entry(name, _basename(root), kind, ""), ""
      else:
        mask = beside.get(name) or elsewhere(stem)
        yield Entry(name, _basename(root), kind, "test"), mask


def _without_masks(
  found: Iterable[tuple[str, str]],
) -> tuple[list[tuple[str, str]], dict[str, str]]:
  """Tells images from masks: (stem, name) of images; image -> its mask."""
  found = list(found)
  by_stem: dict[str, list[str]] = {}
  for stem, name in found:
    by_stem.setdefault(stem, []).append(name)
  masks = {}
  for stem, names in by_stem.items():
    # Of two files with one stem, the PNG is the mask.
    same = [n for n in names if n.lower().endswith(".png")]
    same = same if len(same) < len(names) else []
    for name in (n for n in names if n not in same):
      for mask in (*same, *by_stem.get(f"{stem}_mask", ()))[:1]:
        masks[name] = mask
  taken = set(masks.values())
  return [pair for pair in found if pair[1] not in taken], masks


def _masks(root: str, folder: str, expected: str = "") -> Callable[[str], str]:
  """Returns a function: stem of an image -> path of its mask, there or not.

  Args:
    root: of the data set.
    folder: of the masks of one kind, which need not exist.
    expected: folder where a missing mask should lie; `folder` if ''.
  """
  present = dict(_below(root, folder))

  def mask(stem: str) -> str:
    missing = os.path.join(expected or folder, f"{stem}_mask.png")
    return present.get(f"{stem}_mask") or present.get(stem) or missing

  return mask


def _below(root: str, folder: str) -> Iterator[tuple[str, str]]:
  """(path in the folder without suffix, path in the root) of each image."""
  where = os.path.join(root, folder)
  for path in files.below(where)[0]:
    stem = os.path.splitext(os.path.relpath(path, where))[0]
    yield stem, os.path.relpath(path, root)


def _normal_folders(names: Iterable[str]) -> list[str]:
  return [name for name in names if name.lower() in _NORMAL]


def _is_mvtec(path: str) -> bool:
  found = (_named(path, split) for split in ("train", "test"))
  return any(
    _normal_folders(files.folders(os.path.join(path, name)))
    for name in found
    if name
  )


def _named(path: str, name: str) -> str:
  return levels.named(name, files.folders(path))


def _join(root: str, name: str) -> str:
  return os.path.join(root, name) if name else root


def _basename(root: str) -> str:
  return os.path.basename(os.path.realpath(root))


def _native(path: str) -> str:
  # Lists from Windows have backslashes.
  return os.path.normpath(path.replace("\\", "/"))

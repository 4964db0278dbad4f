"""Finds the unreadable images of a folder when it is opened, before training.

Threads decode every image once. The user's cache keeps the result by path, size
and time of change, so that the next start is quick.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
import functools
import hashlib
import json
import logging
import os
from pathlib import Path

from protojax import json_files, parallel
from protojax.data import images
from protojax.data.source import printable
from protojax.types import UserError
from protojax.writing import replacing

_LOG = logging.getLogger(__name__)
_VERSION = 2  # goes up when other files are taken for readable
_MANY = 5000  # images; to check more takes so long that it is announced


def unreadable(
  root: str,
  names: Sequence[str],
  reason: Callable[[str], str] | None = None,
  kind: str = "image",
) -> dict[str, str]:
  """The images that cannot be decoded.

  Args:
    root: the folder the names are relative to.
    names: image files, as paths relative to `root`.
    reason: path of a file -> what is wrong with it, or ''; decodes by default.
    kind: of the check; results of one kind are remembered together.

  Returns:
    Name -> reason, for the unreadable images only.
  """
  reason = reason or _reason
  cache = _cache_path(root, kind)
  known = _recall(cache)
  stamps = {name: _stamp(os.path.join(root, name)) for name in names}
  fresh = [n for n in names if n not in known or known[n][0] != stamps[n]]
  if len(fresh) > _MANY:
    _LOG.warning("checking %d images in %s, this once", len(fresh), root)
  paths = [os.path.join(root, name) for name in fresh]
  with futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
    reasons = list(pool.map(functools.partial(_why, reason), paths))
  for name, found in zip(fresh, reasons, strict=True):
    known[name] = (stamps[name], found)
  if fresh:
    _remember(cache, known)
  return {n: known[n][1] for n in names if known[n][1]}


def require_right(
  root: str,
  names: Sequence[str],
  reason: Callable[[str], str],
  kind: tuple[str, object],
  files: tuple[str, str],
) -> None:
  """Refuses a folder in which files of the truth are wrong.

  Args:
    root: the folder the names are relative to.
    names: of files, as paths relative to `root`.
    reason: path of a file -> what is wrong with it, or ''.
    kind: of the check, and what its result rests on beside the files.
    files: what stands before the first one's path, and what several are called.

  Raises:
    UserError: says what is wrong with the first, and how many are wrong.
  """
  name, rests_on = kind
  digest = hashlib.blake2b(repr(rests_on).encode(), digest_size=8).hexdigest()
  wrong = unreadable(root, names, reason, f"{name} {digest}")
  if wrong:
    first, why = next(iter(wrong.items()))
    before, several = files
    others = f" ({len(wrong)} {several} are wrong)" if len(wrong) > 1 else ""
    path = os.path.join(root, printable(first))
    raise UserError(f"{before}{path}: {why}{others}")


def _stamp(path: str) -> list[int]:
  try:
    status = os.stat(path)
  except OSError:  # a broken link: decoding reports it
    return [-1, -1]
  return [status.st_size, status.st_mtime_ns]


def _reason(path: str) -> str:
  try:
    images.decode(path)
  except ValueError as e:
    return str(e)
  return ""


def _why(reason: Callable[[str], str], path: str) -> str:
  found = reason(path)
  empty = found and os.path.isfile(path) and not os.path.getsize(path)
  return "empty file" if empty else found


def _cache_path(root: str, kind: str) -> Path:
  text = f"{_VERSION} {kind} {os.path.realpath(root)}"
  key = hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()
  return parallel.cache_dir() / "checked" / f"{key}.json"


def _recall(cache: Path) -> dict[str, tuple[list, str]]:
  # The cache only saves time: if it is lost, the images are checked again.
  try:
    known = json_files.read_json(cache, dict[str, list])
    return {n: (s, r) for n, (s, r) in known.items() if isinstance(r, str)}
  except (UserError, ValueError):
    return {}


def _remember(cache: Path, known: dict[str, tuple[list, str]]) -> None:
  try:
    with replacing(cache) as file:
      json.dump(known, file)
  except UserError as e:
    _LOG.info("the check of the images is not remembered: %s", e)

"""Assets: frozen trees that a model reads and no stage changes.

A pretrained backbone, an autoencoder, a text tower, a trained run that another
method builds on. A checkpoint holds the digest of each asset and not its
arrays, so a frozen backbone of 300 million parameters is written once or never,
has no gradient and no moments, and lies once on each device.

A method declares its assets by name. What can be made again, such as weights of
a package, is made at every start and compared with the digest. What cannot is
written to WORKDIR/assets/DIGEST.npz.
"""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
from pathlib import Path
from typing import Any
import zipfile

import jax
import numpy as np

from protojax import parallel, text_files, writing
from protojax.engine.checkpoint import Checkpoints, flatten, unflatten
from protojax.types import ArrayLike, PyTree, UserError


@dataclasses.dataclass(frozen=True)
class Asset:
  """How a frozen tree is made.

  Attributes:
    make: the tree. A run calls it at its start; if it fails, the run does.
      None: a stage makes it (`stage.Pass`), and until then it is not there.
    shapes: the tree of its shapes (`jax.ShapeDtypeStruct`); reads nothing.
    kept: write the tree into the workdir, since `make` cannot give it again: it
      is random, or a file that may go.
    earlier: entry of the tree -> where checkpoints of runs before there were
      assets have it, such as {"params": "params.backbone"}.
  """

  make: Callable[[], PyTree] | None
  shapes: Callable[[], PyTree]
  kept: bool = False
  earlier: Mapping[str, str] = dataclasses.field(default_factory=dict)


Assets = Mapping[str, Asset]


def found(
  declared: Assets,
  workdir: Path,
  digests: Mapping[str, str],
  arrays: Mapping[str, ArrayLike],
) -> dict[str, PyTree]:
  """The assets of a run, as NumPy.

  Args:
    declared: by the method.
    workdir: of the run.
    digests: of each asset, from its checkpoint; without an entry the asset is
      made.
    arrays: of its checkpoint, for runs from before there were assets.

  Raises:
    UserError: an asset is not the one that the run was trained with.
  """
  return {
    name: _of_run(name, asset, workdir, digests.get(name, ""), arrays)
    for name, asset in declared.items()
    if name in digests or asset.make is not None
  }


def at_start(
  declared: Assets,
  workdir: Path,
  digests: Mapping[str, str],
  arrays: Mapping[str, ArrayLike],
  init_from: str = "",
) -> tuple[dict[str, PyTree], dict[str, str]]:
  """The assets of a run that begins or goes on, and their digests.

  Writes those that could not be had again later.

  Args:
    declared, workdir, digests, arrays: see `found`.
    init_from: workdir of a run whose assets a new run takes over; '' for none.
  """
  theirs = {} if digests or arrays else taken_over(declared, init_from)
  own = {name: a for name, a in declared.items() if name not in theirs}
  trees = {**theirs, **found(own, workdir, digests, arrays)}
  # `found` has compared those of the checkpoint with their trees.
  numbers = {n: digests.get(n) or digest(tree) for n, tree in trees.items()}
  _require_same(numbers)
  for name, tree in trees.items():
    if declared[name].kept or name in theirs or _earlier(own[name], arrays):
      _write(_path(workdir, numbers[name]), tree)
  return trees, numbers


def of_stage(
  declared: Assets, workdir: Path, stage_id: str, made: Mapping[str, PyTree]
) -> dict[str, str]:
  """Writes the assets that a stage has made; returns their digests.

  Raises:
    ValueError: one has another name, or other shapes, than was declared.
    UserError: they cannot be written, or processes have made different ones.
  """
  for name, tree in made.items():
    if name not in declared:
      raise ValueError(
        f"{stage_id} makes the asset {name!r}; declared are"
        f" {', '.join(declared) or 'none'}"
      )
    _fitted(name, declared[name], flatten(tree))
  numbers = {name: digest(tree) for name, tree in made.items()}
  _require_same(numbers)
  for name, tree in made.items():
    _write(_path(workdir, numbers[name]), tree)
  return numbers


def _write(path: Path, tree: PyTree) -> None:
  """Writes an asset, unless it is there; the primary process does."""
  if path.exists() or not parallel.is_primary():
    return
  arrays: dict[str, Any] = flatten(tree)
  with writing.replacing(path, "wb") as file:
    np.savez(file, **arrays)


def _require_same(digests: Mapping[str, str]) -> None:
  """Requires that all processes found the same assets."""
  for name, number in digests.items():
    if not parallel.same_everywhere(bytes.fromhex(number)):
      raise UserError(
        f"{name!r} is not the same in all processes: give each the same weights"
        " (--config.backbone.weights), and the same packages."
      )


def taken_over(declared: Assets, init_from: str) -> dict[str, PyTree]:
  """The assets that another run has, too; what is trained upon them needs them.

  Args:
    declared: by the method of the new run.
    init_from: workdir of the other run; '' for none.

  Raises:
    UserError: an asset of the other run has other shapes.
  """
  if not init_from or not declared:
    return {}
  checkpoints = Checkpoints(Path(init_from))
  progress, arrays = checkpoints.restore()
  checkpoints.close()
  theirs = {
    name: asset
    for name, asset in declared.items()
    if name in progress.assets or _earlier(asset, arrays)
  }
  try:
    return found(theirs, Path(init_from), progress.assets, arrays)
  except UserError as error:
    raise UserError(f"--init-from={init_from}: {error}") from error


def shapes(declared: Assets) -> dict[str, PyTree]:
  """Trees of the assets' shapes; nothing is read."""
  return {name: asset.shapes() for name, asset in declared.items()}


def digest(tree: PyTree) -> str:
  """32 hexadecimal digits that identify a tree: names, types, shapes, bits."""
  state = hashlib.blake2b(digest_size=16)
  for name, array in flatten(tree).items():
    state.update(f"{name} {array.dtype} {array.shape} ".encode())
    state.update(np.ascontiguousarray(array).data)
  return state.hexdigest()


def size(tree: PyTree) -> int:
  """Bytes of a tree, or of a tree of shapes: once on each device."""
  return sum(
    int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(tree)
  )


def _of_run(
  name: str,
  asset: Asset,
  workdir: Path,
  wanted: str,
  arrays: Mapping[str, ArrayLike],
) -> PyTree:
  path = _path(workdir, wanted)
  if wanted and path.exists():
    tree = _read(name, asset, path)
  elif earlier := _earlier(asset, arrays):
    tree = _fitted(name, asset, earlier)
  elif asset.make is not None:
    tree = parallel.to_host(asset.make())
  else:
    raise UserError(
      f"{path} is missing; restore it, or train anew with another --workdir."
    )
  if wanted and digest(tree) != wanted:
    raise UserError(
      f"{name!r} is not what this run was trained with (digest"
      f" {digest(tree)[:8]}, not {wanted[:8]}): restore its weights or"
      f" {path}, or train anew with another --workdir."
    )
  return tree


def _path(workdir: Path, number: str) -> Path:
  return Path(workdir) / "assets" / f"{number}.npz"


def _read(name: str, asset: Asset, path: Path) -> PyTree:
  try:
    with (
      text_files.opened(path) as raw,
      np.load(raw, allow_pickle=False) as file,
    ):
      arrays = dict(file)
  except (UserError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{path} is damaged ({writing.first_line(error)}); restore it, or train"
      " anew with another --workdir."
    ) from error
  return _fitted(name, asset, arrays)


def _earlier(asset: Asset, arrays: Mapping[str, ArrayLike]) -> dict[str, Any]:
  """The asset's arrays by name, in a checkpoint from before assets."""
  renamed = {}
  for entry, place in asset.earlier.items():
    start = f"state.{place}."
    for name, array in arrays.items():
      if name.startswith(start):
        renamed[f"{entry}.{name.removeprefix(start)}"] = array
  return renamed


def _fitted(name: str, asset: Asset, arrays: Mapping[str, ArrayLike]) -> PyTree:
  try:
    return unflatten(asset.shapes(), arrays)
  except UserError as error:
    raise UserError(
      f"{name!r} is of another network than the config's: {error}"
    ) from error

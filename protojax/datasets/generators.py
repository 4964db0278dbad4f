"""Folders of real and generated images, sorted by generator.

  root/<generator>/real/*          root/<generator>/fake/*

Beside real and fake, the names of the benchmarks are known: 0_real and 1_fake
(ForenSynths, UniversalFakeDetect, Chameleon), nature and ai (GenImage). They
may lie below further folders, such as those of classes. The splits may have
folders, too, above or below the generator; else whole generators are held out
for testing. Generators without real images of their own (SynthBuster) share
those of one folder, which is named.
"""

from collections.abc import Sequence
import dataclasses
import logging
import os
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Int32
import numpy as np

from protojax.data import splits as splits_lib
from protojax.data.fields import Field, Group, Label, Pixels
from protojax.datasets import files, image_check
from protojax.datasets.files import Files
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
CLASS_NAMES = ("real", "generated")
FIELDS: dict[str, Field] = {
  "image": Pixels(),
  "label": Label(),
  "generator": Group(),
}

_LOG = logging.getLogger(__name__)
# Names of folders, in small letters.
_REAL = ("real", "0_real", "nature")
_FAKE = ("fake", "1_fake", "ai", "generated")


@dataclasses.dataclass(frozen=True, eq=False)
class Generators(Files):
  """A source of image files with the generator of each.

  Attributes:
    groups: generator of each image; of a real one, that it is compared with.
    generator_names: by group.
  """

  groups: Int32[np.ndarray, " n"] = dataclasses.field(
    default_factory=lambda: np.zeros(0, np.int32)
  )
  generator_names: tuple[str, ...] = ()
  fields: ClassVar[dict[str, Field]] = FIELDS


class _Image(NamedTuple):
  """An image by the names of its folders.

  Attributes:
    file: path relative to the root.
    generator: '' if the root itself is the generator's folder.
    label: 0 real, 1 generated.
    split: name of the split's folder in small letters; '' for none.
  """

  file: str
  generator: str
  label: int
  split: str


def load(data: Any, split: str, seed: int) -> Generators:
  """Opens the training or test split that a config names.

  Args:
    data: `root`; `train`, `test` (names of the splits' folders); `test_root`, a
      folder of test images alone, '' for none; `real`, the folder of real
      images that generators without any share, '' for none; `held_out`, names
      of the generators to test on, () draws `test_fraction` of them.
    split: "train" or "test".
    seed: draws generators.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  folders = data.train.lower(), data.test.lower()
  apart = split == "test" and data.test_root
  root = os.path.expanduser(data.test_root if apart else data.root)
  found = _listed(root, folders, data.real)
  known = {image.split for image in found}
  if data.test_root or known >= set(folders):
    wanted = folders[split == "test"]
    if wanted in known:
      found = [image for image in found if image.split == wanted]
    return _opened(root, _shared(found, data.real))
  held = _held_out(root, found, data, seed)
  dealt = _shared(found, data.real, deal=True)
  return _opened(
    root, [i for i in dealt if (i.generator in held) == (split == "test")]
  )


def _listed(root: str, splits: tuple[str, str], real: str) -> list[_Image]:
  if not root:
    raise UserError("no folder of images given: set --config.data.root=DIR")
  if not os.path.isdir(root):
    raise UserError(f"{root} is no folder: set --config.data.root=DIR")
  paths, _ = files.below(root)
  found, lost = [], []
  for path in paths:
    name = os.path.relpath(path, root)
    image = _of_folders(name, splits, real.lower())
    (found if image else lost).append(image or name)
  if not found:
    raise UserError(
      f"{root} has no folders of real and generated images: give"
      " DIR/<generator>/real/* and DIR/<generator>/fake/*, or name the folder"
      " of real images with --config.data.real=NAME"
    )
  if lost:
    _LOG.warning(
      "%s images in %s lie below no folder such as real or fake and are left"
      " out, such as %s",
      f"{len(lost):,}",
      root,
      lost[0],
    )
  return found


def _of_folders(file: str, splits: tuple[str, str], real: str) -> _Image | None:
  """What the folders of an image say of it; None if nothing."""
  folders = os.path.dirname(file).split(os.sep)
  low = [name.lower() for name in folders]
  labels = [n in _FAKE for n in low if n in _REAL + _FAKE]
  split = next((n for n in low if n in splits), "")
  rest = [
    name
    for name, small in zip(folders, low, strict=True)
    if small not in (*splits, *_REAL, *_FAKE, "")
  ]
  generator = rest[0] if rest else ""
  if labels:
    return _Image(file, generator, int(labels[-1]), split)
  if real and rest:
    return _Image(file, generator, int(generator.lower() != real), split)
  return None


def _shared(
  found: Sequence[_Image], real: str, deal: bool = False
) -> list[_Image]:
  """The images, those of the shared real folder given to generators.

  Without a draw, each generator is compared with all of them, as in the
  benchmarks. Where generators are held out, they are dealt out: no real image
  is in both splits.
  """
  if not real:
    return list(found)
  pool = [i for i in found if i.generator.lower() == real.lower()]
  others = [i for i in found if i.generator.lower() != real.lower()]
  own = {i.generator for i in others if not i.label}
  needy = sorted({i.generator for i in others} - own)
  if not needy:
    return others
  given = []
  for n, image in enumerate(pool):
    to = [needy[n % len(needy)]] if deal else needy
    given += [image._replace(generator=name) for name in to]
  return others + given


def _held_out(
  root: str, found: Sequence[_Image], data: Any, seed: int
) -> set[str]:
  """Names of the generators to test on."""
  every = {i.generator for i in found}
  # Where the root itself is the one generator's folder, its name is "".
  shared = data.real.lower()
  names = sorted(n for n in every if not shared or n.lower() != shared)
  if len(names) < 2:
    raise UserError(
      f"{root} has a single generator, {next(iter(names), '') or root!r}, and"
      f" none can be held out to test on: give folders {data.train} and"
      f" {data.test}, or test images with --config.data.test_root=DIR"
    )
  if unknown := sorted(set(data.held_out) - set(names)):
    raise UserError(
      f"--config.data.held_out names {unknown[0]!r}; {root} has"
      f" {', '.join(names)}"
    )
  if data.held_out:
    if set(data.held_out) == set(names):
      raise UserError(
        "--config.data.held_out names all generators; leave some to train on"
      )
    return set(data.held_out)
  if not 0 < data.test_fraction < 1:
    raise UserError(
      f"--config.data.test_fraction={data.test_fraction} leaves a split empty;"
      " give a share of the generators between 0 and 1"
    )
  drawn = splits_lib.held_out(names, data.test_fraction, seed)
  return {names[i] for i in drawn}


def _opened(root: str, found: Sequence[_Image]) -> Generators:
  """The readable images, by generator, real ones first.

  Raises:
    UserError: a generator has no real image, or no generated one.
  """
  bad = image_check.unreadable(root, sorted({image.file for image in found}))
  good = sorted(
    (i.generator, i.label, i.file) for i in found if i.file not in bad
  )
  names = sorted({generator for generator, _, _ in good})
  labels = np.array([label for _, label, _ in good], np.int32)
  groups = np.array([names.index(name) for name, _, _ in good], np.int32)
  for number, name in enumerate(names):
    own = set(labels[groups == number].tolist())
    if own != {0, 1}:
      kind = "generated" if own == {0} else "real"
      raise UserError(
        f"generator {name or root!r} in {root} has no {kind} image that can be"
        f" read: add some in {name}/{'fake' if own == {0} else 'real'}, or name"
        " the folder of real images with --config.data.real=NAME"
      )
  return Generators(
    root,
    tuple(file for _, _, file in good),
    labels,
    CLASS_NAMES,
    tuple(bad.items()),
    groups,
    tuple(name or os.path.basename(os.path.normpath(root)) for name in names),
  )

"""Where examples come from: a data set is a module, found by its name.

`config.data.name` is the name of a module of this package, or a dotted name of
a user's own module. What such a module declares is what it can do:

- `load(data, split, seed) -> Source` opens the "train" or "test" split of
  labelled examples. `data` is the config's group of that name.
- `collect(data) -> Collection` lists normal and defective images, of which
  `anomalies` draws the splits.
- `prepare(source, output, begin, advance) -> Outcome` writes the data set as
  records. It comes with `PREPARES` (a line of help), `WRITES` (the name of the
  TFDS data set that is written) and `TRAINS` (the config that trains on it,
  one of ours by its name, and further flags). With `ENCODES = True` it takes a
  `latent_files.Encoder`, too; with `DIVIDES = True` a function from a text to
  what each of its pairs of attributes and noun says.
- `PUBLISHED`: how many "classes", "train" and "test" images its authors count;
  a plan of a run goes by them where the images are not there (`stand_in`).
- `BOXED = True`: images have boxes, and `load` cuts to them if `data.crop`.
- `FOLDERS = True`: the examples lie in the folder `data.root`, which must be
  given.
- `FIELDS`: those of an example, where they are not an image and a label, to
  plan a run without the data.
- `SEVERAL = True`: an image has several labels, in the field "labels".
- `MASKED`: what an unpacked folder of images with masks holds, several names
  where one is enough, and the names of its splits; `prepare segmentation` reads
  what it recognises by them.
- `VOLUMES`: domains of a layout of volumes, which `holds(root, domain)` knows
  by what a folder holds; `prepare volumes` reads them.
- `FALLBACK = True`: the module takes all names that no other module has.
"""

import importlib
from types import ModuleType

from protojax import finding

# Function -> constants that come with it.
_BESIDE = {"prepare": ("PREPARES", "WRITES", "TRAINS")}


def names(needed: str = "load") -> tuple[str, ...]:
  """Names of the data sets of this package that have a function."""
  others = finding.names(__name__, "FALLBACK")
  found = finding.names(__name__, needed)
  return tuple(name for name in found if name not in others)


def find(
  name: str, needed: str = "load", setting: str = "--config.data.name"
) -> ModuleType:
  """The module of a data set.

  Args:
    name: of a module here, or of a user's own module, with a dot.
    needed: the function that it must have, "load", "collect" or "prepare".
    setting: where the name was given, for messages.

  Raises:
    UserError: there is no such data set.
  """
  if finding.is_own(name):
    return finding.own(name, (needed, *_BESIDE.get(needed, ())), setting)
  known = names(needed)
  if name not in known:
    others = set(finding.names(__name__, needed)) - set(known)
    if not others:
      raise finding.unknown(setting, name, known)
    (name,) = others
  return importlib.import_module(f"{__name__}.{name}")


def in_folder(name: str) -> bool:
  """Whether a data set lies in a folder that the user must give."""
  return getattr(find(name), "FOLDERS", False)


def preparers() -> dict[str, ModuleType]:
  """Name -> each data set of this package that can be written as records."""
  return {
    name: importlib.import_module(f"{__name__}.{name}")
    for name in names("prepare")
  }

"""Training from Python: `protojax.train`."""

from collections.abc import Sequence
import os
from pathlib import Path
from typing import Any

from protojax import configuration, datasets, methods, model, parallel, typed
from protojax.datasets import labelled
from protojax.operations import training
from protojax.types import UserError

# Of the images that are given, where the config does not say it.
_TEST_FRACTION = 0.4


@typed.from_python()
def train(
  config: str,
  data: Any = None,
  workdir: str | os.PathLike = "",
  *,
  class_names: Sequence[str] | None = None,
  **changes: Any,
) -> model.Model:
  """Trains, or continues, a run; the same call goes on where it was stopped.

  Args:
    config: name of a config, such as "protopnet_folder" or
      "protopnet_folder:debug", or the path of a file.
    data: what to learn from. A folder, as `config.data.root`; the name of a
      data set of protojax or TFDS; a pair of arrays (images, labels); a data
      set of PyTorch or Hugging Face; any sequence of (image, label); or a
      mapping with "train" and "test" of these. Images are paths, PIL images or
      uint8 pixels; labels are whole numbers from 0, or names. None: the data of
      the config. What is neither a folder nor a name is copied to WORKDIR/data,
      so that the run can be continued and explained.
    workdir: folder of the run; "runs/<config>" by default.
    class_names: index = label, for images in memory; None: as the data set
      declares them, or the labels themselves.
    **changes: key of the config -> value, such as {"warm.epochs": 5}.

  Returns:
    The trained model.

  Raises:
    UserError: there is no such config or key, or the data are not as expected.
    KeyboardInterrupt: a signal stopped it; what it has learned is saved.
  """
  keys = [f"--config.{key}={value}" for key, value in changes.items()]
  folder = Path(workdir or f"runs/{configuration.name(config)}").expanduser()
  found = configuration.load(config, keys)
  if found.seeds != 1:
    raise UserError(
      f"seeds={found.seeds}: here one seed is trained at a time; set"
      " seed=0, then 1, each in a workdir of its own"
    )
  if isinstance(data, str | os.PathLike):
    if class_names is not None:
      raise UserError("class_names are for images in memory: leave them out")
    keys += _named(config, keys, data)
  elif data is not None:
    _require_classifier(found)
    split_seed = found.data.get("split_seed", -1)
    read = labelled.read(
      data,
      class_names,
      found.data.get("test_fraction", _TEST_FRACTION),
      found.seed if split_seed < 0 else split_seed,
    )
    labelled.keep(read, folder / "data")
    keys += [
      f"--config.data.name={labelled.NAME}",
      f"--config.data.root={folder / 'data'}",
      "--config.data.train=train",
      "--config.data.test=test",
    ]
  parallel.setup()
  if training.train(folder, configuration.load(config, keys)):
    raise KeyboardInterrupt(f"{folder} is saved; the same call continues it")
  return model.load(folder)


def _named(
  config: str, keys: Sequence[str], data: str | os.PathLike
) -> list[str]:
  """Keys of a config for a folder, or a data set by its name.

  Raises:
    UserError: there is no such folder, or the config reads none.
  """
  path = os.fspath(data)
  folder = Path(path).expanduser()
  if not path or not folder.is_dir():
    # Names of TFDS may have a slash, too.
    if not isinstance(data, str) or path[:1] in ("", ".", "/", "~"):
      raise UserError(f"no folder {path or 'of an empty name'}: give one")
    return [f"--config.data.name={path}"]
  found = [f"--config.data.root={path}"]
  name = configuration.load(config, [*keys, *found]).data.name
  if not datasets.in_folder(name):
    raise UserError(
      f"{config} reads the data set {name!r}, and no folder: take a config"
      " whose name ends with _folder"
    )
  return found


def _require_classifier(config: Any) -> None:
  """Refuses labelled images for a method that learns from something else."""
  if methods.find(config.method).capabilities.classifies is None:
    raise UserError(
      f"{config.method} does not learn from one label for each image: give a"
      " folder, or the name of a data set"
    )

"""Published runs: a folder on the Hugging Face hub -> a run on this machine.

`publish` writes such a folder, `load("hf:owner/name")` reads it. The arrays are
safetensors, so that nothing in the folder is executed.
"""

import importlib
from pathlib import Path
import shutil
from typing import Any

import jax
import numpy as np

from protojax import loading, methods, parallel, writing
from protojax.engine import workdir as workdir_lib
from protojax.engine.checkpoint import Checkpoints, Progress, unflatten
from protojax.types import UserError
from protojax.weights import reading

HUB = "hf:"
# Files of a published folder, beside pictures and README.md.
ARRAYS = "model.safetensors"
FACTS = ("config.json", "classes.json", "summary.json")


def repository(address: str) -> str:
  """ "owner/name" of "hf:owner/name".

  Raises:
    UserError: the address is another.
  """
  name = address.removeprefix(HUB)
  if name == address or [bool(x) for x in name.split("/")] != [True, True]:
    raise UserError(f"{address!r:.200} should be hf:owner/name")
  return name


def client(why: str) -> Any:
  """The hub's package.

  Raises:
    UserError: it is not installed.
  """
  try:
    return importlib.import_module("huggingface_hub")
  except ImportError as error:
    raise UserError(
      f"{why} needs the package 'huggingface_hub', which is not installed:"
      " python -m pip install 'protojax[hf]'"
    ) from error


def fetched(address: str) -> Path:
  """The workdir of a published run, in the user's cache.

  Args:
    address: "hf:owner/name".

  Raises:
    UserError: the hub's client is not installed, there is no such repository,
      or it holds no run.
  """
  name = repository(address)
  hub = client(address)
  try:
    found = Path(hub.snapshot_download(name, allow_patterns=[ARRAYS, *FACTS]))
  # Errors of the hub, of its HTTP client, and for names that it forbids.
  except Exception as error:
    raise UserError(
      f"cannot fetch {name}: {type(error).__name__}:"
      f" {writing.first_line(error)}"
    ) from error
  for file in (ARRAYS, FACTS[0]):
    if not (found / file).is_file():
      raise UserError(
        f"{address} holds no {file}: it is no run that `publish` wrote"
      )
  # A snapshot's folder is named by its commit.
  place = parallel.cache_dir() / "hub" / name.replace("/", "--") / found.name
  if not Checkpoints(place).exists():
    unpack(found, place)
  return place


def unpack(folder: Path, workdir: Path) -> None:
  """Makes a workdir of a published folder.

  Raises:
    UserError: the files are not those of a run, or do not fit one another.
  """
  with writing.writing(workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    for name in FACTS:
      if (folder / name).is_file():
        shutil.copyfile(folder / name, workdir / name)
  config = workdir_lib.load_config(workdir, methods.later)
  with loading.described_by(workdir, config):
    method = methods.load(config, workdir_lib.class_names(workdir))
    template = jax.eval_shape(method.init, parallel.init_key(config.seed))
  arrays = {
    name: np.array(x) for name, x in reading.read(folder / ARRAYS).items()
  }
  state = unflatten({"state": template}, arrays)["state"]
  checkpoints = Checkpoints(workdir)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()

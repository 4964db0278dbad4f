"""A part of a folder of diffusers: its tensors, in one file or in several.

A part, such as unet/, has NAME.safetensors, or NAME.fp16.safetensors; or files
that NAME.safetensors.index.json lists, by tensor. Whole precision comes first.
"""

from pathlib import Path
from typing import TypedDict

import numpy as np

from protojax import json_files
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights import reading

# {} is the name of the weights; what diffusers and transformers write.
_FILES = ("{}.safetensors", "{}.fp16.safetensors")
_INDICES = (
  "{}.safetensors.index.json",
  "{}.safetensors.index.fp16.json",
  "{}.fp16.safetensors.index.json",
)
_SAVE = (
  "save the pipeline with safetensors:"
  " pipeline.save_pretrained(DIR, safe_serialization=True)"
)


class _Index(TypedDict):
  """Of the files of a part."""

  weight_map: dict[str, str]


def find(folder: str | Path, name: str) -> Path:
  """The file of a part's weights, or the list of its files.

  Args:
    folder: of the part.
    name: of the weights: "diffusion_pytorch_model" or "model".

  Raises:
    UserError: there is none.
  """
  folder = Path(folder)
  if not folder.is_dir():
    raise UserError(f"there is no folder {folder}")
  for known in (*_FILES[:1], *_INDICES[:1], *_FILES[1:], *_INDICES[1:]):
    path = folder / known.format(name)
    if path.exists():
      return path
  others = sorted(p.name for p in folder.iterdir() if p.suffix == ".bin")
  has = f"only {', '.join(others[:3])}" if others else "no weights"
  raise UserError(
    f"{folder} has {has}; expected {_FILES[0].format(name)}: {_SAVE}"
  )


def read(path: str | Path) -> dict[str, np.ndarray]:
  """Tensors by name.

  Args:
    path: as `find` gives it.

  Raises:
    UserError: a file cannot be read, or lacks a tensor that is listed there.
  """
  path = Path(path)
  if path.suffix != ".json":
    return reading.read(path)
  places = json_files.read_json(path, _Index)["weight_map"]
  found: dict[str, np.ndarray] = {}
  for file in sorted(set(places.values())):
    if Path(file).name != file:
      raise UserError(f"{path} lists {shown(file)}; expected a file beside it")
    found.update(reading.read(path.parent / file))
  if missing := sorted(set(places) - set(found)):
    raise UserError(
      f"{path} lists {len(missing)} tensors that its files lack, such as"
      f" {shown(missing[0])}: get the folder again"
    )
  return found

"""Exporting to ONNX: `predict` of a run -> one file for any ONNX runtime.

jax2onnx translates the steps of the function; onnxruntime runs the file here,
so that what is written is known to answer as the model.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import logging
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun
import jax.numpy as jnp
import numpy as np

from protojax import installed, loading, parallel, printing
from protojax.methods.base import able, needed
from protojax.operations import exporting
from protojax.types import Array, State, UserError
from protojax.writing import json_text, replacing

# Of each value, as a share of it above 1.
_TOLERANCE = 1e-4


def run(args: argparse.Namespace) -> int:
  """Writes model.onnx and model.json; tells how far the answers differ.

  Raises:
    UserError: packages are missing, the run answers nothing about images, has
      a step that ONNX has no counterpart of, or the file answers otherwise.
  """
  missing = [
    name
    for name in ("jax2onnx", "onnxruntime")
    if importlib.util.find_spec(name) is None
  ]
  if missing:
    raise UserError(
      f"--format=onnx needs {' and '.join(missing)}, which"
      f" {'is' if len(missing) == 1 else 'are'} not installed: python -m pip"
      " install 'protojax[onnx]'"
    )
  parallel.setup()
  folder = exporting.folder_of(args)
  method, state, config = loading.load(folder)
  answers = needed(method, "classifies", "inspects", "segments")
  state = jax.tree.map(jnp.asarray, parallel.to_host(state))
  loading.require_living(method, state)
  size = loading.image_size(config)
  shape = (args.batch_size, size, size, 3)
  images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  predict = functools.partial(_rows, method, state)
  expected = jax.tree.map(np.asarray, jax.jit(predict)(images))
  names = sorted(expected)
  content = converted(
    lambda x: tuple(predict(x)[n] for n in names), shape, names
  )
  found = answered(content, images, names)
  off = max(exporting.apart(found[n], expected[n]) for n in names)
  allowed = _TOLERANCE
  if names == ["classes"]:
    # Numbers of classes, of which one is as far from another as any.
    off = float(np.mean(found["classes"] != expected["classes"]))
    allowed = exporting.PIXELS
  if not off <= allowed:
    raise UserError(
      f"the ONNX file differs by {off:.2g} from the model in {folder}, which is"
      f" more than {allowed:g}. Nothing is written; export StableHLO, or"
      " report it with the versions of jax2onnx and onnxruntime."
    )
  resizing = dataclasses.asdict(loading.resizing(config))
  facts = {
    "method": config.method,
    "image_size": size,
    "batch_size": args.batch_size,
    "resize": {**resizing, "to": resizing["to"] or size},
    "outputs": names,
    **_told(method, answers, state),
    "difference": off,
    "versions": installed.versions(("protojax", "jax", "jax2onnx")),
  }
  output = Path(args.output)
  with replacing(output / "model.onnx", "wb") as file:
    file.write(content)
  with replacing(output / "model.json") as file:
    file.write(json_text(facts, indent=2) + "\n")
  printing.tell(
    f"written: {output}, {len(content) / 1e6:.1f} MB; largest difference from"
    f" the model in onnxruntime: {off:.2g}"
  )
  return 0


def converted(function: Any, shape: tuple[int, ...], names: list[str]) -> bytes:
  """The file of a function of uint8 images.

  Args:
    function: images -> a tuple of arrays.
    shape: of the images.
    names: of the arrays.

  Raises:
    UserError: jax2onnx cannot translate a step of it.
  """
  # It logs each of its own rewrites.
  logging.getLogger("jax2onnx").setLevel(logging.ERROR)
  logging.getLogger("onnx_ir").setLevel(logging.ERROR)
  images = jax.ShapeDtypeStruct(shape, jnp.uint8)
  # Traced here: while jax2onnx traces, functions of JAX and modules of Flax are
  # its own, and `nn.scan` fails.
  steps = jaxpr_as_fun(jax.make_jaxpr(function)(images))
  try:
    model = importlib.import_module("jax2onnx").to_onnx(
      steps, [images], input_names=["images"], output_names=names
    )
  # Each of its plugins raises errors of its own.
  except Exception as error:
    raise UserError(
      f"jax2onnx {installed.versions(('jax2onnx',))['jax2onnx']} cannot"
      f" translate this model: {error!s:.300}. Export StableHLO in its place."
    ) from error
  return model.SerializeToString()


def answered(
  content: bytes, images: np.ndarray, names: list[str]
) -> dict[str, np.ndarray]:
  """What onnxruntime makes of images."""
  onnxruntime = importlib.import_module("onnxruntime")
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # errors alone
  session = onnxruntime.InferenceSession(
    content, options, providers=["CPUExecutionProvider"]
  )
  return dict(zip(names, session.run(names, {"images": images}), strict=True))


def _rows(method: Any, state: State, images: Array) -> dict[str, Array]:
  """The arrays of `predict`."""
  found = method.predict(state, {"image": images})
  return {name: x for name, x in found.items() if isinstance(x, jax.Array)}


def _told(method: Any, answers: Any, state: State) -> dict[str, Any]:
  """The classes, or the score above which an image is called defective."""
  if able(method, "inspects") is None:
    return {"classes": list(answers.class_names)}
  return {"threshold": float(answers.threshold(state).value)}
